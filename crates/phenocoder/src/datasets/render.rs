//! Draws cells into pixels.

use ndarray::{Array3, Array4};
use phenocoder_core::Stream;

use super::{CHANNELS, CellTruth, Layout, Rendered};

/// How the signal of a channel is spread over a cell; r is 0 at the centre and 1 at the rim.
#[derive(Clone, Copy)]
enum Texture {
    /// Brightest in the middle.
    Smooth,
    /// Bright within this relative radius, dark outside.
    Core(f64),
    /// Bright at the rim.
    Rim,
    /// Grains of a few pixels.
    Speckled,
    /// Rising along the long axis.
    Graded,
}

/// The look of a cell type.
struct Look {
    /// Half the long axis, in pixels.
    long: f64,
    /// Half the short axis, in pixels.
    short: f64,
    /// Brightness and texture of each channel.
    channels: [(f64, Texture); CHANNELS.len()],
}

/// One look per entry of [`super::CELL_TYPES`].
const LOOKS: [Look; 4] = [
    Look {
        long: 4.8,
        short: 4.4,
        channels: [
            (1.0, Texture::Smooth),
            (0.35, Texture::Rim),
            (0.05, Texture::Smooth),
        ],
    },
    Look {
        long: 8.2,
        short: 7.6,
        channels: [
            (0.55, Texture::Core(0.5)),
            (1.0, Texture::Rim),
            (0.15, Texture::Smooth),
        ],
    },
    Look {
        long: 10.0,
        short: 3.4,
        channels: [
            (0.7, Texture::Core(0.6)),
            (0.25, Texture::Smooth),
            (0.6, Texture::Graded),
        ],
    },
    Look {
        long: 6.8,
        short: 5.8,
        channels: [
            (0.45, Texture::Core(0.55)),
            (0.3, Texture::Rim),
            (1.0, Texture::Speckled),
        ],
    },
];

/// Counts of a fully bright pixel.
const FULL: f64 = 3_000.0;
/// Counts of a pixel without signal.
const BACKGROUND: f64 = 120.0;

/// A cell on the canvas.
struct Shape<'a> {
    look: &'a Look,
    center: [f64; 3],
    /// The direction of the long axis, a unit vector `(y, x)`.
    direction: [f64; 2],
    /// Size of this cell relative to its type.
    size: f64,
    /// Brightness of this cell relative to its type.
    brightness: f64,
    /// Tells the grains of two cells apart.
    grain: u64,
}

impl Shape<'_> {
    /// Position along the long and short axis and across slices, each 1 at the rim.
    fn relative(&self, z: f64, y: f64, x: f64, anisotropy: f64) -> [f64; 3] {
        let (dy, dx) = (y - self.center[1], x - self.center[2]);
        let along = dy * self.direction[0] + dx * self.direction[1];
        let across = dx * self.direction[0] - dy * self.direction[1];
        let depth = (z - self.center[0]) * anisotropy;
        let (long, short) = (self.look.long * self.size, self.look.short * self.size);
        [along / long, across / short, depth / short]
    }

    /// The signal of a channel at a place of the cell, between 0 and about 1.
    fn signal(&self, channel: usize, [along, across, depth]: [f64; 3], at: [usize; 3]) -> f64 {
        let (level, texture) = self.look.channels[channel];
        let square = along * along + across * across + depth * depth;
        let shade = match texture {
            Texture::Smooth => 1.0 - 0.5 * square,
            Texture::Core(radius) => {
                if square < radius * radius {
                    1.0
                } else {
                    0.15
                }
            }
            Texture::Rim => 0.15 + 0.85 * square * square,
            Texture::Graded => 0.55 + 0.45 * along,
            Texture::Speckled => {
                let grain = self.grain
                    ^ ((at[0] as u64) << 42 | ((at[1] / 2) as u64) << 21 | (at[2] / 2) as u64);
                if mix(grain).is_multiple_of(3) {
                    1.0
                } else {
                    0.2
                }
            }
        };
        self.brightness * level * shade
    }
}

/// The finalizer of SplitMix64: grains need no stream, only numbers that look unrelated.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Draws all cells, then background and noise, both of a batch of this strength.
pub(super) fn render(
    layout: &Layout,
    truth: &[CellTruth],
    batch_strength: f64,
    random: &mut Stream,
) -> Rendered {
    let [slices, rows, columns] = layout.extent;
    let mut pixels = Array4::<f32>::zeros((CHANNELS.len(), slices, rows, columns));
    let mut mask = Array3::<u64>::zeros((slices, rows, columns));
    for (row, (&center, cell)) in layout.centers.iter().zip(truth).enumerate() {
        let shape = Shape {
            look: &LOOKS[cell.cell_type],
            center,
            direction: direction(random),
            size: random.uniform_in(0.92, 1.08),
            brightness: random.uniform_in(0.85, 1.15),
            grain: random.next_u64(),
        };
        draw(
            &shape,
            row as u64 + 1,
            layout.anisotropy,
            &mut pixels,
            &mut mask,
        );
    }
    let gain = 1.0 + 0.35 * batch_strength;
    let background = (1.0 + batch_strength) * BACKGROUND;
    let noise = 25.0 + 15.0 * batch_strength;
    for value in &mut pixels {
        let signal = f64::from(*value) * FULL * gain;
        // Counting noise grows with the square root of the signal.
        let spread = noise + 1.5 * signal.sqrt();
        let counts = background + signal + spread * random.normal();
        *value = counts.round().clamp(0.0, 65_535.0) as f32;
    }
    (pixels, mask)
}

/// A random direction, drawn without trigonometry so that its bits are the same everywhere.
fn direction(random: &mut Stream) -> [f64; 2] {
    loop {
        let (y, x) = (random.uniform_in(-1.0, 1.0), random.uniform_in(-1.0, 1.0));
        let length = (y * y + x * x).sqrt();
        if (0.1..=1.0).contains(&length) {
            return [y / length, x / length];
        }
    }
}

/// Draws one cell where no other cell is yet.
fn draw(
    shape: &Shape<'_>,
    label: u64,
    anisotropy: f64,
    pixels: &mut Array4<f32>,
    mask: &mut Array3<u64>,
) {
    let (slices, rows, columns) = mask.dim();
    let reach = shape.look.long * shape.size;
    let range = |center: f64, reach: f64, n: usize| {
        let first = (center - reach).floor().max(0.0) as usize;
        let last = (center + reach).ceil().max(0.0) as usize;
        first.min(n)..(last + 1).min(n)
    };
    for z in range(shape.center[0], reach / anisotropy, slices) {
        for y in range(shape.center[1], reach, rows) {
            for x in range(shape.center[2], reach, columns) {
                let at = shape.relative(z as f64, y as f64, x as f64, anisotropy);
                if at.iter().map(|v| v * v).sum::<f64>() > 1.0 || mask[[z, y, x]] != 0 {
                    continue;
                }
                mask[[z, y, x]] = label;
                for channel in 0..CHANNELS.len() {
                    pixels[[channel, z, y, x]] = shape.signal(channel, at, [z, y, x]) as f32;
                }
            }
        }
    }
}

//! Patches beside their reconstructions.

use ndarray::{ArrayView2, ArrayView4, s};
use phenocoder_core::ShapeError;
use serde::{Deserialize, Serialize};

use crate::color::Rgb;
use crate::error::ConfigError;
use crate::font::{self, Weight};
use crate::layout::{self, LABEL_SIZE, MARGIN, TICK_SIZE};
use crate::scene::{Anchor, Frame, Item, Scene, Text};
use crate::{Figure, Result};

/// Which values are black and white.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Contrast {
    /// 0 is black and 1 is white.
    Unit,
    /// The least input of a channel is black and the greatest is white, for its reconstructions too.
    Channel,
}

/// Settings of [`montage`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct MontageConfig {
    /// Heading (default none).
    pub title: String,
    /// How many patches are shown at most, the first ones (default 8).
    pub max_patches: usize,
    /// Side of a shown patch in points (default 72).
    pub tile: f64,
    /// Which values are black and white (default [`Contrast::Unit`]).
    pub contrast: Contrast,
}

impl Default for MontageConfig {
    fn default() -> Self {
        Self {
            title: String::new(),
            max_patches: 8,
            tile: 72.0,
            contrast: Contrast::Unit,
        }
    }
}

impl MontageConfig {
    /// Sets the heading.
    #[must_use]
    pub fn with_title(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    /// Sets how many patches are shown at most.
    #[must_use]
    pub fn with_max_patches(mut self, n: usize) -> Self {
        self.max_patches = n;
        self
    }

    /// Sets the side of a shown patch.
    #[must_use]
    pub fn with_tile(mut self, side: f64) -> Self {
        self.tile = side;
        self
    }

    /// Sets which values are black and white.
    #[must_use]
    pub fn with_contrast(mut self, contrast: Contrast) -> Self {
        self.contrast = contrast;
        self
    }

    /// Checks that every setting can be drawn.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Value`] for a tile outside 8…1000 or no patches.
    pub fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::check_range("tile", self.tile, (8.0, 1_000.0), "a side from 8 to 1000")?;
        let patches = self.max_patches as f64;
        ConfigError::check_range("max_patches", patches, (1.0, 10_000.0), "1 to 10000")
    }
}

/// Draws patches beside their reconstructions: one row per patch, two columns per channel.
///
/// Values beyond 0…1 are shown as black or white, values that are not finite in a strong orange.
/// Without patches the picture says so.
///
/// # Shapes
///
/// `inputs` and `reconstructions`: `[n, y, x, c]`; `channel_names`: `c`.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) when the two arrays differ in shape or the names in number,
/// [`Error::Config`](crate::Error::Config) when a setting is out of range.
///
/// # Examples
///
/// ```
/// use ndarray::Array4;
/// use phenocoder_plot::{MontageConfig, montage};
///
/// let inputs = Array4::<f32>::from_elem((3, 8, 8, 2), 0.5);
/// let figure = montage(inputs.view(), inputs.view(), &["DNA", "actin"], &MontageConfig::default())?;
/// assert!(figure.to_svg()?.contains("actin"));
/// # Ok::<(), phenocoder_plot::Error>(())
/// ```
pub fn montage<S: AsRef<str>>(
    inputs: ArrayView4<'_, f32>,
    reconstructions: ArrayView4<'_, f32>,
    channel_names: &[S],
    config: &MontageConfig,
) -> Result<Figure> {
    const GAP: f64 = 3.0;
    const CHANNEL_GAP: f64 = 14.0;

    config.validate()?;
    if inputs.shape() != reconstructions.shape() {
        return Err(ShapeError::Array {
            what: "reconstructions".to_owned(),
            expected: format!("{:?} as the inputs", inputs.shape()),
            found: reconstructions.shape().to_vec(),
        }
        .into());
    }
    let (n, height, width, channels) = inputs.dim();
    ShapeError::check_len("channel_names", channels, channel_names.len())?;

    let tile_height = config.tile;
    let tile_width = config.tile * width.max(1) as f64 / height.max(1) as f64;
    let shown = n.min(config.max_patches);
    let nothing = inputs.is_empty();
    let pair = 2.0 * tile_width + GAP;
    let title_room = layout::title_room(&config.title);
    let head = 2.0 * TICK_SIZE + 16.0;
    let size = if nothing {
        (360.0, 160.0)
    } else {
        (
            2.0 * MARGIN + channels as f64 * (pair + CHANNEL_GAP) - CHANNEL_GAP,
            2.0 * MARGIN + title_room + head + shown as f64 * (tile_height + GAP) - GAP,
        )
    };
    let size = (layout::width_with_title(size.0, &config.title), size.1);
    let mut scene = Scene::new(size, &config.title);
    let area = layout::below_title(&mut scene, &config.title);
    if nothing {
        layout::note(&mut scene, &area, "no patches");
        return Ok(Figure::new(scene));
    }
    for (channel, name) in channel_names.iter().enumerate() {
        let x = area.x + channel as f64 * (pair + CHANNEL_GAP);
        heading(&mut scene, x, area.y, tile_width, GAP, name.as_ref());
        let range = range(
            inputs.slice(s![..shown, .., .., channel]).iter().copied(),
            config,
        );
        for patch in 0..shown {
            let y = area.y + head + patch as f64 * (tile_height + GAP);
            for (column, from) in [&inputs, &reconstructions].into_iter().enumerate() {
                let x = x + column as f64 * (tile_width + GAP);
                let frame = Frame::new(x, y, tile_width, tile_height);
                let pixels = from.slice(s![patch, .., .., channel]);
                scene.push(picture(frame, &pixels, range));
            }
        }
    }
    Ok(Figure::new(scene))
}

/// Writes the channel's name above its two columns.
fn heading(scene: &mut Scene, x: f64, y: f64, tile: f64, gap: f64, name: &str) {
    let pair = 2.0 * tile + gap;
    let name = font::fit(name, LABEL_SIZE, Weight::Bold, pair);
    scene.text(
        Text::new((x + pair / 2.0, y + LABEL_SIZE * 0.8), name, LABEL_SIZE)
            .bold()
            .anchored(Anchor::Middle),
    );
    let (full, short) = (["input", "reconstruction"], ["input", "recon."]);
    let fits = |texts: [&str; 2]| {
        texts
            .iter()
            .all(|text| font::width(text, TICK_SIZE, Weight::Regular) <= tile)
    };
    let texts = if fits(full) { full } else { short };
    for (column, text) in texts.into_iter().enumerate() {
        let middle = x + column as f64 * (tile + gap) + tile / 2.0;
        let text = font::fit(text, TICK_SIZE, Weight::Regular, tile);
        scene.text(
            Text::new((middle, y + LABEL_SIZE + TICK_SIZE + 6.0), text, TICK_SIZE)
                .anchored(Anchor::Middle)
                .colored(Rgb::MUTED),
        );
    }
}

/// The values that are black and white.
fn range(values: impl Iterator<Item = f32>, config: &MontageConfig) -> (f32, f32) {
    let (low, high) = match config.contrast {
        Contrast::Unit => (0.0, 1.0),
        Contrast::Channel => values
            .filter(|v| v.is_finite())
            .fold((f32::MAX, f32::MIN), |(low, high), v| {
                (low.min(v), high.max(v))
            }),
    };
    if high > low { (low, high) } else { (0.0, 1.0) }
}

/// The values that are not finite: seen on every grey.
const BROKEN: Rgb = Rgb(213, 94, 0);

fn picture(frame: Frame, pixels: &ArrayView2<'_, f32>, (low, high): (f32, f32)) -> Item {
    let color = |&v: &f32| {
        if v.is_finite() {
            let grey = ((v - low) / (high - low)).clamp(0.0, 1.0) * 255.0;
            let grey = grey.round() as u8;
            Rgb(grey, grey, grey)
        } else {
            BROKEN
        }
    };
    Item::Grid {
        frame,
        columns: pixels.ncols(),
        rows: pixels.nrows(),
        colors: pixels.iter().map(color).collect(),
    }
}

//! Pictures of cells as tiles of few large images, channel by channel.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ndarray::{Array2, Array3, ArrayView3};
use phenocoder_plot::{png_grey8, png_rgb8};

use super::data::Channel;
use crate::error::Result;

/// Tiles with a longer side are shrunk.
pub(super) const MOST_SIDE: usize = 48;
/// Channels beyond these are not shown.
pub(super) const MOST_CHANNELS: usize = 6;
/// The width of an image at most, in pixels.
const MOST_WIDTH: usize = 4096;

/// Patches of one size in eight bits.
#[derive(Debug, Clone)]
pub(super) struct Tiles {
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) channels: usize,
    values: Vec<u8>,
    len: usize,
}

impl Tiles {
    /// No tiles yet, of patches of this extent (rows, columns, channels), whose sides shall not be longer than `side`.
    pub(super) fn new((height, width, channels): (usize, usize, usize), side: usize) -> Self {
        let longest = height.max(width).max(1);
        let shrunk = |length: usize| match longest > side {
            true => (length * side).div_ceil(longest).max(1),
            false => length,
        };
        Self {
            height: shrunk(height),
            width: shrunk(width),
            channels: channels.min(MOST_CHANNELS),
            values: Vec::new(),
            len: 0,
        }
    }

    /// Adds a patch `[y, x, c]` with values in 0…1.
    pub(super) fn push(&mut self, patch: ArrayView3<'_, f32>) {
        let tile = shrink(patch, self.height, self.width, self.channels);
        // What is no number becomes 0.
        let eight = tile
            .iter()
            .map(|v| (v.clamp(0.0, 1.0) * 255.0).round() as u8);
        self.values.extend(eight);
        self.len += 1;
    }

    /// Tiles in a row of the images.
    pub(super) fn columns(&self) -> usize {
        (MOST_WIDTH / self.width.max(1)).clamp(1, self.len.max(1))
    }

    /// The images as `data:` addresses: the first three channels as red, green and blue of the first one, and so on; a
    /// single channel that is left is grey.
    pub(super) fn images(&self) -> Result<Vec<String>> {
        let mut images = Vec::new();
        if self.len == 0 {
            return Ok(images);
        }
        let columns = self.columns();
        let rows = self.len.div_ceil(columns);
        let (height, width) = (rows * self.height, columns * self.width);
        for first in (0..self.channels).step_by(3) {
            let planes = (self.channels - first).min(3);
            let bytes = match planes {
                1 => {
                    let at = |(y, x): (usize, usize)| self.value(columns, y, x, first);
                    png_grey8(Array2::from_shape_fn((height, width), at).view())?
                }
                _ => {
                    let at = |(y, x, c): (usize, usize, usize)| match c < planes {
                        true => self.value(columns, y, x, first + c),
                        false => 0,
                    };
                    png_rgb8(Array3::from_shape_fn((height, width, 3), at).view())?
                }
            };
            images.push(format!("data:image/png;base64,{}", STANDARD.encode(bytes)));
        }
        Ok(images)
    }

    /// A tile `[y, x, 3]` as the page shows it at first: the channels that are on, added up in their colours; one alone is
    /// grey, unless its colour was named.
    pub(super) fn mixed(&self, tile: usize, channels: &[Channel]) -> Array3<u8> {
        let mut on: Vec<(usize, [u8; 3])> = channels
            .iter()
            .enumerate()
            .filter(|(_, channel)| channel.on)
            .map(|(i, channel)| (i, channel.color))
            .collect();
        if let [(channel, color)] = on.as_mut_slice()
            && !channels[*channel].named
        {
            *color = [255; 3];
        }
        Array3::from_shape_fn((self.height, self.width, 3), |(y, x, plane)| {
            let light = |&(channel, color): &(usize, [u8; 3])| {
                f64::from(self.pixel(tile, y, x, channel)) / 255.0 * f64::from(color[plane])
            };
            on.iter().map(light).sum::<f64>().min(255.0).round() as u8
        })
    }

    /// A pixel of the image of all tiles; 0 beyond the last tile.
    fn value(&self, columns: usize, y: usize, x: usize, channel: usize) -> u8 {
        let tile = y / self.height * columns + x / self.width;
        self.pixel(tile, y % self.height, x % self.width, channel)
    }

    /// A pixel of a tile; 0 beyond the last tile.
    fn pixel(&self, tile: usize, y: usize, x: usize, channel: usize) -> u8 {
        let place = ((tile * self.height + y) * self.width + x) * self.channels + channel;
        self.values.get(place).copied().unwrap_or(0)
    }
}

/// A patch as large as tiles are at most, in the channels that are shown.
pub(super) fn reduced(patch: ArrayView3<'_, f32>) -> Array3<f32> {
    let tiles = Tiles::new(patch.dim(), MOST_SIDE);
    shrink(patch, tiles.height, tiles.width, tiles.channels)
}

/// A patch in fewer rows and columns by the means of areas, and in its first channels.
fn shrink(patch: ArrayView3<'_, f32>, height: usize, width: usize, channels: usize) -> Array3<f32> {
    let (rows, columns, _) = patch.dim();
    if (rows, columns) == (height, width) {
        return patch.slice(ndarray::s![.., .., ..channels]).to_owned();
    }
    let (down, across) = (weights(rows, height), weights(columns, width));
    Array3::from_shape_fn((height, width, channels), |(y, x, c)| {
        let mut sum = 0.0;
        for &(row, a) in &down[y] {
            for &(column, b) in &across[x] {
                sum += a * b * patch[[row, column, c]];
            }
        }
        sum
    })
}

/// For each of `n` equal parts of a line of `length` pixels: the pixels under it and the share that each has of it.
fn weights(length: usize, n: usize) -> Vec<Vec<(usize, f32)>> {
    let step = length as f64 / n as f64;
    let part = |i: usize| {
        let (from, to) = (i as f64 * step, (i + 1) as f64 * step);
        let last = (to.ceil() as usize).min(length);
        (from.floor() as usize..last)
            .map(|pixel| {
                let covered = to.min((pixel + 1) as f64) - from.max(pixel as f64);
                (pixel, (covered / step) as f32)
            })
            .collect()
    };
    (0..n).map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patch(value: f32) -> Array3<f32> {
        Array3::from_shape_fn((4, 2, 4), |(y, x, c)| value + (y + x + c) as f32 / 255.0)
    }

    #[test]
    fn every_tile_lies_at_its_place() {
        let mut tiles = Tiles::new((4, 2, 4), 48);
        for i in 0..3 {
            tiles.push(patch(i as f32 * 10.0 / 255.0).view());
        }
        assert_eq!((tiles.len, tiles.columns()), (3, 3));
        // Tile 2, its row 3 and column 1, channel 2.
        assert_eq!(tiles.value(3, 3, 2 * 2 + 1, 2), 20 + 3 + 1 + 2);
        // In rows of two, the third tile begins the second row, and nothing lies beside it.
        assert_eq!(tiles.value(2, 4, 0, 0), 20);
        assert_eq!(tiles.value(2, 4, 2, 0), 0);
        let images = tiles.images().unwrap();
        assert_eq!(images.len(), 2, "three channels and one");
        assert!(
            images
                .iter()
                .all(|image| image.starts_with("data:image/png;base64,iVBOR"))
        );
    }

    #[test]
    fn channels_that_are_on_are_added_up_in_their_colors() {
        let mut tiles = Tiles::new((1, 1, 3), 48);
        let values = [1.0, 0.4, 1.0];
        tiles.push(Array3::from_shape_fn((1, 1, 3), |(.., c)| values[c]).view());
        let channel = |color, on| Channel {
            name: String::new(),
            color,
            named: false,
            on,
        };
        let first = channel([200, 0, 10], true);
        let channels = [
            first.clone(),
            channel([100, 50, 0], true),
            channel([0, 0, 99], false),
        ];
        let mixed = tiles.mixed(0, &channels);
        assert_eq!(mixed.into_raw_vec_and_offset().0, [240, 20, 10]);
        // A channel alone is grey, unless somebody chose its colour.
        for (named, expected) in [(false, [255; 3]), (true, [200, 0, 10])] {
            let alone = Channel {
                named,
                ..first.clone()
            };
            let mixed = tiles.mixed(0, &[alone]);
            assert_eq!(mixed.into_raw_vec_and_offset().0, expected);
        }
    }

    #[test]
    fn large_patches_are_shrunk_by_means_of_areas() {
        let mut tiles = Tiles::new((3, 6, 1), 4);
        assert_eq!((tiles.height, tiles.width), (2, 4));
        let patch = Array3::from_shape_fn((3, 6, 1), |(_, x, _)| x as f32 / 255.0);
        tiles.push(patch.view());
        // The second of four columns covers half of pixel 1 and all of pixel 2.
        assert_eq!(tiles.value(1, 0, 1, 0), 2);
        let total: f32 = weights(7, 3).iter().flatten().map(|(_, w)| w).sum();
        assert!((total - 3.0).abs() < 1e-6);
    }

    #[test]
    fn a_reduced_patch_makes_the_same_tile() {
        let extent = (100, 70, MOST_CHANNELS + 1);
        let value = |(y, x, c): (usize, usize, usize)| ((7 * y + 3 * x + c) % 11) as f32 / 10.0;
        let patch = Array3::from_shape_fn(extent, value);
        let small = reduced(patch.view());
        assert_eq!(small.dim(), (MOST_SIDE, 34, MOST_CHANNELS));
        let tile = |patch: &Array3<f32>| {
            let mut tiles = Tiles::new(extent, MOST_SIDE);
            tiles.push(patch.view());
            tiles.values
        };
        assert_eq!(tile(&small), tile(&patch));
    }

    #[test]
    fn values_beyond_the_range_and_no_numbers_are_ends_of_it() {
        let mut tiles = Tiles::new((1, 3, 1), 48);
        let values = [2.0, -1.0, f32::NAN];
        tiles.push(Array3::from_shape_fn((1, 3, 1), |(_, x, _)| values[x]).view());
        assert_eq!(tiles.values, [255, 0, 0]);
        assert!(Tiles::new((1, 1, 1), 48).images().unwrap().is_empty());
    }
}

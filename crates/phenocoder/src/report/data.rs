//! The numbers that the page's programs draw from, as JSON with arrays in base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ndarray::{Array2, ArrayView1};
use phenocoder_core::Categorical;
use phenocoder_plot::{ColorMap, Mark};
use serde::Serialize;

use super::cells::{Cells, Coloring, range};
use super::sprites::Tiles;
use super::traversal::by_spread;

/// Latents offered as colours, in values of all cells together.
const MOST_LATENT_VALUES: usize = 400_000;
/// Numbers of columns that are there as they are, all cells together; of more columns there are steps.
const MOST_NUMBERS: usize = 600_000;
/// Steps of the colours of numbers.
const RAMP: usize = 32;
/// Stands for none among `u16`.
const NONE: u16 = u16::MAX;

/// Everything that the map needs.
#[derive(Debug, Serialize)]
pub(super) struct MapData {
    n: usize,
    /// The cells of the table, of which `n` are here.
    all: usize,
    /// Names of the cells, one per line.
    ids: String,
    /// Places on the map and in the tissue: `x` and `y` of the cells, 65,534 steps to the longer side, 65,535 for none.
    map: Option<Points>,
    tissue: Option<Points>,
    /// The positions in `columns` of samples and of clusters.
    sample: usize,
    cluster: Option<usize>,
    columns: Vec<MapColumn>,
    /// Colours of rising numbers.
    ramp: Vec<String>,
    /// The tile of every cell; 65,535 for none.
    sprites: String,
    tiles: TileData,
}

#[derive(Debug, Serialize)]
struct Points {
    x: String,
    y: String,
}

#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum MapColumn {
    /// Codes of 8 bits, 255 for none, or with `wide` of 16 bits, 65,535 for none.
    Labels {
        name: String,
        labels: Vec<String>,
        colors: Vec<String>,
        /// Circle, square, triangle, diamond.
        shapes: Vec<usize>,
        wide: bool,
        codes: String,
        /// How many cells of the table have each label, and how many have none.
        all: Vec<usize>,
    },
    /// Numbers of 32 bits, or with `wide` of 64, NaN for none; colours reach from `low` to `high`.
    Numbers {
        name: String,
        low: f64,
        high: f64,
        wide: bool,
        values: String,
    },
    /// 0…254 between `low` and `high`, 255 for none: enough for colours, and about the number.
    Steps {
        name: String,
        low: f64,
        high: f64,
        values: String,
    },
}

#[derive(Debug, Serialize)]
struct TileData {
    height: usize,
    width: usize,
    columns: usize,
    channels: Vec<Channel>,
}

/// A channel of the tiles: name, colour, whether it keeps that where it is seen alone, whether it is seen at first.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Channel {
    pub(super) name: String,
    pub(super) color: [u8; 3],
    pub(super) named: bool,
    pub(super) on: bool,
}

impl MapData {
    /// The data of these rows; `tile_of` is the tile of each of them. Says how many latents can be chosen, too.
    pub(super) fn new(
        cells: &Cells,
        rows: &[usize],
        tile_of: &[Option<usize>],
        tiles: &Tiles,
        channels: Vec<Channel>,
    ) -> (Self, usize) {
        let mut as_they_are = MOST_NUMBERS / rows.len().max(1);
        let column = |(name, coloring): &(String, Coloring)| match coloring {
            Coloring::Labels(labels) => MapColumn::labels(name, labels, rows),
            Coloring::Values(values) if as_they_are > 0 => {
                as_they_are -= 1;
                MapColumn::numbers(name, values, rows)
            }
            Coloring::Values(values) => MapColumn::steps(name, values, rows),
        };
        let mut columns: Vec<MapColumn> = cells.colorings.iter().map(column).collect();
        let spread = by_spread(cells.latents.view());
        let latents = (MOST_LATENT_VALUES / rows.len().max(1)).clamp(6, 64);
        let mut chosen: Vec<usize> = spread.into_iter().take(latents).map(|(i, _)| i).collect();
        chosen.sort_unstable();
        let offered = chosen.len();
        for latent in chosen {
            let values = cells.latents.column(latent).to_vec();
            let name = format!("latent {}", latent + 1);
            columns.push(MapColumn::steps(&name, &values, rows));
        }
        let line = |row: &usize| cells.ids[*row].replace(['\n', '\r'], " ");
        let ids: Vec<String> = rows.iter().map(line).collect();
        let sprites = tile_of.iter().map(|tile| match tile {
            Some(tile) => u16::try_from(*tile).unwrap_or(NONE),
            None => NONE,
        });
        let points = |points: &Array2<f64>| Points::new(points, rows);
        let data = Self {
            n: rows.len(),
            all: cells.len(),
            ids: ids.join("\n"),
            map: cells.map.as_ref().ok().map(points),
            tissue: cells.places.as_ref().ok().map(points),
            sample: usize::from(cells.clusters.is_ok()),
            cluster: cells.clusters.is_ok().then_some(0),
            columns,
            ramp: (0..RAMP)
                .map(|i| {
                    ColorMap::Viridis
                        .color(i as f64 / (RAMP - 1) as f64)
                        .to_hex()
                })
                .collect(),
            sprites: sixteen(sprites),
            tiles: TileData {
                height: tiles.height,
                width: tiles.width,
                columns: tiles.columns(),
                channels,
            },
        };
        (data, offered)
    }
}

impl Points {
    fn new(points: &Array2<f64>, rows: &[usize]) -> Self {
        let [x, y] = [0, 1].map(|column| points.column(column).select(ndarray::Axis(0), rows));
        let extent = |values: &ndarray::Array1<f64>| range(values.view()).unwrap_or((0.0, 0.0));
        let (left, right) = extent(&x);
        let (low, high) = extent(&y);
        let longest = (right - left).max(high - low).max(f64::MIN_POSITIVE);
        let place = |v: f64, start: f64| match v.is_finite() {
            true => ((v - start) / longest * f64::from(NONE - 1)).round() as u16,
            false => NONE,
        };
        Self {
            x: sixteen(x.iter().map(|&v| place(v, left))),
            y: sixteen(y.iter().map(|&v| place(v, low))),
        }
    }
}

impl MapColumn {
    fn labels(name: &str, labels: &Categorical, rows: &[usize]) -> Self {
        let n = labels.categories().len();
        let code = |row: &usize| labels.code(*row).and_then(|code| u16::try_from(code).ok());
        let codes = rows.iter().map(|row| code(row).unwrap_or(NONE));
        let wide = n > usize::from(u8::MAX);
        let marks: Vec<Mark> = (0..n).map(|code| Mark::of(code, n)).collect();
        let mut all = labels.counts();
        all.push(labels.len() - all.iter().sum::<usize>());
        Self::Labels {
            name: name.to_owned(),
            labels: labels.categories().to_vec(),
            colors: marks.iter().map(|mark| mark.color.to_hex()).collect(),
            shapes: marks.iter().map(|mark| mark.shape).collect(),
            codes: match wide {
                true => sixteen(codes),
                // None becomes 255.
                false => STANDARD.encode(codes.map(|code| code as u8).collect::<Vec<u8>>()),
            },
            wide,
            all,
        }
    }

    fn numbers(name: &str, values: &[f64], rows: &[usize]) -> Self {
        let values: Vec<f64> = rows.iter().map(|&row| values[row]).collect();
        let (low, high) = ends(&values);
        // What is infinite has no colour, so it counts as none.
        let known = |v: &f64| if v.is_finite() { *v } else { f64::NAN };
        let wide = values.iter().any(|&v| v.is_finite() && !is_short(v));
        let bytes: Vec<u8> = match wide {
            true => values.iter().flat_map(|v| known(v).to_le_bytes()).collect(),
            false => {
                let short = |v: &f64| if v.is_finite() { *v as f32 } else { f32::NAN };
                values.iter().flat_map(|v| short(v).to_le_bytes()).collect()
            }
        };
        Self::Numbers {
            name: name.to_owned(),
            low,
            high,
            wide,
            values: STANDARD.encode(bytes),
        }
    }

    fn steps(name: &str, values: &[f64], rows: &[usize]) -> Self {
        let values: Vec<f64> = rows.iter().map(|&row| values[row]).collect();
        let (low, high) = ends(&values);
        let step = |v: &f64| match v.is_finite() {
            true if high > low => {
                (((v - low) / (high - low)).clamp(0.0, 1.0) * 254.0).round() as u8
            }
            true => 127,
            false => 255,
        };
        let steps: Vec<u8> = values.iter().map(step).collect();
        Self::Steps {
            name: name.to_owned(),
            low,
            high,
            values: STANDARD.encode(steps),
        }
    }
}

/// The ends of the colours: the first and the 99th percentile, so that single cells do not decide over all.
fn ends(values: &[f64]) -> (f64, f64) {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| {
        let place = (sorted.len().saturating_sub(1) as f64 * share).round() as usize;
        sorted.get(place).copied().unwrap_or(0.0)
    };
    match at(0.01) < at(0.99) {
        true => (at(0.01), at(0.99)),
        false => range(ArrayView1::from(&sorted)).unwrap_or((0.0, 0.0)),
    }
}

/// Whether 32 bits hold a number to the seven digits that are shown, and a whole one to all of its digits.
///
/// In 32 bits large numbers become whole, and the page shows whole numbers in full: of what has a fraction, more digits than
/// are right.
fn is_short(v: f64) -> bool {
    let short = f64::from(v as f32);
    let is_near = (short - v).abs() <= 1e-7 * v.abs();
    is_near && (short == v || (v.fract() != 0.0 && short.abs() < 1e7))
}

/// Numbers of 16 bits, the low byte first, in base64.
fn sixteen(values: impl Iterator<Item = u16>) -> String {
    let bytes: Vec<u8> = values.flat_map(u16::to_le_bytes).collect();
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    fn bytes(text: &str) -> Vec<u8> {
        STANDARD.decode(text).unwrap()
    }

    #[test]
    fn arrays_come_back() {
        let back = bytes(&sixteen([0, 1, 258, NONE].into_iter()));
        let back: Vec<u16> = back
            .as_chunks::<2>()
            .0
            .iter()
            .map(|b| u16::from_le_bytes(*b))
            .collect();
        assert_eq!(back, [0, 1, 258, NONE]);
    }

    #[test]
    fn both_axes_have_one_scale_and_what_is_nowhere_has_no_place() {
        let points = array![[0.0, 10.0], [4.0, 12.0], [f64::NAN, 11.0], [2.0, 10.0]];
        let points = Points::new(&points, &[0, 1, 2, 3]);
        let read = |text: &str| -> Vec<u16> {
            let bytes = bytes(text);
            bytes
                .as_chunks::<2>()
                .0
                .iter()
                .map(|b| u16::from_le_bytes(*b))
                .collect()
        };
        assert_eq!(read(&points.x), [0, 65534, NONE, 32767]);
        assert_eq!(read(&points.y), [0, 32767, 16384, 0]);
    }

    #[test]
    fn missing_labels_and_values_have_codes_of_their_own() {
        let labels = Categorical::from_optional_labels([Some("b"), None, Some("a")]);
        let MapColumn::Labels {
            codes,
            colors,
            shapes,
            all,
            ..
        } = MapColumn::labels("x", &labels, &[0, 1])
        else {
            unreachable!()
        };
        assert_eq!(bytes(&codes), [1, 255]);
        // Of those that are not shown, too.
        assert_eq!(all, [1, 1, 1]);
        assert_eq!(colors, ["#0072b2", "#e69f00"]);
        assert_eq!(shapes, [0, 0]);
        let values = [0.0, f64::NAN, 1.0, 0.5];
        let MapColumn::Steps {
            values, low, high, ..
        } = MapColumn::steps("y", &values, &[0, 1, 2, 3])
        else {
            unreachable!()
        };
        assert_eq!((low, high), (0.0, 1.0));
        assert_eq!(bytes(&values), [0, 255, 254, 127]);
    }

    #[test]
    fn numbers_of_a_column_come_back_as_they_are() {
        let numbers = |values: &[f64]| {
            let rows: Vec<usize> = (0..values.len()).collect();
            match MapColumn::numbers("y", values, &rows) {
                MapColumn::Numbers { values, wide, .. } => (wide, bytes(&values)),
                _ => unreachable!(),
            }
        };
        let (wide, plain) = numbers(&[100.0, f64::INFINITY, -0.1]);
        let back: Vec<f32> = plain
            .as_chunks::<4>()
            .0
            .iter()
            .map(|b| f32::from_le_bytes(*b))
            .collect();
        assert!(!wide && back[1].is_nan());
        assert_eq!([back[0], back[2]], [100.0, -0.1]);
        // A date, what is beyond 32 bits, and what would become whole, of more than seven digits.
        for value in [
            20_240_115.0,
            1e300,
            1e-300,
            1_234_567_890.25,
            -10_000_050.7,
            9_999_999.7,
        ] {
            let (wide, bytes) = numbers(&[value, 1.0]);
            assert!(wide, "{value}");
            assert_eq!(bytes[..8], value.to_le_bytes());
        }
        // To seven digits these are whole.
        let (wide, _) = numbers(&[9_000_000.7, 8_000.000_2]);
        assert!(!wide);
    }
}

//! Images and label masks.

use std::collections::BTreeSet;
use std::ops::Range;

use phenocoder_core::{DataType, ImageRegion, ImageShape, ImageSource, LabelSource};
use phenocoder_io::{Error, Image, Labels, NumericValues, Transformation};
use serde_json::{Map, Value, json};

use super::values::{Summary, number, type_name};

/// Levels up to this many bytes are read as a whole; of larger ones, the corners.
pub(crate) const WHOLE: usize = 1 << 30;

/// About how many bytes of a level are held at once.
const BAND: usize = 64 << 20;

/// One level of an image or mask.
trait Level {
    fn shape(&self) -> ImageShape;
    fn chunk(&self) -> ImageShape;
    fn data_type(&self) -> DataType;
    fn read(&self, region: &ImageRegion) -> Result<NumericValues, Error>;
}

/// Reads a region in the type in which it is stored.
macro_rules! read {
    ($level:expr, $region:expr) => {{
        macro_rules! typed {
            ($variant:ident, $zero:expr) => {{
                let mut out = vec![$zero; $region.checked_len().unwrap_or(0)];
                $level.read_typed($region, &mut out)?;
                NumericValues::$variant(out)
            }};
        }
        Ok(match Level::data_type($level) {
            DataType::Bool => typed!(Bool, false),
            DataType::UInt8 => typed!(UInt8, 0),
            DataType::UInt16 => typed!(UInt16, 0),
            DataType::UInt32 => typed!(UInt32, 0),
            DataType::UInt64 => typed!(UInt64, 0),
            DataType::Int8 => typed!(Int8, 0),
            DataType::Int16 => typed!(Int16, 0),
            DataType::Int32 => typed!(Int32, 0),
            DataType::Int64 => typed!(Int64, 0),
            DataType::Float16 => typed!(Float16, half::f16::ZERO),
            DataType::Float32 => typed!(Float32, 0.0),
            DataType::Float64 => typed!(Float64, 0.0),
        })
    }};
}

impl Level for Image {
    fn shape(&self) -> ImageShape {
        ImageSource::shape(self)
    }
    fn chunk(&self) -> ImageShape {
        self.chunk_shape()
    }
    fn data_type(&self) -> DataType {
        ImageSource::data_type(self)
    }
    fn read(&self, region: &ImageRegion) -> Result<NumericValues, Error> {
        read!(self, region)
    }
}

impl Level for Labels {
    fn shape(&self) -> ImageShape {
        LabelSource::shape(self)
    }
    fn chunk(&self) -> ImageShape {
        self.chunk_shape()
    }
    fn data_type(&self) -> DataType {
        self.data_type()
    }
    fn read(&self, region: &ImageRegion) -> Result<NumericValues, Error> {
        read!(self, region)
    }
}

pub(crate) fn image(image: &Image) -> Result<Value, Error> {
    let levels = (0..image.n_levels())
        .map(|at| level(&image.level(at)?, image, image.axes(), false))
        .collect::<Result<Vec<Value>, Error>>()?;
    Ok(json!({
        "axes": image.axes(),
        "multiscale": levels.len() > 1,
        "dtype": type_name(ImageSource::data_type(image)),
        "channels": image.channel_labels(),
        "levels": levels,
        "transforms": transforms(image.transformations()),
    }))
}

pub(crate) fn labels(labels: &Labels) -> Result<Value, Error> {
    let levels = (0..labels.n_levels())
        .map(|at| level(&labels.level(at)?, labels, labels.axes(), true))
        .collect::<Result<Vec<Value>, Error>>()?;
    Ok(json!({
        "axes": labels.axes(),
        "multiscale": levels.len() > 1,
        "dtype": type_name(labels.data_type()),
        "levels": levels,
        "transforms": transforms(labels.transformations()),
    }))
}

fn along(shape: ImageShape, axis: &str) -> usize {
    match axis {
        "c" => shape.c,
        "z" => shape.z,
        "y" => shape.y,
        _ => shape.x,
    }
}

fn level(
    level: &dyn Level,
    finest: &dyn Level,
    axes: &[String],
    is_labels: bool,
) -> Result<Value, Error> {
    let shape = level.shape();
    let stored: Vec<usize> = axes.iter().map(|axis| along(shape, axis)).collect();
    let bytes = stored
        .iter()
        .try_fold(level.data_type().size(), |n, &s| n.checked_mul(s));
    let mut out = if bytes.is_some_and(|bytes| bytes <= WHOLE) {
        whole(level, &stored, is_labels)?
    } else {
        corners(level, &stored)?
    };
    let mut centers = Map::new();
    for axis in axes.iter().filter(|axis| *axis != "c") {
        let (n, of) = (along(shape, axis), along(finest.shape(), axis));
        if n > 0 {
            let scale = of as f64 / n as f64;
            let ends = [0.5 * scale, (n as f64 - 0.5) * scale];
            centers.insert(axis.clone(), json!(ends));
        }
    }
    out.insert("pixel_centers".to_owned(), centers.into());
    Ok(out.into())
}

fn whole(
    level: &dyn Level,
    stored: &[usize],
    is_labels: bool,
) -> Result<Map<String, Value>, Error> {
    let mut summary = Summary::new(level.data_type(), stored);
    let mut unique = BTreeSet::new();
    for region in bands(level) {
        let numbers = level.read(&region)?;
        if is_labels {
            note_labels(&numbers, &mut unique);
        }
        summary.push(&numbers);
    }
    let mut out = summary.finish();
    if is_labels {
        unique.remove(&0);
        out.insert("n_unique_nonzero".to_owned(), unique.len().into());
    }
    Ok(out)
}

/// The regions to read one after the other, which are in C order.
fn bands(level: &dyn Level) -> Vec<ImageRegion> {
    let shape = level.shape();
    let whole = shape.region();
    let row = shape.x * level.data_type().size();
    let plane = row * shape.y;
    if plane.saturating_mul(shape.z).saturating_mul(shape.c) <= BAND {
        return vec![whole];
    }
    // Whole rows of chunks, so that each chunk is decoded once for each of its planes.
    let chunk = level.chunk().y.max(1);
    let rows = (BAND / row.max(1) / chunk).max(1) * chunk;
    let mut bands = Vec::new();
    for c in 0..shape.c {
        for z in 0..shape.z {
            for y in (0..shape.y).step_by(rows) {
                bands.push(ImageRegion {
                    c: c..c + 1,
                    z: z..z + 1,
                    y: y..(y + rows).min(shape.y),
                    x: whole.x.clone(),
                });
            }
        }
    }
    bands
}

fn note_labels(values: &NumericValues, unique: &mut BTreeSet<i128>) {
    macro_rules! note {
        ($values:expr) => {{
            // Neighbors are mostly equal.
            let mut last = None;
            for &v in $values {
                if last != Some(v) {
                    unique.insert(i128::from(v));
                    last = Some(v);
                }
            }
        }};
    }
    match values {
        NumericValues::Bool(v) => note!(v),
        NumericValues::UInt8(v) => note!(v),
        NumericValues::UInt16(v) => note!(v),
        NumericValues::UInt32(v) => note!(v),
        NumericValues::UInt64(v) => note!(v),
        NumericValues::Int8(v) => note!(v),
        NumericValues::Int16(v) => note!(v),
        NumericValues::Int32(v) => note!(v),
        NumericValues::Int64(v) => note!(v),
        _ => {}
    }
}

/// The first and the last pixel of a level that is too large to be read.
fn corners(level: &dyn Level, stored: &[usize]) -> Result<Map<String, Value>, Error> {
    let shape = level.shape();
    let mut samples = Vec::new();
    if !stored.contains(&0) {
        let first = |_| 0..1;
        let last = |n: usize| n - 1..n;
        let ends: [&dyn Fn(usize) -> Range<usize>; 2] = [&first, &last];
        for (end, at) in ends.into_iter().zip([|_| 0, |n: usize| n - 1]) {
            let region = ImageRegion {
                c: end(shape.c),
                z: end(shape.z),
                y: end(shape.y),
                x: end(shape.x),
            };
            let found = level.read(&region)?;
            let index: Vec<usize> = stored.iter().map(|&n| at(n)).collect();
            samples.push(json!({"index": index, "value": number(&found, 0)}));
        }
    }
    let mut out = Map::new();
    out.insert("dtype".to_owned(), type_name(level.data_type()).into());
    out.insert("shape".to_owned(), stored.into());
    out.insert("samples".to_owned(), samples.into());
    let note = "too large to be read as a whole: no hash, extremes and sum";
    out.insert("incomplete".to_owned(), note.into());
    Ok(out)
}

/// The maps into coordinate systems.
pub(crate) fn transforms(transformations: &[Transformation]) -> Map<String, Value> {
    let described = transformations.iter().map(|transformation| {
        let kind = transformation.to_json()["type"].as_str().unwrap_or("");
        let mut letters = kind.chars();
        let class: String = letters
            .next()
            .map(|first| first.to_uppercase().chain(letters).collect())
            .unwrap_or_default();
        let value = match transformation.to_affine() {
            Ok(affine) => {
                let rows = affine.matrix().rows().into_iter();
                let rows: Vec<Vec<f64>> = rows.map(|row| row.to_vec()).collect();
                json!({"class": class, "axes": affine.axes(), "matrix": rows})
            }
            Err(error) => json!({"class": class, "matrix": {"error": error.to_string()}}),
        };
        (transformation.target().to_owned(), value)
    });
    described.collect()
}

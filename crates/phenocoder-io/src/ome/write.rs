//! New images and masks.

use std::ops::Range;

use half::f16;
use phenocoder_core::{DataType, ImageRegion, ImageShape, ImageSource, LabelSource, Progress};
use serde_json::{Map, Value, json};

use crate::array::{ArraySpec, ArrayWriter, ElementType};
use crate::disk::Place;
use crate::node::{ZarrFormat, write_group};
use crate::store::WriteMode;
use crate::transform::Transformation;
use crate::{Error, Result};

/// The settings that images and masks have in common.
macro_rules! shared_setters {
    () => {
        /// Sets [`chunks`](Self::chunks).
        #[must_use]
        pub fn with_chunks(mut self, chunks: ImageShape) -> Self {
            self.chunks = chunks;
            self
        }

        /// Sets [`three_dimensional`](Self::three_dimensional).
        #[must_use]
        pub fn with_three_dimensional(mut self, three_dimensional: bool) -> Self {
            self.three_dimensional = three_dimensional;
            self
        }

        /// Sets [`scale`](Self::scale).
        #[must_use]
        pub fn with_scale(mut self, zyx: [f64; 3]) -> Self {
            self.scale = Some(zyx);
            self
        }

        /// Sets [`mode`](Self::mode).
        #[must_use]
        pub fn with_mode(mut self, mode: WriteMode) -> Self {
            self.mode = mode;
            self
        }
    };
}

/// How an image is written.
///
/// # Examples
///
/// ```
/// use phenocoder_core::DataType;
/// use phenocoder_io::ImageWriteOptions;
///
/// let options = ImageWriteOptions::new(DataType::UInt16).with_scale([1.0, 0.3, 0.3]);
/// assert_eq!(options.scale, Some([1.0, 0.3, 0.3]));
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ImageWriteOptions {
    /// The type in which pixels are stored; a pixel that does not fit it is an error.
    pub data_type: DataType,
    /// The extent of a chunk along `c, z, y, x`, 1 × 1 × 1024 × 1024 unless set.
    pub chunks: ImageShape,
    /// Whether a `z` axis is stored; a source with more than one plane always has one.
    pub three_dimensional: bool,
    /// The length of a pixel along `z, y, x` in the coordinate system `global`; 1 unless set.
    pub scale: Option<[f64; 3]>,
    /// The names of the channels, text or whole numbers; those of the source, as text, unless set.
    pub channel_labels: Option<Vec<Value>>,
    /// Whether an element of this name may be there already; by default it must not.
    pub mode: WriteMode,
}

impl ImageWriteOptions {
    /// Pixels of this type, everything else by default.
    #[must_use]
    pub fn new(data_type: DataType) -> Self {
        Self {
            data_type,
            chunks: ImageShape::new(1, 1, 1024, 1024),
            three_dimensional: false,
            scale: None,
            channel_labels: None,
            mode: WriteMode::Create,
        }
    }

    /// Sets [`channel_labels`](Self::channel_labels), for a copy those of [`Image`](crate::Image::channel_labels).
    #[must_use]
    pub fn with_channel_labels(mut self, labels: Vec<Value>) -> Self {
        self.channel_labels = Some(labels);
        self
    }

    shared_setters!();
}

/// How a label mask is written.
///
/// # Examples
///
/// ```
/// use phenocoder_core::DataType;
/// use phenocoder_io::LabelWriteOptions;
///
/// assert_eq!(LabelWriteOptions::default().data_type, DataType::UInt32);
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LabelWriteOptions {
    /// The type in which labels are stored, `u32` by default; a label that does not fit it is an error.
    pub data_type: DataType,
    /// The extent of a chunk along `c, z, y, x`, 1 × 1 × 1024 × 1024 unless set; `c` is not used.
    pub chunks: ImageShape,
    /// Whether a `z` axis is stored; a source with more than one plane always has one.
    pub three_dimensional: bool,
    /// The length of a pixel along `z, y, x` in the coordinate system `global`; 1 unless set.
    pub scale: Option<[f64; 3]>,
    /// Whether an element of this name may be there already; by default it must not.
    pub mode: WriteMode,
}

impl Default for LabelWriteOptions {
    fn default() -> Self {
        Self {
            data_type: DataType::UInt32,
            chunks: ImageShape::new(1, 1, 1024, 1024),
            three_dimensional: false,
            scale: None,
            mode: WriteMode::Create,
        }
    }
}

impl LabelWriteOptions {
    /// Sets [`data_type`](Self::data_type).
    #[must_use]
    pub fn with_data_type(mut self, data_type: DataType) -> Self {
        self.data_type = data_type;
        self
    }

    shared_setters!();
}

/// Writes an image into a folder.
pub(crate) fn write_image(
    place: &Place,
    name: &str,
    format: ZarrFormat,
    image: &dyn ImageSource,
    options: &ImageWriteOptions,
    progress: &dyn Progress,
) -> Result<()> {
    let shape = image.shape();
    let axes: &[&str] = if options.three_dimensional || shape.z > 1 {
        &["c", "z", "y", "x"]
    } else {
        &["c", "y", "x"]
    };
    let layout = Layout::new(name, axes, shape, options.chunks, options.data_type)?;
    let labels = match &options.channel_labels {
        Some(labels) => labels.clone(),
        None => image.channels().iter().map(|label| json!(label)).collect(),
    };
    let is_label = |label: &Value| label.is_string() || label.is_i64() || label.is_u64();
    if labels.len() != shape.c || !labels.iter().all(is_label) {
        return Err(Error::Config {
            name: "channel_labels",
            problem: format!("there must be {} texts or whole numbers", shape.c),
        });
    }
    let channels: Vec<Value> = labels.iter().map(|label| json!({"label": label})).collect();
    let omero = Some(json!({"channels": channels}));
    layout.write_group(place, format, options.scale, omero)?;
    let mut buffer = Vec::new();
    layout.write_chunks(place, format, progress, |region, out| {
        buffer.clear();
        buffer.resize(region.checked_len().unwrap_or(0), 0.0_f32);
        image.read_region(region, &mut buffer)?;
        for (value, place) in buffer.iter().zip(out) {
            put_pixel(name, *value, options.data_type, place)?;
        }
        Ok(())
    })
}

/// Writes a mask into a folder.
pub(crate) fn write_labels(
    place: &Place,
    name: &str,
    format: ZarrFormat,
    labels: &dyn LabelSource,
    options: &LabelWriteOptions,
    progress: &dyn Progress,
) -> Result<()> {
    if !options.data_type.is_integer() || options.data_type == DataType::Bool {
        return Err(Error::Config {
            name: "data_type",
            problem: "labels are stored as whole numbers".to_owned(),
        });
    }
    let shape = labels.shape();
    let axes: &[&str] = if options.three_dimensional || shape.z > 1 {
        &["z", "y", "x"]
    } else {
        &["y", "x"]
    };
    let layout = Layout::new(name, axes, shape, options.chunks, options.data_type)?;
    layout.write_group(place, format, options.scale, None)?;
    let mut buffer = Vec::new();
    layout.write_chunks(place, format, progress, |region, out| {
        buffer.clear();
        buffer.resize(region.checked_len().unwrap_or(0), 0_u64);
        labels.read_region(region, &mut buffer)?;
        for (value, place) in buffer.iter().zip(out) {
            put_label(name, *value, options.data_type, place)?;
        }
        Ok(())
    })
}

/// The axes and chunks of a new image or mask.
struct Layout<'a> {
    name: &'a str,
    axes: &'a [&'a str],
    shape: ImageShape,
    chunk: ImageShape,
    data_type: DataType,
}

impl<'a> Layout<'a> {
    fn new(
        name: &'a str,
        axes: &'a [&'a str],
        shape: ImageShape,
        chunks: ImageShape,
        data_type: DataType,
    ) -> Result<Self> {
        if [shape.c, shape.z, shape.y, shape.x].contains(&0) {
            return Err(Error::invalid(
                name,
                "at least one pixel",
                format!("{shape:?}"),
            ));
        }
        if [chunks.c, chunks.z, chunks.y, chunks.x].contains(&0) {
            return Err(Error::Config {
                name: "chunks",
                problem: "each length must be at least 1".to_owned(),
            });
        }
        let chunk = ImageShape::new(
            chunks.c.min(shape.c),
            chunks.z.min(shape.z),
            chunks.y.min(shape.y),
            chunks.x.min(shape.x),
        );
        let bytes = chunk
            .region()
            .checked_len()
            .and_then(|n| n.checked_mul(data_type.size()));
        if bytes.is_none_or(|bytes| bytes > (1 << 30)) {
            return Err(Error::Config {
                name: "chunks",
                problem: "a chunk must not have more than 1 GiB".to_owned(),
            });
        }
        Ok(Self {
            name,
            axes,
            shape,
            chunk,
            data_type,
        })
    }

    /// The lengths along the stored axes.
    fn along(&self, shape: ImageShape) -> Vec<u64> {
        self.axes
            .iter()
            .map(|axis| match *axis {
                "c" => shape.c,
                "z" => shape.z,
                "y" => shape.y,
                _ => shape.x,
            } as u64)
            .collect()
    }

    fn write_group(
        &self,
        place: &Place,
        format: ZarrFormat,
        scale: Option<[f64; 3]>,
        omero: Option<Value>,
    ) -> Result<()> {
        let [z, y, x] = scale.unwrap_or([1.0; 3]);
        let factors: Vec<f64> = self
            .axes
            .iter()
            .map(|axis| match *axis {
                "c" => 1.0,
                "z" => z,
                "y" => y,
                _ => x,
            })
            .collect();
        if factors.iter().any(|f| !f.is_finite() || *f <= 0.0) {
            return Err(Error::Config {
                name: "scale",
                problem: "each length must be a positive number".to_owned(),
            });
        }
        let axes: Vec<Value> = self
            .axes
            .iter()
            .map(|axis| match *axis {
                "c" => json!({"name": axis, "type": "channel"}),
                _ => json!({"name": axis, "type": "space", "unit": "unit"}),
            })
            .collect();
        let level = path_of_level(format);
        let ones = vec![1.0; self.axes.len()];
        let transformation = Transformation::scale(self.axes, &factors, "global");
        let mut multiscale = json!({
            "axes": axes,
            "datasets": [{
                "path": level,
                "coordinateTransformations": [{"type": "scale", "scale": ones}],
            }],
            "coordinateTransformations": [transformation.to_json()],
            "name": self.name,
        });
        let mut attributes = Map::new();
        let mut ome = Map::new();
        let version = match format {
            ZarrFormat::V3 => {
                ome.insert("version".to_owned(), json!("0.5-dev-spatialdata"));
                "0.3"
            }
            ZarrFormat::V2 => {
                if let Some(object) = multiscale.as_object_mut() {
                    object.insert("version".to_owned(), json!("0.4-dev-spatialdata"));
                }
                "0.2"
            }
        };
        ome.insert("multiscales".to_owned(), json!([multiscale]));
        match omero {
            Some(omero) => {
                ome.insert("omero".to_owned(), omero);
            }
            None => {
                let mut label = Map::new();
                if format == ZarrFormat::V2 {
                    label.insert("version".to_owned(), json!("0.4"));
                }
                ome.insert("image-label".to_owned(), Value::Object(label));
            }
        }
        match format {
            ZarrFormat::V3 => {
                attributes.insert("ome".to_owned(), Value::Object(ome));
            }
            ZarrFormat::V2 => attributes.append(&mut ome),
        }
        attributes.insert("spatialdata_attrs".to_owned(), json!({"version": version}));
        write_group(place, format, attributes)
    }

    fn write_chunks(
        &self,
        place: &Place,
        format: ZarrFormat,
        progress: &dyn Progress,
        mut fill: impl FnMut(&ImageRegion, std::slice::ChunksExactMut<'_, u8>) -> Result<()>,
    ) -> Result<()> {
        let size = self.data_type.size();
        let mut attributes = Map::new();
        if format == ZarrFormat::V2 {
            attributes.insert("_ARRAY_DIMENSIONS".to_owned(), json!(self.axes));
        }
        let spec = ArraySpec {
            shape: self.along(self.shape),
            chunk: self.along(self.chunk),
            element: ElementType::Number(self.data_type),
            nested: true,
            dimension_names: Some(self.axes.iter().map(|&a| a.to_owned()).collect()),
            inner: None,
            attributes,
            meaning: None,
        };
        let writer = ArrayWriter::create(&place.join(path_of_level(format)), format, spec)?;
        let counts = |n: usize, chunk: usize| n.div_ceil(chunk) as u64;
        let grid = [
            counts(self.shape.c, self.chunk.c),
            counts(self.shape.z, self.chunk.z),
            counts(self.shape.y, self.chunk.y),
            counts(self.shape.x, self.chunk.x),
        ];
        progress.start("write pixels", Some(grid.iter().product()));
        let mut pixels = Vec::new();
        let mut bytes = vec![0; self.chunk.region().checked_len().unwrap_or(0) * size];
        for index in crate::array::indices(&grid) {
            progress.check()?;
            let range = |axis: usize, chunk: usize, n: usize| -> Range<usize> {
                let start = index[axis] as usize * chunk;
                start..(start + chunk).min(n)
            };
            let region = ImageRegion {
                c: range(0, self.chunk.c, self.shape.c),
                z: range(1, self.chunk.z, self.shape.z),
                y: range(2, self.chunk.y, self.shape.y),
                x: range(3, self.chunk.x, self.shape.x),
            };
            pixels.clear();
            pixels.resize(region.checked_len().unwrap_or(0) * size, 0);
            fill(&region, pixels.chunks_exact_mut(size))?;
            // Chunks at the edge are stored whole.
            let extent = region.shape();
            let padded = if extent == self.chunk {
                &pixels
            } else {
                bytes.fill(0);
                let row = extent.x * size;
                for (i, part) in pixels.chunks_exact(row).enumerate() {
                    let (plane, y) = (i / extent.y, i % extent.y);
                    let (c, z) = (plane / extent.z, plane % extent.z);
                    let line = (c * self.chunk.z + z) * self.chunk.y + y;
                    let at = line * self.chunk.x * size;
                    bytes[at..at + row].copy_from_slice(part);
                }
                &bytes
            };
            let stored: Vec<u64> = ["c", "z", "y", "x"]
                .iter()
                .zip(&index)
                .filter(|(axis, _)| self.axes.contains(axis))
                .map(|(_, &i)| i)
                .collect();
            writer.write(&stored, padded)?;
            progress.advance(1);
        }
        progress.finish();
        Ok(())
    }
}

fn path_of_level(format: ZarrFormat) -> &'static str {
    match format {
        ZarrFormat::V3 => "s0",
        ZarrFormat::V2 => "0",
    }
}

/// Stores a pixel, which must fit exactly unless the type is a shorter float.
fn put_pixel(element: &str, value: f32, data_type: DataType, place: &mut [u8]) -> Result<()> {
    let refuse = || Error::OutOfRange {
        element: element.to_owned(),
        value: value.to_string(),
        data_type,
    };
    macro_rules! integer {
        ($type:ty) => {{
            // The upper limit is exclusive: as a float the largest value of a wide type rounds up to it.
            let low = <$type>::MIN as f64;
            let high = <$type>::MAX as f64 + 1.0;
            let wide = f64::from(value);
            if !(wide >= low && wide < high && wide.fract() == 0.0) {
                return Err(refuse());
            }
            place.copy_from_slice(&(wide as $type).to_ne_bytes());
        }};
    }
    match data_type {
        DataType::Bool => match value {
            0.0 => place.copy_from_slice(&[0]),
            1.0 => place.copy_from_slice(&[1]),
            _ => return Err(refuse()),
        },
        DataType::UInt8 => integer!(u8),
        DataType::UInt16 => integer!(u16),
        DataType::UInt32 => integer!(u32),
        DataType::UInt64 => integer!(u64),
        DataType::Int8 => integer!(i8),
        DataType::Int16 => integer!(i16),
        DataType::Int32 => integer!(i32),
        DataType::Int64 => integer!(i64),
        DataType::Float16 => {
            let half = f16::from_f32(value);
            if half.is_infinite() && value.is_finite() {
                return Err(refuse());
            }
            place.copy_from_slice(&half.to_ne_bytes());
        }
        DataType::Float32 => place.copy_from_slice(&value.to_ne_bytes()),
        DataType::Float64 => place.copy_from_slice(&f64::from(value).to_ne_bytes()),
    }
    Ok(())
}

/// Stores a label, which must fit exactly.
fn put_label(element: &str, value: u64, data_type: DataType, place: &mut [u8]) -> Result<()> {
    macro_rules! integer {
        ($type:ty) => {
            match <$type>::try_from(value) {
                Ok(value) => place.copy_from_slice(&value.to_ne_bytes()),
                Err(_) => {
                    return Err(Error::OutOfRange {
                        element: element.to_owned(),
                        value: value.to_string(),
                        data_type,
                    });
                }
            }
        };
    }
    match data_type {
        DataType::UInt8 => integer!(u8),
        DataType::UInt16 => integer!(u16),
        DataType::UInt32 => integer!(u32),
        DataType::UInt64 => integer!(u64),
        DataType::Int8 => integer!(i8),
        DataType::Int16 => integer!(i16),
        DataType::Int32 => integer!(i32),
        DataType::Int64 => integer!(i64),
        DataType::Bool | DataType::Float16 | DataType::Float32 | DataType::Float64 => {
            return Err(Error::Config {
                name: "data_type",
                problem: "labels are stored as whole numbers".to_owned(),
            });
        }
    }
    Ok(())
}

//! New images and masks.

mod layout;
mod pixels;
mod pyramid;

use phenocoder_core::{DataType, ImageShape, ImageSource, Progress};
use serde_json::{Value, json};

use super::{Image, Labels};
use crate::disk::Place;
use crate::node::ZarrFormat;
use crate::store::WriteMode;
use crate::transform::Transformation;
use crate::{Error, Result};

use layout::{GroupMetadata, Layout};
pub(crate) use pixels::{FromImage, FromLabels, Pixels};
pub use pyramid::Pyramid;
use pyramid::Reduction;

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

        /// Sets [`shards`](Self::shards).
        #[must_use]
        pub fn with_shards(mut self, shards: ImageShape) -> Self {
            self.shards = Some(shards);
            self
        }

        /// Sets [`pyramid`](Self::pyramid).
        #[must_use]
        pub fn with_pyramid(mut self, pyramid: Pyramid) -> Self {
            self.pyramid = pyramid;
            self
        }

        /// Sets [`transformations`](Self::transformations), for a copy those of the element that is copied.
        #[must_use]
        pub fn with_transformations(mut self, transformations: Vec<Transformation>) -> Self {
            self.transformations = Some(transformations);
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
    /// The extent of a shard along `c, z, y, x`, a multiple of [`chunks`](Self::chunks); no shards unless set.
    ///
    /// A shard is one file of several chunks, which can still be read one by one: right where a store would have too many
    /// files, as on network and object storage. Along an axis that is not stored it says nothing. Zarr v3 only.
    pub shards: Option<ImageShape>,
    /// The coarser levels; none unless set.
    pub pyramid: Pyramid,
    /// The maps into coordinate systems, one for each, in the place of [`scale`](Self::scale); they take `x` and `y`.
    pub transformations: Option<Vec<Transformation>>,
    /// The names of the channels, text or whole numbers; those of the source, as text, unless set.
    pub channel_labels: Option<Vec<Value>>,
    /// How viewers show the image (`omero` of OME-NGFF: colors, windows); the names of the channels come from elsewhere.
    pub omero: Option<Value>,
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
            shards: None,
            pyramid: Pyramid::None,
            transformations: None,
            channel_labels: None,
            omero: None,
            mode: WriteMode::Create,
        }
    }

    /// What a copy of an image needs to be like it: its type, axes, levels, channels, maps and looks.
    ///
    /// Of an image that is not at its finest level only the scale in `global` is kept of the maps, and none where
    /// [`Image::pixel_size`] is `None`.
    #[must_use]
    pub fn like(image: &Image) -> Self {
        let raster = image.raster();
        Self {
            three_dimensional: raster.axes.iter().any(|axis| axis == "z"),
            pyramid: Pyramid::Copied,
            transformations: raster.finest_transformations(),
            scale: raster.pixel_size("global"),
            channel_labels: Some(image.channel_labels().to_vec()),
            omero: image.omero().cloned(),
            ..Self::new(image.data_type())
        }
    }

    /// Sets [`omero`](Self::omero), for a copy that of [`Image::omero`].
    #[must_use]
    pub fn with_omero(mut self, omero: Value) -> Self {
        self.omero = Some(omero);
        self
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
    /// The extent of a shard along `c, z, y, x`, a multiple of [`chunks`](Self::chunks); no shards unless set.
    ///
    /// A shard is one file of several chunks, which can still be read one by one: right where a store would have too many
    /// files, as on network and object storage. Along an axis that is not stored it says nothing. Zarr v3 only.
    pub shards: Option<ImageShape>,
    /// The coarser levels; none unless set.
    pub pyramid: Pyramid,
    /// The maps into coordinate systems, one for each, in the place of [`scale`](Self::scale); they take `x` and `y`.
    pub transformations: Option<Vec<Transformation>>,
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
            shards: None,
            pyramid: Pyramid::None,
            transformations: None,
            mode: WriteMode::Create,
        }
    }
}

impl LabelWriteOptions {
    /// What a copy of a mask needs to be like it: its type, axes, levels and maps.
    ///
    /// Of a mask that is not at its finest level only the scale in `global` is kept of the maps, and none where
    /// [`Labels::pixel_size`] is `None`.
    #[must_use]
    pub fn like(labels: &Labels) -> Self {
        let raster = labels.raster();
        Self {
            data_type: labels.data_type(),
            three_dimensional: raster.axes.iter().any(|axis| axis == "z"),
            pyramid: Pyramid::Copied,
            transformations: raster.finest_transformations(),
            scale: raster.pixel_size("global"),
            ..Self::default()
        }
    }

    /// Sets [`data_type`](Self::data_type).
    #[must_use]
    pub fn with_data_type(mut self, data_type: DataType) -> Self {
        self.data_type = data_type;
        self
    }

    shared_setters!();
}

/// Writes an image into a folder; `channels` are the names that it has unless the options say others.
pub(crate) fn write_image(
    place: &Place,
    name: &str,
    format: ZarrFormat,
    pixels: &dyn Pixels,
    channels: &[String],
    options: &ImageWriteOptions,
    progress: &dyn Progress,
) -> Result<()> {
    let shape = pixels.shape();
    check_type(pixels, options.data_type)?;
    let axes: &[&str] = if options.three_dimensional || shape.z > 1 {
        &["c", "z", "y", "x"]
    } else {
        &["c", "y", "x"]
    };
    let extents = [Some(options.chunks), options.shards];
    let layout = Layout::new(name, axes, format, pixels, extents, &options.pyramid)?;
    let labels = match &options.channel_labels {
        Some(labels) => labels.clone(),
        None => channels.iter().map(|label| json!(label)).collect(),
    };
    let is_label = |label: &Value| label.is_string() || label.is_i64() || label.is_u64();
    if labels.len() != shape.c || !labels.iter().all(is_label) {
        return Err(Error::Config {
            name: "channel_labels",
            problem: format!("there must be {} texts or whole numbers", shape.c),
        });
    }
    let metadata = GroupMetadata {
        scale: options.scale,
        transformations: options.transformations.clone(),
        omero: Some(omero(options.omero.as_ref(), labels)?),
    };
    layout.write_group(place, metadata)?;
    layout.write_levels(place, pixels, Reduction::Mean, progress)
}

/// Writes a mask into a folder.
pub(crate) fn write_labels(
    place: &Place,
    name: &str,
    format: ZarrFormat,
    pixels: &dyn Pixels,
    options: &LabelWriteOptions,
    progress: &dyn Progress,
) -> Result<()> {
    if !options.data_type.is_integer() || options.data_type == DataType::Bool {
        return Err(Error::Config {
            name: "data_type",
            problem: "labels are stored as whole numbers".to_owned(),
        });
    }
    check_type(pixels, options.data_type)?;
    let shape = pixels.shape();
    if shape.c != 1 {
        return Err(Error::invalid(name, "a mask without channels", shape.c));
    }
    let axes: &[&str] = if options.three_dimensional || shape.z > 1 {
        &["z", "y", "x"]
    } else {
        &["y", "x"]
    };
    let extents = [Some(options.chunks), options.shards];
    let layout = Layout::new(name, axes, format, pixels, extents, &options.pyramid)?;
    let metadata = GroupMetadata {
        scale: options.scale,
        transformations: options.transformations.clone(),
        omero: None,
    };
    layout.write_group(place, metadata)?;
    layout.write_levels(place, pixels, Reduction::Middle, progress)
}

/// Pixels that are not converted must have the type that is asked for.
fn check_type(pixels: &dyn Pixels, data_type: DataType) -> Result<()> {
    if pixels.data_type() == data_type {
        return Ok(());
    }
    Err(Error::Config {
        name: "data_type",
        problem: format!("the pixels are {:?}, not {data_type:?}", pixels.data_type()),
    })
}

/// The looks of an image with the names of its channels.
fn omero(looks: Option<&Value>, labels: Vec<Value>) -> Result<Value> {
    let mut omero = match looks {
        None => serde_json::Map::new(),
        Some(Value::Object(looks)) => looks.clone(),
        Some(_) => {
            return Err(Error::Config {
                name: "omero",
                problem: "it must be an object".to_owned(),
            });
        }
    };
    let known = match omero.get("channels") {
        Some(Value::Array(channels)) if channels.len() == labels.len() => channels.clone(),
        _ => Vec::new(),
    };
    let mut known = known.into_iter();
    let channels = labels.into_iter().map(|label| {
        let mut channel = match known.next() {
            Some(Value::Object(channel)) => channel,
            _ => serde_json::Map::new(),
        };
        channel.insert("label".to_owned(), label);
        Value::Object(channel)
    });
    let channels = channels.collect();
    omero.insert("channels".to_owned(), channels);
    Ok(Value::Object(omero))
}

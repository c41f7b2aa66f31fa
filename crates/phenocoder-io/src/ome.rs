//! OME-Zarr images and label masks: axes, levels, channels, windows.

mod image;
mod labels;
mod multiscale;
mod query;
mod raster;
mod write;

pub use image::Image;
pub use labels::Labels;
pub(crate) use multiscale::Multiscale;
pub(crate) use write::{FromImage, FromLabels, Pixels, write_image, write_labels};
pub use write::{ImageWriteOptions, LabelWriteOptions, Pyramid};

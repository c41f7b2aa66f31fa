//! SpatialData stores, read and written natively.
//!
//! A store is a Zarr hierarchy with images, label masks, points, shapes and tables (AnnData).
//! Opening one reads names and metadata; windows, columns and matrices are read when they are asked for.
//! Take only this crate if you want SpatialData without the rest of phenocoder.
//!
//! # Getting started
//!
//! ```
//! use ndarray::{Array3, Array4};
//! use phenocoder_core::{
//!     Categorical, Column, DataType, ImageSource, LabelSource, MemoryImage, MemoryLabels, NoProgress,
//! };
//! use phenocoder_io::{
//!     Annotation, ContainerVersion, ImageWriteOptions, LabelWriteOptions, Store, TableData, WriteMode,
//! };
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("tissue.zarr");
//! let mut store = Store::create(&path, ContainerVersion::V02)?;
//!
//! let image = MemoryImage::new("dapi", Array4::from_elem((1, 1, 64, 64), 7.0), vec!["DAPI".into()])?;
//! store.write_image("dapi", &image, &ImageWriteOptions::new(DataType::UInt16), &NoProgress)?;
//! let mask = MemoryLabels::new("nuclei", Array3::from_elem((1, 64, 64), 1));
//! store.write_labels("nuclei", &mask, &LabelWriteOptions::default(), &NoProgress)?;
//!
//! let cells = TableData::new(vec!["cell_1".into()], vec![], None)
//!     .with_obs_column("region", Column::Categorical(Categorical::from_labels(["nuclei"])))?
//!     .with_obs_column("instance_id", Column::Int(vec![1]))?
//!     .with_annotation(Annotation {
//!         regions: vec!["nuclei".into()],
//!         region_key: "region".into(),
//!         instance_key: "instance_id".into(),
//!     });
//! store.write_table("cells", &cells, WriteMode::Create)?;
//!
//! let store = Store::open(&path)?;
//! let image = store.image("dapi")?;
//! let mut pixels = vec![0.0; 64 * 64];
//! image.read_region(&image.shape().region(), &mut pixels)?;
//! assert_eq!(pixels[0], 7.0);
//! assert_eq!(store.table("cells")?.obs_column("instance_id")?, Column::Int(vec![1]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is read and written
//!
//! | element | versions | read | written |
//! |---|---|---|---|
//! | container | 0.1 (Zarr v2), 0.2 (Zarr v3) | yes | yes |
//! | images, labels | 0.1, 0.2, 0.3 | 2-D, 3-D, pyramids, whole numbers and floats | 2-D, 3-D, pyramids, shards, whole numbers and floats |
//! | tables | 0.1, 0.2, legacy `table/table` | the encodings of AnnData (0.7 and later), see below | yes |
//! | points | 0.1, 0.2 | one file or parts; snappy, zstd, gzip, lz4_raw, none | yes |
//! | shapes | 0.1, 0.2, 0.3 | WKB, native geometries, ragged arrays | 0.2, 0.3, as WKB |
//!
//! Not read in tables are `awkward-array`, complex numbers, times in other units than seconds to nanoseconds, and times and
//! bytes with several axes: where they are an entry of `uns` and its like, that entry is [`Uns::Unsupported`], and a
//! column of `obs` or `var` or a layer is left out of [`Table::read_all`]; [`TableData::unsupported`] names them all, they
//! stay when the table is replaced, and harm no other.
//!
//! # Catalogue
//!
//! | question | items |
//! |---|---|
//! | What is in a store? | [`Store`], [`Element`], [`ElementKind`] |
//! | Is it sound? | [`validate`], [`verify`], [`Store::repair`] |
//! | How are pixels read? | [`Image`], [`Labels`], [`OpenOptions`] |
//! | Where do elements lie? | [`Transformation`], [`Affine`], [`Store::coordinate_systems`] |
//! | What lies in a region? | [`BoundingBox`], [`Points::read_within`], [`Shapes::read_within`], [`Image::region_within`] |
//! | How are points read? | [`Points`], [`PointBatches`], [`PointsData`] |
//! | How are shapes read? | [`Shapes`], [`Geometries`], [`ShapeBatches`], [`ShapesData`] |
//! | How are tables read and changed? | [`Table`], [`TableData`], [`Matrix`], [`Uns`], [`Records`], [`Annotation`] |
//! | What is in a table, before it is read? | [`Table::x_info`], [`Table::obs_info`], [`MatrixInfo`], [`ColumnInfo`] |
//! | How are some rows of a large matrix read? | [`Table::x_rows`], [`Table::layer_rows`], [`Table::obsm_rows`] |
//! | How do columns convert? | [`column_to_arrow`], [`column_from_arrow`], [`features_to_record_batch`] |
//! | How are elements written? | [`Store::write_table`] and the other methods of [`Store`], [`WriteMode`] |
//! | Where do patches go? | [`PatchSetWriter`], [`PatchSet`] |
//! | How do results leave? | [`write_parquet`], [`write_csv`], [`copy_store`] |
//!
//! # Servers and zip files
//!
//! A path may lead to a folder, to a zip file of a store, which is only read, or, with the feature `object-store`, to a
//! server: `s3://bucket/tissue.zarr`, `gs://…`, `az://…`, `https://…`.
//! Chunks are read one by one and parts of shards and Parquet files by range;
//! metadata come from the consolidated metadata, so that opening takes a few requests.
//! Requests that fail on their way are sent again, and [`OpenOptions::max_requests`] sets a budget.
//! On S3 and its like, elements are written, replaced and removed: the consolidated metadata, one file, are replaced
//! last, and only if nobody else has replaced them.
//! While an element is replaced readers see the store without it, never half of one. Plain HTTP is read-only.
//!
//! ```no_run
//! use phenocoder_io::{OpenOptions, Store};
//!
//! let options = OpenOptions::default()
//!     .with_storage_option("aws_region", "eu-central-1")
//!     .with_max_requests(Some(10_000));
//! let store = Store::open_with("s3://bucket/tissue.zarr", options)?;
//! # Ok::<(), phenocoder_io::Error>(())
//! ```
//!
//! # Safety of data
//!
//! A write happens whole or not at all: elements are written beside their place,
//! waited for until they are on the disk, and renamed.
//! When a program is killed in between, the next [`Store::open`] finds the old or the new element.
//! Every array that this crate writes carries checksums (CRC-32C; in Zarr v2 those of zstd), and so do the Parquet files
//! of points and shapes, byte for byte: flipped bits are an error and no wrong number.
//!
//! What a file claims is checked before memory is taken for it, paths in metadata cannot leave the store, nor links,
//! and a damaged element leaves the others readable.
//! Arrays that this crate writes say that all their chunks are stored, so that a lost chunk is an error;
//! in others it holds the fill value, as Zarr defines ([`MissingChunks`]).
//!
//! # Differences from Python's `spatialdata`
//!
//! - Reading lists folders instead of trusting consolidated metadata, which may be stale; on servers these are believed,
//!   as asking for each file would take too long.
//! - Indices of sparse matrices and codes of categories are checked.
//! - Links that lead out of the store are refused, unless [`OpenOptions::follow_links`] allows them.
//! - Categories of numbers in points and shapes are those that occur, in their order: Parquet files as Python writes them
//!   hold no others.
//! - Complex numbers are not read.

mod array;
mod columns;
mod disk;
mod error;
pub mod export;
#[doc(hidden)]
pub mod fuzz;
mod json;
mod node;
mod ome;
mod options;
mod patchset;
mod path;
mod points;
mod region;
mod root;
mod shapes;
mod store;
mod table;
mod transform;
mod validate;

pub use array::{NumericArray, NumericValues, StoredPixel};
pub use columns::ParquetCompression;
pub use error::{Error, Result};
#[doc(no_inline)]
pub use export::{
    features_to_record_batch, read_parquet, read_parquet_with, write_csv, write_parquet,
};
pub use ome::{Image, ImageWriteOptions, LabelWriteOptions, Labels, Pyramid};
pub use options::{MissingChunks, OpenOptions};
pub use patchset::{PatchSet, PatchSetOptions, PatchSetWriter};
pub use points::{PointBatches, Points, PointsData, PointsWriteOptions};
pub use region::BoundingBox;
pub use shapes::{
    Geometries, Geometry, GeometryKind, Polygon, Ring, ShapeBatch, ShapeBatches, Shapes,
    ShapesData, ShapesWriteOptions,
};
pub use store::{
    ContainerVersion, Element, ElementKind, Repair, RepairOptions, Store, Verification, WriteMode,
    copy_store, copy_store_with, verify,
};
pub use table::{
    Annotation, ColumnInfo, Frame, Matrix, MatrixInfo, RawData, Records, SparseFormat,
    SparseMatrix, Table, TableData, TextArray, Uns, column_from_arrow, column_to_arrow,
};
pub use transform::{Affine, Transformation};
pub use validate::{Violation, validate};

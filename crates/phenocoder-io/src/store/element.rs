//! The words of a store's table of contents.

/// The version of a SpatialData container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ContainerVersion {
    /// Version 0.1, in Zarr v2: written by SpatialData before 0.6.
    V01,
    /// Version 0.2, in Zarr v3: written by SpatialData from 0.6 on.
    V02,
}

impl ContainerVersion {
    /// The version as it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V01 => "0.1",
            Self::V02 => "0.2",
        }
    }
}

/// What an element is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ElementKind {
    /// An image with channels.
    Image,
    /// A mask of labelled objects.
    Labels,
    /// Positions with attributes, in Parquet.
    Points,
    /// Polygons or circles, in GeoParquet.
    Shapes,
    /// A table, as AnnData stores it.
    Table,
}

impl ElementKind {
    /// Every kind, in the order of [`Store::elements`](crate::Store::elements).
    pub const ALL: [Self; 5] = [
        Self::Image,
        Self::Labels,
        Self::Points,
        Self::Shapes,
        Self::Table,
    ];

    /// The group in which elements of this kind lie.
    #[must_use]
    pub const fn group(self) -> &'static str {
        match self {
            Self::Image => "images",
            Self::Labels => "labels",
            Self::Points => "points",
            Self::Shapes => "shapes",
            Self::Table => "tables",
        }
    }

    pub(crate) const fn singular(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Labels => "label mask",
            Self::Points => "points element",
            Self::Shapes => "shapes element",
            Self::Table => "table",
        }
    }
}

/// An entry of a store's table of contents.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Element {
    /// What it is.
    pub kind: ElementKind,
    /// Its name.
    pub name: String,
    /// Where it lies in the store: `images/` and its name, as a rule.
    pub key: String,
}

/// Whether an element may be there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WriteMode {
    /// Write a new element; one that exists is an error.
    Create,
    /// Write an element in the place of one that may exist.
    Replace,
}

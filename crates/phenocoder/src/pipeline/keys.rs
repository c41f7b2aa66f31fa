//! Where a store keeps what the steps need.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The order of the coordinate columns in `obsm`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum CoordinateOrder {
    /// `(y, x)` or `(y, x, z)`: phenocoder's own tables.
    #[default]
    Yxz,
    /// `(x, y)` or `(x, y, z)`: squidpy's convention.
    Xyz,
    /// `(y, x)` or `(z, y, x)`: the order of the image axes.
    Zyx,
}

impl CoordinateOrder {
    /// The columns that hold z (if any), y and x, for this number of columns.
    pub(super) fn columns(self, n: usize) -> Option<Vec<usize>> {
        match (self, n) {
            (Self::Yxz, 2) | (Self::Zyx, 2) => Some(vec![0, 1]),
            (Self::Xyz, 2) => Some(vec![1, 0]),
            (Self::Yxz, 3) => Some(vec![2, 0, 1]),
            (Self::Xyz, 3) => Some(vec![2, 1, 0]),
            (Self::Zyx, 3) => Some(vec![0, 1, 2]),
            _ => None,
        }
    }
}

impl std::str::FromStr for CoordinateOrder {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "yxz" | "yx" => Ok(Self::Yxz),
            "xyz" | "xy" => Ok(Self::Xyz),
            "zyx" => Ok(Self::Zyx),
            _ => Err(format!("`{text}` is not one of yxz, xyz, zyx")),
        }
    }
}

/// Where a store keeps its cells, images and coordinates.
///
/// The image of sample `s` is the element `"{image_key}_{s}"`, its mask `"{labels_key}_{s}"`.
///
/// # Examples
///
/// ```
/// use phenocoder::pipeline::StoreKeys;
///
/// let keys = StoreKeys::new("nuclei_features", "well", "IF").with_labels_key("nuclei");
/// assert_eq!(keys.image_of("A06"), "IF_A06");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct StoreKeys {
    /// The table with one row per cell.
    pub table: String,
    /// The column of `obs` that names each cell's sample.
    pub sample_key: String,
    /// What the names of the images begin with.
    pub image_key: String,
    /// What the names of the masks begin with, if there are masks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels_key: Option<String>,
    /// The entry of `obsm` with coordinates for graphs, in the unit of the radii (default `spatial`).
    #[serde(default = "spatial")]
    pub spatial_key: String,
    /// The entry of `obsm` with pixel coordinates for patches (default `spatial_index`).
    #[serde(default = "spatial_index")]
    pub spatial_index_key: String,
    /// The order of the columns of both.
    #[serde(default)]
    pub order: CoordinateOrder,
}

fn spatial() -> String {
    "spatial".to_owned()
}

fn spatial_index() -> String {
    "spatial_index".to_owned()
}

impl StoreKeys {
    /// The table of cells, its sample column and what image names begin with.
    pub fn new(
        table: impl Into<String>,
        sample_key: impl Into<String>,
        image_key: impl Into<String>,
    ) -> Self {
        Self {
            table: table.into(),
            sample_key: sample_key.into(),
            image_key: image_key.into(),
            labels_key: None,
            spatial_key: spatial(),
            spatial_index_key: spatial_index(),
            order: CoordinateOrder::default(),
        }
    }

    /// Names the masks.
    #[must_use]
    pub fn with_labels_key(mut self, key: impl Into<String>) -> Self {
        self.labels_key = Some(key.into());
        self
    }

    /// Names the coordinates for graphs.
    #[must_use]
    pub fn with_spatial_key(mut self, key: impl Into<String>) -> Self {
        self.spatial_key = key.into();
        self
    }

    /// Names the pixel coordinates.
    #[must_use]
    pub fn with_spatial_index_key(mut self, key: impl Into<String>) -> Self {
        self.spatial_index_key = key.into();
        self
    }

    /// Sets the order of the coordinate columns.
    #[must_use]
    pub fn with_order(mut self, order: CoordinateOrder) -> Self {
        self.order = order;
        self
    }

    /// The name of a sample's image.
    #[must_use]
    pub fn image_of(&self, sample: &str) -> String {
        format!("{}_{sample}", self.image_key)
    }

    /// The name of a sample's mask, if masks are named.
    #[must_use]
    pub fn labels_of(&self, sample: &str) -> Option<String> {
        self.labels_key
            .as_ref()
            .map(|key| format!("{key}_{sample}"))
    }

    /// Checks that no key is empty.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] that names the first empty key.
    pub fn validate(&self) -> Result<()> {
        let keys = [
            (&self.table, "table"),
            (&self.sample_key, "sample_key"),
            (&self.image_key, "image_key"),
            (&self.spatial_key, "spatial_key"),
            (&self.spatial_index_key, "spatial_index_key"),
        ];
        match keys.into_iter().find(|(key, _)| key.is_empty()) {
            Some((_, field)) => Err(Error::config("store keys", field, "a name")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_follow_the_order() {
        assert_eq!(CoordinateOrder::Yxz.columns(3), Some(vec![2, 0, 1]));
        assert_eq!(CoordinateOrder::Xyz.columns(2), Some(vec![1, 0]));
        assert_eq!(CoordinateOrder::Zyx.columns(4), None);
    }

    #[test]
    fn an_empty_key_is_named() {
        let message = StoreKeys::new("t", "", "i")
            .validate()
            .unwrap_err()
            .to_string();
        assert_eq!(message, "store keys: `sample_key` must be a name");
    }

    #[test]
    fn keys_survive_json() {
        let keys = StoreKeys::new("t", "s", "i").with_order(CoordinateOrder::Xyz);
        let text = serde_json::to_string(&keys).unwrap();
        assert_eq!(serde_json::from_str::<StoreKeys>(&text).unwrap(), keys);
        assert!(serde_json::from_str::<StoreKeys>(r#"{"tabel":"x"}"#).is_err());
    }
}

//! A whole table in memory, read or to be written.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::{DataType as ArrowType, Field};
use ndarray::Array2;
use phenocoder_core::{Column, CsrGraph, ShapeError};

use super::arrow_column::{column_field, column_to_arrow, split_dictionary, texts};
use super::frame::batch;
use super::matrix::Matrix;
use super::rules::{check_aligned, check_entry, check_frame, check_shape, check_value};
use super::value::Uns;
use crate::{Error, Result};

/// What the rows of a table describe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annotation {
    /// The labels or shapes elements.
    pub regions: Vec<String>,
    /// The column of `obs` that names the region of each row; it holds categories.
    pub region_key: String,
    /// The column of `obs` that holds the label value or shape index of each row.
    pub instance_key: String,
}

/// The table before variables were selected, AnnData's `raw`.
#[derive(Debug, Clone, PartialEq)]
pub struct RawData {
    /// The names of its variables.
    pub var_names: Vec<String>,
    /// What the index of its variables is called.
    pub var_index_name: Option<String>,
    /// What is known of its variables.
    pub var: RecordBatch,
    /// Its matrix.
    pub x: Option<Matrix>,
    /// Matrices aligned to its variables.
    pub varm: BTreeMap<String, Uns>,
}

/// A table in memory: complete, to be changed and written.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::Column;
/// use phenocoder_io::TableData;
///
/// let names = |prefix: &str| (0..2).map(|i| format!("{prefix}{i}")).collect::<Vec<_>>();
/// let table = TableData::new(names("cell_"), names("latent_"), Some(array![[0.5, 1.0], [2.0, 3.0]].into()))
///     .with_obs_column("area", Column::Float(vec![31.0, 44.0]))?
///     .with_obsm("spatial", array![[1.0, 2.0], [3.0, 4.0]]);
/// table.validate()?;
/// assert_eq!((table.n_obs(), table.n_vars()), (2, 2));
/// # Ok::<(), phenocoder_io::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct TableData {
    /// The names of the rows.
    pub obs_names: Vec<String>,
    /// What the index of the rows is called.
    pub obs_index_name: Option<String>,
    /// What is known of each row.
    pub obs: RecordBatch,
    /// The names of the variables.
    pub var_names: Vec<String>,
    /// What the index of the variables is called.
    pub var_index_name: Option<String>,
    /// What is known of each variable.
    pub var: RecordBatch,
    /// The matrix, `[n_obs, n_vars]`.
    pub x: Option<Matrix>,
    /// Matrices of the same shape; those that cannot be read are not among them, see [`unsupported`](Self::unsupported).
    pub layers: BTreeMap<String, Matrix>,
    /// Entries aligned to the rows: coordinates, embeddings.
    pub obsm: BTreeMap<String, Uns>,
    /// Entries aligned to the variables.
    pub varm: BTreeMap<String, Uns>,
    /// Matrices between rows: graphs.
    pub obsp: BTreeMap<String, Uns>,
    /// Matrices between variables.
    pub varp: BTreeMap<String, Uns>,
    /// Unstructured values.
    pub uns: BTreeMap<String, Uns>,
    /// The table before variables were selected.
    pub raw: Option<RawData>,
    /// What the rows describe.
    pub annotation: Option<Annotation>,
    /// Whether a single region is stored as a list, as it was read.
    pub(crate) lists_region: Form,
    /// The columns that were not read, in their order.
    pub(crate) unread: Vec<UnreadColumn>,
    /// The layers that were not read, and why.
    pub(crate) unread_layers: BTreeMap<String, String>,
}

/// A column of a type that is not read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct UnreadColumn {
    /// The data frame: `obs`, `var` or `raw/var`.
    pub(crate) frame: &'static str,
    pub(crate) name: String,
    /// Its place among all columns.
    pub(crate) at: usize,
    /// Why it was not read.
    pub(crate) reason: String,
}

/// A way of writing that says nothing else: tables that differ in it are equal.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Form(pub(crate) bool);

impl PartialEq for Form {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl TableData {
    /// A table with these names of rows and variables, and a matrix if it has one.
    #[must_use]
    pub fn new(obs_names: Vec<String>, var_names: Vec<String>, x: Option<Matrix>) -> Self {
        let empty = |rows| {
            batch("table", Vec::new(), Vec::new(), rows).expect("no column has a wrong length")
        };
        Self {
            obs: empty(obs_names.len()),
            var: empty(var_names.len()),
            obs_names,
            obs_index_name: None,
            var_names,
            var_index_name: None,
            x,
            layers: BTreeMap::new(),
            obsm: BTreeMap::new(),
            varm: BTreeMap::new(),
            obsp: BTreeMap::new(),
            varp: BTreeMap::new(),
            uns: BTreeMap::new(),
            raw: None,
            annotation: None,
            lists_region: Form::default(),
            unread: Vec::new(),
            unread_layers: BTreeMap::new(),
        }
    }

    /// The number of rows.
    #[must_use]
    pub fn n_obs(&self) -> usize {
        self.obs_names.len()
    }

    /// The number of variables.
    #[must_use]
    pub fn n_vars(&self) -> usize {
        self.var_names.len()
    }

    /// Sets all columns of `obs`.
    #[must_use]
    pub fn with_obs(mut self, obs: RecordBatch) -> Self {
        self.obs = obs;
        self
    }

    /// Adds a column to `obs`, or replaces the one of that name in its place.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] when it has not one value per row.
    pub fn with_obs_column(mut self, name: &str, column: Column) -> Result<Self> {
        self.obs = with_column(&self.obs, name, &column)?;
        Ok(self)
    }

    /// Sets all columns of `var`.
    #[must_use]
    pub fn with_var(mut self, var: RecordBatch) -> Self {
        self.var = var;
        self
    }

    /// Adds a column to `var`, or replaces the one of that name in its place.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] when it has not one value per variable.
    pub fn with_var_column(mut self, name: &str, column: Column) -> Result<Self> {
        self.var = with_column(&self.var, name, &column)?;
        Ok(self)
    }

    /// Adds or replaces a matrix of the shape of the table.
    #[must_use]
    pub fn with_layer(mut self, name: impl Into<String>, matrix: impl Into<Matrix>) -> Self {
        self.layers.insert(name.into(), matrix.into());
        self
    }

    /// Adds or replaces a matrix `[n_obs, p]`; its type is kept.
    #[must_use]
    pub fn with_obsm(mut self, name: impl Into<String>, matrix: impl Into<Uns>) -> Self {
        self.obsm.insert(name.into(), matrix.into());
        self
    }

    /// Adds or replaces a graph between the rows.
    #[must_use]
    pub fn with_obsp(mut self, name: impl Into<String>, graph: &CsrGraph) -> Self {
        self.obsp.insert(name.into(), graph.into());
        self
    }

    /// Adds or replaces an unstructured value.
    #[must_use]
    pub fn with_uns(mut self, name: impl Into<String>, value: impl Into<Uns>) -> Self {
        self.uns.insert(name.into(), value.into());
        self
    }

    /// Says what the rows describe.
    #[must_use]
    pub fn with_annotation(mut self, annotation: Annotation) -> Self {
        self.annotation = Some(annotation);
        self.lists_region = Form::default();
        self
    }

    /// A matrix aligned to the rows as 64-bit floats; `None` when there is none of this name or it is no matrix.
    #[must_use]
    pub fn obsm_matrix(&self, name: &str) -> Option<Array2<f64>> {
        self.obsm.get(name)?.to_matrix()?.to_dense_f64().ok()
    }

    /// Takes out every entry, layer and column that could not be read, so that the rest can be written elsewhere.
    ///
    /// Returns what [`unsupported`](Self::unsupported) does.
    pub fn take_unsupported(&mut self) -> Vec<(String, String)> {
        fn take(entries: &mut BTreeMap<String, Uns>) {
            entries.retain(|_, value| !matches!(value, Uns::Unsupported(_)));
            for value in entries.values_mut() {
                if let Uns::Dict(entries) = value {
                    take(entries);
                }
            }
        }
        let found = self.unsupported();
        let groups = [
            &mut self.obsm,
            &mut self.varm,
            &mut self.obsp,
            &mut self.varp,
            &mut self.uns,
        ];
        let raw = self.raw.as_mut().map(|raw| &mut raw.varm);
        for entries in groups.into_iter().chain(raw) {
            take(entries);
        }
        self.unread.clear();
        self.unread_layers.clear();
        found
    }

    /// The columns of a data frame that were not read, unless they were replaced since.
    pub(crate) fn unread<'a>(&'a self, frame: &'a str) -> impl Iterator<Item = &'a UnreadColumn> {
        let columns = match frame {
            "obs" => Some(&self.obs),
            "var" => Some(&self.var),
            _ => self.raw.as_ref().map(|raw| &raw.var),
        };
        let is_free = move |name: &str| columns.is_some_and(|c| c.column_by_name(name).is_none());
        let unread = self.unread.iter().filter(move |c| c.frame == frame);
        unread.filter(move |column| is_free(&column.name))
    }

    /// The paths of the columns, layers and entries that could not be read, and why: `obs/signal`, `layers/spliced`,
    /// `uns/rank_genes_groups/names`, in this order.
    ///
    /// They are copied from the old table when that is replaced.
    #[must_use]
    pub fn unsupported(&self) -> Vec<(String, String)> {
        fn collect(
            group: &str,
            entries: &BTreeMap<String, Uns>,
            found: &mut Vec<(String, String)>,
        ) {
            for (name, value) in entries {
                let place = format!("{group}/{name}");
                match value {
                    Uns::Unsupported(reason) => found.push((place, reason.clone())),
                    Uns::Dict(entries) => collect(&place, entries, found),
                    _ => {}
                }
            }
        }
        let frames = ["obs", "var", "raw/var"].into_iter();
        let columns = frames.flat_map(|frame| self.unread(frame));
        let mut found: Vec<(String, String)> = columns
            .map(|column| {
                let place = format!("{}/{}", column.frame, column.name);
                (place, column.reason.clone())
            })
            .collect();
        // One that was replaced since is no longer missed.
        let layers = self.unread_layers.iter();
        let layers = layers.filter(|(name, _)| !self.layers.contains_key(*name));
        found.extend(layers.map(|(name, reason)| (format!("layers/{name}"), reason.clone())));
        let raw = self.raw.as_ref().map(|raw| ("raw/varm", &raw.varm));
        let groups = [
            ("obsm", &self.obsm),
            ("varm", &self.varm),
            ("obsp", &self.obsp),
            ("varp", &self.varp),
            ("uns", &self.uns),
        ];
        for (group, entries) in groups.into_iter().chain(raw) {
            collect(group, entries, &mut found);
        }
        found
    }

    /// Checks what a table must keep to be written: lengths and shapes, the names of columns and entries that SpatialData
    /// allows, and the annotation.
    ///
    /// Columns of a [`Frame`](crate::Frame) among the entries may have names that those of `obs` and `var` may not, see
    /// there; [`TextArray`](crate::TextArray) has one text for every place.
    ///
    /// Names of rows and variables may occur twice, as in AnnData, which warns of it; so does
    /// [`validate`](crate::validate()). What the index is called may be any name of a file that does not begin with a point.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidTable`] or [`Error::InvalidName`] that name the entry.
    #[doc(alias = "TableModel")]
    pub fn validate(&self) -> Result<()> {
        let (n, p) = (self.n_obs(), self.n_vars());
        let index = self.obs_index_name.as_deref();
        check_frame("obs", &self.obs, index, self.unread("obs"), n)?;
        let index = self.var_index_name.as_deref();
        check_frame("var", &self.var, index, self.unread("var"), p)?;
        if let Some(x) = &self.x {
            check_shape("X", x.shape(), (n, p))?;
        }
        for (name, layer) in &self.layers {
            check_entry("layers", name)?;
            check_shape(&format!("layers/{name}"), layer.shape(), (n, p))?;
        }
        let groups = [
            ("obsm", &self.obsm, n, false),
            ("varm", &self.varm, p, false),
            ("obsp", &self.obsp, n, true),
            ("varp", &self.varp, p, true),
        ];
        for (group, entries, rows, square) in groups {
            for (name, entry) in entries {
                check_entry(group, name)?;
                check_aligned(&format!("{group}/{name}"), entry, rows, square)?;
            }
        }
        for (name, value) in &self.uns {
            check_value("uns", name, value)?;
        }
        if self.uns.contains_key("spatialdata_attrs") {
            let problem = "it is written from the annotation";
            return Err(Error::table("uns/spatialdata_attrs", problem));
        }
        if let Some(raw) = &self.raw {
            let p = raw.var_names.len();
            let index = raw.var_index_name.as_deref();
            check_frame("raw/var", &raw.var, index, self.unread("raw/var"), p)?;
            if let Some(x) = &raw.x {
                check_shape("raw/X", x.shape(), (n, p))?;
            }
            for (name, entry) in &raw.varm {
                check_entry("raw/varm", name)?;
                check_aligned(&format!("raw/varm/{name}"), entry, p, false)?;
            }
        }
        self.check_annotation()
    }

    /// The region column must hold categories, and its values must be the regions.
    pub(crate) fn check_annotation(&self) -> Result<()> {
        let Some(annotation) = &self.annotation else {
            return Ok(());
        };
        let column = |key: &str| -> Result<&ArrayRef> {
            let place = self.obs.schema_ref().index_of(key);
            place.map(|place| self.obs.column(place)).map_err(|_| {
                Error::table(
                    format!("obs/{key}"),
                    "the annotation names it and it is not there",
                )
            })
        };
        column(&annotation.instance_key)?;
        let key = &annotation.region_key;
        let regions = column(key)?;
        if !matches!(regions.data_type(), ArrowType::Dictionary(_, _)) {
            let problem = "the column of regions must hold categories";
            return Err(Error::table(format!("obs/{key}"), problem));
        }
        let (codes, categories) = split_dictionary(key, regions)?;
        let categories = texts(key, &categories)?;
        let used: BTreeSet<&str> = codes
            .iter()
            .flatten()
            .filter_map(|&code| categories.get(usize::try_from(code).ok()?)?.as_deref())
            .collect();
        let named: BTreeSet<&str> = annotation.regions.iter().map(String::as_str).collect();
        if used != named {
            let list = |names: &BTreeSet<&str>| crate::error::listing(names);
            let problem = format!(
                "its values ({}) are not the annotated regions ({})",
                list(&used),
                list(&named)
            );
            return Err(Error::table(format!("obs/{key}"), problem));
        }
        Ok(())
    }
}

fn with_column(old: &RecordBatch, name: &str, column: &Column) -> Result<RecordBatch> {
    ShapeError::check_len(name, old.num_rows(), column.len())?;
    let array = column_to_arrow(name, column)?;
    let field = column_field(name, column, &array);
    let mut fields: Vec<Field> = old
        .schema_ref()
        .fields()
        .iter()
        .map(|field| field.as_ref().clone())
        .collect();
    let mut arrays = old.columns().to_vec();
    match fields.iter().position(|f| f.name() == name) {
        Some(place) => {
            fields[place] = field;
            arrays[place] = array;
        }
        None => {
            fields.push(field);
            arrays.push(array);
        }
    }
    batch(name, fields, arrays, old.num_rows())
}

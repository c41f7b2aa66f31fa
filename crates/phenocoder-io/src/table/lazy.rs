//! A stored table of which parts are read on demand.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use ndarray::Array2;
use phenocoder_core::{Column, CsrGraph};
use serde_json::Value;

use super::data::{Annotation, Form, RawData, TableData, UnreadColumn};
use super::frame::LazyFrame;
use super::graph;
use super::info::{ColumnInfo, MatrixInfo};
use super::matrix::Matrix;
use super::rows::StoredMatrix;
use super::value::{self, Context, Uns};
use super::{arrow_column, column_from_arrow};
use crate::node::Node;
use crate::path::{self, child};
use crate::root::Root;
use crate::{Error, Result};

/// A table of a store: names and shapes are known, columns and matrices are read on demand.
///
/// Whatever is read counts for [`max_array_bytes`](crate::OpenOptions::max_array_bytes), array by array; more is
/// [`Error::TooLarge`].
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::Column;
/// use phenocoder_io::{ContainerVersion, Store, TableData, WriteMode};
///
/// let folder = tempfile::tempdir()?;
/// let mut store = Store::create(folder.path().join("s.zarr"), ContainerVersion::V02)?;
/// let x = array![[0.5, 1.0], [2.0, 3.0]];
/// let cells = TableData::new(vec!["a".into(), "b".into()], vec!["u".into(), "v".into()], Some(x.into()))
///     .with_obs_column("area", Column::Float(vec![31.0, 44.0]))?;
/// store.write_table("cells", &cells, WriteMode::Create)?;
///
/// let table = store.table("cells")?;
/// assert_eq!(table.obs_columns(), ["area"]);
/// assert_eq!(table.obs_column("area")?, Column::Float(vec![31.0, 44.0]));
/// let row = table.x_rows(1..2)?.ok_or("no matrix")?;
/// assert_eq!(row.to_dense_f64()?, array![[2.0, 3.0]]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[doc(alias = "AnnData")]
pub struct Table {
    context: Context,
    key: String,
    obs: LazyFrame,
    var: LazyFrame,
    annotation: Option<Annotation>,
    /// Whether its regions are stored as a list, be it of one.
    lists_region: bool,
}

impl Table {
    pub(crate) fn open(root: &Arc<Root>, node: &Node) -> Result<Self> {
        let key = node.key.clone();
        match node.text("encoding-type") {
            None | Some("anndata") if node.is_group() => {}
            other => {
                return Err(Error::UnsupportedEncoding {
                    key,
                    encoding: other.unwrap_or("none").to_owned(),
                });
            }
        }
        match node.attributes.get("version") {
            None => {}
            Some(Value::String(version)) if matches!(version.as_str(), "0.1" | "0.2") => {}
            Some(other) => {
                return Err(Error::UnsupportedVersion {
                    key,
                    found: other.to_string(),
                    supported: "tables 0.1 and 0.2",
                });
            }
        }
        let context = Context {
            root: Arc::clone(root),
            format: node.format,
        };
        let frame = |name: &str| {
            let node = Node::open(root, &child(&key, name), node.format)?;
            LazyFrame::open(&context, node)
        };
        let (obs, var) = (frame("obs")?, frame("var")?);
        let mut table = Self {
            context,
            key,
            obs,
            var,
            annotation: None,
            lists_region: false,
        };
        if let Some((annotation, lists_region)) = table.read_annotation()? {
            table.annotation = Some(annotation);
            table.lists_region = lists_region;
        }
        Ok(table)
    }

    /// The number of rows.
    #[must_use]
    pub fn n_obs(&self) -> usize {
        self.obs.n_rows() as usize
    }

    /// The number of variables.
    #[must_use]
    pub fn n_vars(&self) -> usize {
        self.var.n_rows() as usize
    }

    /// The names of the rows.
    ///
    /// # Errors
    ///
    /// Errors that name the node when it is damaged; so for all that follows.
    pub fn obs_names(&self) -> Result<Vec<String>> {
        self.obs.read_names(&self.context)
    }

    /// The names of the variables.
    ///
    /// # Errors
    ///
    /// As [`obs_names`](Self::obs_names).
    pub fn var_names(&self) -> Result<Vec<String>> {
        self.var.read_names(&self.context)
    }

    /// The names of the columns of `obs`, in their order.
    #[must_use]
    pub fn obs_columns(&self) -> &[String] {
        self.obs.names()
    }

    /// The names of the columns of `var`, in their order.
    #[must_use]
    pub fn var_columns(&self) -> &[String] {
        self.var.names()
    }

    /// What is known of the columns of `obs` before they are read, in their order.
    ///
    /// # Errors
    ///
    /// Errors of damaged metadata.
    pub fn obs_info(&self) -> Result<Vec<ColumnInfo>> {
        self.obs.info(&self.context)
    }

    /// What is known of the columns of `var` before they are read, in their order.
    ///
    /// # Errors
    ///
    /// Errors of damaged metadata.
    pub fn var_info(&self) -> Result<Vec<ColumnInfo>> {
        self.var.info(&self.context)
    }

    /// Reads columns of `obs`, in the order asked for.
    ///
    /// # Errors
    ///
    /// [`Error::NoEntry`] for a column that is not there, and errors of damaged data.
    pub fn obs(&self, columns: &[&str]) -> Result<RecordBatch> {
        self.obs.read_named(columns, &self.context)
    }

    /// Reads all columns of `obs`.
    ///
    /// # Errors
    ///
    /// Errors of damaged data.
    pub fn obs_all(&self) -> Result<RecordBatch> {
        self.obs.read_all(&self.context)
    }

    /// Reads columns of `var`, in the order asked for.
    ///
    /// # Errors
    ///
    /// As [`obs`](Self::obs).
    pub fn var(&self, columns: &[&str]) -> Result<RecordBatch> {
        self.var.read_named(columns, &self.context)
    }

    /// Reads all columns of `var`.
    ///
    /// # Errors
    ///
    /// Errors of damaged data.
    pub fn var_all(&self) -> Result<RecordBatch> {
        self.var.read_all(&self.context)
    }

    /// Reads one column of `obs`.
    ///
    /// # Errors
    ///
    /// As [`obs`](Self::obs).
    pub fn obs_column(&self, name: &str) -> Result<Column> {
        let batch = self.obs(&[name])?;
        let column = column_from_arrow(name, batch.column(0))?;
        let ordered = batch
            .schema_ref()
            .field(0)
            .metadata()
            .contains_key(arrow_column::ORDERED);
        Ok(match column {
            Column::Categorical(c) => Column::Categorical(c.with_ordered(ordered)),
            other => other,
        })
    }

    /// Reads the matrix; `None` where the table has none.
    ///
    /// # Shapes
    ///
    /// `[n_obs, n_vars]`.
    ///
    /// # Errors
    ///
    /// [`Error::LengthMismatch`] when it has another shape than the table, and errors of damaged data.
    #[doc(alias = "X")]
    pub fn x(&self) -> Result<Option<Matrix>> {
        self.stored_x()?.map(|x| x.read()).transpose()
    }

    /// Reads some rows of the matrix; `None` where the table has none.
    ///
    /// Only the chunks that hold them are read, unless the matrix is compressed by columns:
    /// then all of it is looked through, with a bounded part of it in memory.
    ///
    /// # Shapes
    ///
    /// `[rows.len(), n_vars]`.
    ///
    /// # Errors
    ///
    /// As [`x`](Self::x), and [`Error::InvalidMetadata`] for rows that the table does not have.
    pub fn x_rows(&self, rows: Range<usize>) -> Result<Option<Matrix>> {
        self.stored_x()?.map(|x| x.read_rows(&rows)).transpose()
    }

    /// What is known of the matrix before it is read; `None` where the table has none.
    ///
    /// # Errors
    ///
    /// As [`x`](Self::x), for its metadata.
    pub fn x_info(&self) -> Result<Option<MatrixInfo>> {
        self.stored_x()?.map(|x| x.info()).transpose()
    }

    /// What is known of a layer before it is read.
    ///
    /// # Errors
    ///
    /// As [`layer`](Self::layer), for its metadata.
    pub fn layer_info(&self, name: &str) -> Result<MatrixInfo> {
        self.stored(self.entry("layers", "layer", name)?)?.info()
    }

    /// The matrix and its shape, checked against the table; `None` where the table has none.
    fn stored_x(&self) -> Result<Option<StoredMatrix>> {
        let Some(node) = self.find("X")? else {
            return Ok(None);
        };
        if node.text("encoding-type") == Some("null") {
            return Ok(None);
        }
        self.stored(node).map(Some)
    }

    fn stored(&self, node: Node) -> Result<StoredMatrix> {
        let matrix = StoredMatrix::open(&self.context, node)?;
        let (n, p) = matrix.shape();
        let found = (n as usize, p as usize);
        self.check_shape(matrix.key(), found, (self.n_obs(), self.n_vars()))?;
        Ok(matrix)
    }

    /// The names of the layers.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the folder cannot be listed.
    pub fn layers(&self) -> Result<Vec<String>> {
        self.keys("layers")
    }

    /// Reads a layer.
    ///
    /// # Shapes
    ///
    /// `[n_obs, n_vars]`.
    ///
    /// # Errors
    ///
    /// [`Error::NoEntry`], and as [`x`](Self::x).
    pub fn layer(&self, name: &str) -> Result<Matrix> {
        self.stored(self.entry("layers", "layer", name)?)?.read()
    }

    /// Reads some rows of a layer, as [`x_rows`](Self::x_rows).
    ///
    /// # Shapes
    ///
    /// `[rows.len(), n_vars]`.
    ///
    /// # Errors
    ///
    /// As [`layer`](Self::layer), and [`Error::InvalidMetadata`] for rows that the table does not have.
    pub fn layer_rows(&self, name: &str, rows: Range<usize>) -> Result<Matrix> {
        let node = self.entry("layers", "layer", name)?;
        self.stored(node)?.read_rows(&rows)
    }

    /// The names of the matrices aligned to the rows.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the folder cannot be listed.
    pub fn obsm_keys(&self) -> Result<Vec<String>> {
        self.keys("obsm")
    }

    /// Reads a matrix aligned to the rows: latents, coordinates.
    ///
    /// # Shapes
    ///
    /// `[n_obs, p]`.
    ///
    /// # Errors
    ///
    /// [`Error::NoEntry`], [`Error::LengthMismatch`], [`Error::DataType`] when the entry is no matrix of numbers,
    /// [`Error::TooLarge`] also when it is sparse or of a shorter type and the result is too large, and errors of damaged
    /// data.
    pub fn obsm(&self, name: &str) -> Result<Array2<f64>> {
        let node = self.entry("obsm", "obsm entry", name)?;
        let key = node.key.clone();
        let value = value::read(&self.context, node, 0)?;
        let shape = match &value {
            Uns::Frame(frame) => Some((frame.columns.num_rows(), frame.columns.num_columns())),
            other => other.matrix_shape(),
        };
        let no_matrix = || Error::DataType {
            key: key.clone(),
            expected: "a matrix of numbers",
            found: "something else".to_owned(),
        };
        let (n, p) = shape.ok_or_else(no_matrix)?;
        self.check_rows(&key, n)?;
        let limit = self.context.root.options.max_array_bytes;
        let found = n as u128 * p as u128 * 8;
        Error::check_size(&key, "a matrix of 64-bit floats with bytes", found, limit)?;
        let matrix = match &value {
            Uns::Frame(frame) => frame_matrix(frame),
            other => other.to_matrix(),
        };
        matrix.ok_or_else(no_matrix)?.to_dense_f64()
    }

    /// Reads some rows of a matrix aligned to the rows, as [`x_rows`](Self::x_rows).
    ///
    /// # Shapes
    ///
    /// `[rows.len(), p]`.
    ///
    /// # Errors
    ///
    /// [`Error::NoEntry`], [`Error::LengthMismatch`], [`Error::UnsupportedEncoding`] for a data frame, which
    /// [`obsm`](Self::obsm) reads as a whole, and texts, [`Error::InvalidMetadata`] for rows that the table does not have and
    /// an array of three axes, and errors of damaged data.
    pub fn obsm_rows(&self, name: &str, rows: Range<usize>) -> Result<Matrix> {
        self.stored_obsm(name)?.read_rows(&rows)
    }

    /// What is known of a matrix aligned to the rows before it is read.
    ///
    /// # Errors
    ///
    /// As [`obsm_rows`](Self::obsm_rows), for its metadata.
    pub fn obsm_info(&self, name: &str) -> Result<MatrixInfo> {
        self.stored_obsm(name)?.info()
    }

    fn stored_obsm(&self, name: &str) -> Result<StoredMatrix> {
        let node = self.entry("obsm", "obsm entry", name)?;
        let matrix = StoredMatrix::open(&self.context, node)?;
        self.check_rows(matrix.key(), matrix.shape().0 as usize)?;
        Ok(matrix)
    }

    /// The names of the graphs between rows.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the folder cannot be listed.
    pub fn obsp_keys(&self) -> Result<Vec<String>> {
        self.keys("obsp")
    }

    /// The names of the matrices aligned to the variables.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the folder cannot be listed.
    pub fn varm_keys(&self) -> Result<Vec<String>> {
        self.keys("varm")
    }

    /// The names of the matrices between variables.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the folder cannot be listed.
    pub fn varp_keys(&self) -> Result<Vec<String>> {
        self.keys("varp")
    }

    /// The names of the unstructured values.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the folder cannot be listed.
    pub fn uns_keys(&self) -> Result<Vec<String>> {
        let mut keys = self.keys("uns")?;
        keys.retain(|key| key != "spatialdata_attrs");
        Ok(keys)
    }

    /// Whether the table before variables were selected is stored with it.
    ///
    /// # Errors
    ///
    /// Errors of damaged metadata.
    pub fn has_raw(&self) -> Result<bool> {
        Ok(self.find("raw")?.is_some_and(|node| node.is_group()))
    }

    /// Reads a graph between rows: a node for each, an edge for each stored value.
    ///
    /// # Errors
    ///
    /// [`Error::NoEntry`], [`Error::LengthMismatch`], [`Error::TooLarge`] also for a dense matrix that is too large as
    /// 64-bit floats, and errors of damaged data.
    pub fn obsp(&self, name: &str) -> Result<CsrGraph> {
        let node = self.entry("obsp", "obsp entry", name)?;
        let key = node.key.clone();
        let matrix = StoredMatrix::open(&self.context, node)?.read()?;
        self.check_shape(&key, matrix.shape(), (self.n_obs(), self.n_obs()))?;
        graph::from_matrix(&key, &matrix, self.context.root.options.max_array_bytes)
    }

    /// Reads the unstructured part, without the annotation, which [`annotation`](Self::annotation) returns.
    ///
    /// An entry that cannot be read is [`Uns::Unsupported`] with the reason; the others are not affected.
    ///
    /// # Errors
    ///
    /// Errors of the file system.
    pub fn uns(&self) -> Result<BTreeMap<String, Uns>> {
        let mut entries = self.dict("uns")?;
        entries.remove("spatialdata_attrs");
        Ok(entries)
    }

    /// What the rows describe: regions of labels or shapes, and which object of them.
    #[must_use]
    pub fn annotation(&self) -> Option<&Annotation> {
        self.annotation.as_ref()
    }

    /// Reads everything that can be read.
    ///
    /// Columns of a type that is not read, such as complex numbers, and layers that cannot be read are left out, and
    /// [`unsupported`](TableData::unsupported) names them; like entries that cannot be read they stay in the store when
    /// the table is replaced. [`obs_all`](Self::obs_all) refuses such columns, and [`layer`](Self::layer) says with which
    /// error a layer fails.
    ///
    /// # Errors
    ///
    /// Errors of damaged data in `obs`, `var` and `X`; other damaged entries become [`Uns::Unsupported`].
    pub fn read_all(&self) -> Result<TableData> {
        let (obs, mut unread) = self.obs.read_known(&self.context, "obs")?;
        let (var, of_var) = self.var.read_known(&self.context, "var")?;
        let (raw, of_raw) = self.raw()?.unzip();
        unread.extend(of_var);
        unread.extend(of_raw.into_iter().flatten());
        let (mut layers, mut unread_layers) = (BTreeMap::new(), BTreeMap::new());
        for name in self.layers()? {
            match self.layer(&name) {
                Ok(layer) => _ = layers.insert(name, layer),
                Err(error) if error.is_environment() => return Err(error),
                Err(error) => {
                    unread_layers.insert(name, crate::array::with_causes(&error));
                }
            }
        }
        let data = TableData {
            obs_names: self.obs_names()?,
            obs_index_name: self.obs.index_name(),
            obs,
            var_names: self.var_names()?,
            var_index_name: self.var.index_name(),
            var,
            x: self.x()?,
            layers,
            obsm: self.aligned("obsm")?,
            varm: self.aligned("varm")?,
            obsp: self.aligned("obsp")?,
            varp: self.aligned("varp")?,
            uns: self.uns()?,
            raw,
            annotation: self.annotation.clone(),
            lists_region: Form(self.lists_region),
            unread,
            unread_layers,
        };
        data.check_annotation().map_err(|error| match error {
            Error::InvalidTable { place, problem } => {
                Error::table(child(&self.key, &place), problem)
            }
            other => other,
        })?;
        Ok(data)
    }

    /// The names of the variables of `raw`, where it is stored.
    pub(crate) fn raw_var_names(&self) -> Result<Option<Vec<String>>> {
        let var = self.raw_var()?;
        var.map(|var| var.read_names(&self.context)).transpose()
    }

    fn raw_var(&self) -> Result<Option<LazyFrame>> {
        let Some(node) = self.find("raw")?.filter(Node::is_group) else {
            return Ok(None);
        };
        let var = self.find("raw/var")?;
        let var = var.ok_or_else(|| Error::missing(&node.key, "the group `var`"))?;
        LazyFrame::open(&self.context, var).map(Some)
    }

    /// The table before variables were selected, and the columns of it that are not read.
    fn raw(&self) -> Result<Option<(RawData, Vec<UnreadColumn>)>> {
        let Some(var) = self.raw_var()? else {
            return Ok(None);
        };
        let open = |name: &str| self.find(&child("raw", name));
        let x = open("X")?
            .filter(|node| node.text("encoding-type") != Some("null"))
            .map(|node| StoredMatrix::open(&self.context, node)?.read())
            .transpose()?;
        let varm = match open("varm")? {
            Some(node) => value::read_dict(&self.context, &node, 0)?,
            None => BTreeMap::new(),
        };
        let (columns, unread) = var.read_known(&self.context, "raw/var")?;
        let raw = RawData {
            var_names: var.read_names(&self.context)?,
            var_index_name: var.index_name(),
            var: columns,
            x,
            varm,
        };
        Ok(Some((raw, unread)))
    }

    fn aligned(&self, group: &str) -> Result<BTreeMap<String, Uns>> {
        let mut entries = self.dict(group)?;
        for (name, entry) in &mut entries {
            let key = child(&child(&self.key, group), name);
            if let Err(error) = self.check_aligned(group, &key, entry) {
                *entry = Uns::Unsupported(crate::array::with_causes(&error));
            }
        }
        Ok(entries)
    }

    /// Checks an entry's lengths against the table's.
    fn check_aligned(&self, group: &str, key: &str, entry: &Uns) -> Result<()> {
        let (n, p) = (self.n_obs(), self.n_vars());
        let (rows, columns) = match group {
            "layers" => (n, Some(p)),
            "obsm" => (n, None),
            "obsp" => (n, Some(n)),
            "varm" => (p, None),
            "varp" => (p, Some(p)),
            _ => return Ok(()),
        };
        // Without a rule for columns, or without columns, there is nothing to compare.
        let found_columns = columns.and(entry.n_columns()).or(columns);
        let found = (entry.n_rows().unwrap_or(rows), found_columns.unwrap_or(0));
        self.check_shape(key, found, (rows, columns.unwrap_or(0)))
    }

    /// Reads one entry of `layers`, `obsm`, `varm`, `obsp`, `varp` or `uns` by its path, such as `uns/pca/params`.
    ///
    /// For an entry that [`read_all`](Self::read_all) gives as [`Uns::Unsupported`], or a layer that it leaves out, this is
    /// the error with its type.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidPath`], [`Error::MissingMetadata`], [`Error::LengthMismatch`] when it does not fit to the table,
    /// [`Error::UnsupportedEncoding`], and errors of damaged data.
    pub fn read_entry(&self, entry: &str) -> Result<Uns> {
        let key = path::join(&self.key, entry)?;
        let node = Node::open(&self.context.root, &key, self.context.format)?;
        let value = value::read(&self.context, node, 0)?;
        if let Some((group, name)) = entry.split_once('/')
            && !name.contains('/')
        {
            self.check_aligned(group, &key, &value)?;
        }
        Ok(value)
    }

    fn dict(&self, group: &str) -> Result<BTreeMap<String, Uns>> {
        match self.find(group)? {
            Some(node) if node.is_group() => value::read_dict(&self.context, &node, 0),
            _ => Ok(BTreeMap::new()),
        }
    }

    fn keys(&self, group: &str) -> Result<Vec<String>> {
        value::keys(&self.context, &child(&self.key, group))
    }

    fn find(&self, name: &str) -> Result<Option<Node>> {
        Node::find(
            &self.context.root,
            &child(&self.key, name),
            self.context.format,
        )
    }

    fn entry(&self, group: &str, what: &'static str, name: &str) -> Result<Node> {
        let keys = self.keys(group)?;
        if !keys.iter().any(|key| key == name) {
            return Err(Error::NoEntry {
                key: self.key.clone(),
                what,
                name: name.to_owned(),
                available: crate::error::listing(&keys),
            });
        }
        let key = child(&child(&self.key, group), name);
        Node::open(&self.context.root, &key, self.context.format)
    }

    fn check_rows(&self, key: &str, found: usize) -> Result<()> {
        if found == self.n_obs() {
            return Ok(());
        }
        Err(Error::LengthMismatch {
            key: key.to_owned(),
            expected: self.n_obs() as u64,
            found: found as u64,
        })
    }

    fn check_shape(
        &self,
        key: &str,
        found: (usize, usize),
        expected: (usize, usize),
    ) -> Result<()> {
        let wrong = [(expected.0, found.0), (expected.1, found.1)]
            .into_iter()
            .find(|(expected, found)| expected != found);
        match wrong {
            None => Ok(()),
            Some((expected, found)) => Err(Error::LengthMismatch {
                key: key.to_owned(),
                expected: expected as u64,
                found: found as u64,
            }),
        }
    }

    /// The annotation, and whether its regions are a list.
    fn read_annotation(&self) -> Result<Option<(Annotation, bool)>> {
        let key = child(&self.key, "uns/spatialdata_attrs");
        let Some(node) = Node::find(&self.context.root, &key, self.context.format)? else {
            return Ok(None);
        };
        let attrs = Uns::Dict(value::read_dict(&self.context, &node, 0)?);
        let (regions, is_list) = match attrs.get("region") {
            None | Some(Uns::Null) => return Ok(None),
            Some(Uns::Text(region)) => (vec![region.clone()], false),
            Some(Uns::Texts(regions)) => (regions.values.clone(), true),
            Some(Uns::Column { values, .. }) => {
                let regions = arrow_column::texts(&key, values)?;
                (regions.into_iter().flatten().collect(), true)
            }
            Some(_) => return Err(Error::invalid(key, "`region` as text", "something else")),
        };
        let text = |name: &str| {
            let value = attrs.get(name).and_then(Uns::as_text).map(str::to_owned);
            value.ok_or_else(|| Error::missing(&key, format!("`{name}` as text")))
        };
        let annotation = Annotation {
            regions,
            region_key: text("region_key")?,
            instance_key: text("instance_key")?,
        };
        Ok(Some((annotation, is_list)))
    }
}

/// The numbers of a data frame, one column each; NaN where one is missing.
fn frame_matrix(frame: &super::Frame) -> Option<Matrix> {
    let batch = &frame.columns;
    let mut matrix = Array2::zeros((batch.num_rows(), batch.num_columns()));
    for (place, column) in batch.columns().iter().enumerate() {
        let values = arrow_column::floats(column)?;
        matrix
            .column_mut(place)
            .iter_mut()
            .zip(&values)
            .for_each(|(to, from)| *to = from.unwrap_or(f64::NAN));
    }
    Some(Matrix::Dense(matrix))
}

//! Which cells of a library look most like a cell or a patch.

use std::ops::Range;
use std::path::Path;

use ndarray::{Array2, ArrayView2};
use phenocoder_core::{Cancelled, Categorical, Progress, ShapeError, WithinStage};
use phenocoder_embed::Error as EmbedError;
use phenocoder_embed::knn::{Metric, NeighborSearch, Neighbors};
use phenocoder_io::{Matrix, Store, Table};

use super::encode::{Encoder, Origin, RawPatches};
use super::source;
use crate::error::{Error, Result};

const STEP: &str = "search";
/// Rows of the library that are in memory at once.
const BLOCK: usize = 65_536;

/// The cells of one or many tables on disk, among which those that look most like others are found.
///
/// What is looked for are points in the space of latents: cells of the library
/// ([`nearest_to_cells`](Self::nearest_to_cells)), patches of an image ([`nearest_to_patches`](Self::nearest_to_patches)),
/// or latents from elsewhere ([`nearest`](Self::nearest)).
/// The search is exact, and of equally near cells the first comes first: tables in the order in which they were added,
/// rows in that of the table.
/// A library of one table gives the rows and, to the bit, the distances of
/// [`nearest_neighbors`](crate::embed::knn::nearest_neighbors).
///
/// The tables are read in blocks of 65,536 rows, so that memory grows with the block and the queries times `k` and not with
/// the library; at the end the names and samples of the rows of one table at a time are read.
/// Matrices that are compressed by columns are looked through once for every block.
/// Cost: `O(m n p)` for `m` queries, `n` cells and `p` latents, and one reading of the library, whatever `m`: ask for many
/// cells at once.
/// Many queries among rows that fit into memory are answered faster, and approximately, by
/// [`knn::HnswIndex`](crate::embed::knn).
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder::core::NoProgress;
/// use phenocoder::embed::knn::Metric;
/// use phenocoder::io::{ContainerVersion, Store, TableData, WriteMode};
/// use phenocoder::pipeline::CellLibrary;
///
/// let folder = tempfile::tempdir()?;
/// let mut store = Store::create(folder.path().join("s.zarr"), ContainerVersion::V02)?;
/// let cells = ["a", "b", "c"].map(str::to_owned).to_vec();
/// let latents = array![[0.0], [5.0], [1.0]];
/// let table = TableData::new(cells, vec!["phc_latent_1".to_owned()], Some(latents.into()));
/// store.write_table("phenocoder", &table, WriteMode::Create)?;
///
/// let library = CellLibrary::open(&store, "phenocoder", None)?;
/// let hits = library.nearest_to_cells(&[0], 2, Metric::Euclidean, &NoProgress)?;
/// let found: Vec<(&str, f64)> = hits[0].iter().map(|hit| (hit.cell.as_str(), hit.distance)).collect();
/// assert_eq!(found, [("c", 1.0), ("b", 5.0)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias("retrieval", "nearest_neighbors"))]
#[derive(Debug, Clone)]
pub struct CellLibrary {
    parts: Vec<Part>,
    n_latents: usize,
    /// The weights that made the latents, where a table says so.
    model: Option<String>,
}

/// A cell of a library that is near to what was looked for.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Hit {
    /// The number of its table, from 0, in the order in which the library got them.
    pub table: usize,
    /// Its row in that table.
    pub row: usize,
    /// Its row in the library, where the rows of the tables follow each other.
    pub index: usize,
    /// Its name in that table.
    pub cell: String,
    /// Its sample, in tables that [`encode`](super::encode()) wrote.
    pub sample: Option<String>,
    /// How far it is from what was looked for.
    pub distance: f64,
}

/// One table of a library.
#[derive(Debug, Clone)]
struct Part {
    table: Table,
    layer: Option<String>,
    /// Table and store, for messages.
    name: String,
    sample_key: Option<String>,
    /// Its first row in the library.
    first: usize,
    rows: usize,
}

impl CellLibrary {
    /// The cells of a table, by its `X` or one of its layers.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when table or layer is not there (those that are, are listed), [`Error::Data`] when the table has no
    /// `X` or no columns.
    pub fn open(store: &Store, table: &str, layer: Option<&str>) -> Result<Self> {
        let library = Self {
            parts: Vec::new(),
            n_latents: 0,
            model: None,
        };
        library.with_table(store, table, layer)
    }

    /// Adds the cells of another table, of the same store or another one.
    ///
    /// Latents of different models cannot be compared.
    /// Tables that [`encode`](super::encode()) wrote say which weights made them; of others, only the number of columns is
    /// compared.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and [`Error::Data`] when the table has another number of columns or its latents are those
    /// of another model.
    pub fn with_table(mut self, store: &Store, table: &str, layer: Option<&str>) -> Result<Self> {
        let stored = store.table(table)?;
        let name = format!("table `{table}` of `{}`", store.address());
        let info = match layer {
            Some(layer) => Some(stored.layer_info(layer)?),
            None => stored.x_info()?,
        };
        let Some((rows, columns)) = info.map(|info| info.shape) else {
            return Err(no_matrix(&name));
        };
        if columns == 0 || (!self.parts.is_empty() && columns != self.n_latents) {
            let expected = match self.parts.is_empty() {
                true => "at least 1".to_owned(),
                false => format!("{}, as the tables before it", self.n_latents),
            };
            let problem = format!("{name} has {columns} columns, expected {expected}");
            return Err(Error::data(STEP, problem));
        }
        let origin = Origin::of(&stored)?;
        if let (Some(own), Some(other)) = (&self.model, &origin.model)
            && own != other
        {
            let problem =
                format!("{name} holds latents of another model than the tables before it");
            return Err(Error::data(STEP, problem));
        }
        self.n_latents = columns;
        self.model = self.model.or(origin.model);
        self.parts.push(Part {
            first: self.parts.last().map_or(0, Part::end),
            rows,
            table: stored,
            layer: layer.map(str::to_owned),
            name,
            sample_key: origin.sample_key,
        });
        Ok(self)
    }

    /// The number of cells.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts.last().map_or(0, Part::end)
    }

    /// Whether there are no cells.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of latents of each cell.
    #[must_use]
    pub fn n_latents(&self) -> usize {
        self.n_latents
    }

    /// Finds the `k` cells that are nearest to each row of `queries`, nearest first.
    ///
    /// A cell of the library that is also looked for finds itself.
    ///
    /// # Shapes
    ///
    /// Queries `[m, n_latents]`; `m` lists of `k` cells.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] when `k` is 0, [`Error::Embed`] when the library has fewer than `k` cells, more cells than 32-bit
    /// numbers can name, or a query is not finite, [`Error::Shape`] for another number of columns, [`Error::Data`] that
    /// names table and row of a latent that is not finite, [`Error::Io`], [`Error::Cancelled`].
    pub fn nearest(
        &self,
        queries: ArrayView2<'_, f64>,
        k: usize,
        metric: Metric,
        progress: &dyn Progress,
    ) -> Result<Vec<Vec<Hit>>> {
        check_k(k, self.len())?;
        let found = self.search(queries, k, metric, progress)?;
        self.hits((0..found.len()).map(|query| found.row(query).collect()))
    }

    /// Finds the `k` other cells that are nearest to each of these cells of the library, nearest first.
    ///
    /// `cells` are rows of the library, as [`Hit::index`].
    ///
    /// # Errors
    ///
    /// As [`nearest`](Self::nearest), where a cell is none of the `k`, and [`Error::Data`] for a row that the library does
    /// not have.
    pub fn nearest_to_cells(
        &self,
        cells: &[usize],
        k: usize,
        metric: Metric,
        progress: &dyn Progress,
    ) -> Result<Vec<Vec<Hit>>> {
        check_k(k, self.len().saturating_sub(1))?;
        let queries = self.latents(cells)?;
        // A cell is among its own nearest, unless more than k others are equal to it.
        let found = self.search(queries.view(), k + 1, metric, progress)?;
        self.hits(cells.iter().enumerate().map(|(query, &cell)| {
            let others = found.row(query).filter(|&(index, _)| index != cell);
            others.take(k).collect()
        }))
    }

    /// Finds the `k` cells that are nearest to each of these patches, nearest first.
    ///
    /// The patches are scaled and encoded as [`encode_patches`](super::encode_patches) does.
    /// A library of a layer of smoothed latents is no peer of them, for a patch alone has no neighbours.
    ///
    /// # Errors
    ///
    /// As [`nearest`](Self::nearest) and [`encode_patches`](super::encode_patches), and [`Error::Data`] when the library
    /// holds latents of another model.
    pub fn nearest_to_patches(
        &self,
        patches: &RawPatches,
        model: &Path,
        k: usize,
        metric: Metric,
        progress: &dyn Progress,
    ) -> Result<Vec<Vec<Hit>>> {
        check_k(k, self.len())?;
        let encoder = Encoder::load(model, patches.device)?;
        if let Some(own) = &self.model
            && *own != encoder.fingerprint()?
        {
            let model = model.display();
            let problem = format!("the library holds latents of another model than `{model}`");
            return Err(Error::data(STEP, problem));
        }
        let latents = patches.latents(&encoder, progress)?.mapv(f64::from);
        self.nearest(latents.view(), k, metric, progress)
    }

    /// The latents of cells of the library, by their rows in it.
    ///
    /// # Shapes
    ///
    /// Result: `[cells.len(), n_latents]`.
    ///
    /// # Errors
    ///
    /// [`Error::Data`] for a row that the library does not have and for a latent that is not finite, [`Error::Io`].
    pub fn latents(&self, cells: &[usize]) -> Result<Array2<f64>> {
        let n = self.len();
        if let Some(row) = cells.iter().find(|&&row| row >= n) {
            let problem = format!("row {row} is asked for, the library has {n}");
            return Err(Error::data(STEP, problem));
        }
        let mut order: Vec<usize> = (0..cells.len()).collect();
        order.sort_unstable_by_key(|&i| cells[i]);
        let mut latents = Array2::<f64>::zeros((cells.len(), self.n_latents));
        for part in &self.parts {
            for rows in part.blocks() {
                let before = |row: usize| order.partition_point(|&i| cells[i] < part.first + row);
                let wanted = &order[before(rows.start)..before(rows.end)];
                let (Some(&first), Some(&last)) = (wanted.first(), wanted.last()) else {
                    continue;
                };
                let start = cells[first] - part.first;
                let block = part.read(start..cells[last] - part.first + 1)?;
                for &i in wanted {
                    let row = cells[i] - part.first - start;
                    latents.row_mut(i).assign(&block.row(row));
                }
            }
        }
        Ok(latents)
    }

    /// Looks through the library, block by block.
    fn search(
        &self,
        queries: ArrayView2<'_, f64>,
        k: usize,
        metric: Metric,
        progress: &dyn Progress,
    ) -> Result<Neighbors> {
        let _span = tracing::info_span!(STEP, cells = self.len()).entered();
        if queries.ncols() != self.n_latents {
            return Err(Error::Shape(ShapeError::Array {
                what: "queries".to_owned(),
                expected: format!("[m, {}]", self.n_latents),
                found: queries.shape().to_vec(),
            }));
        }
        let mut search = NeighborSearch::new(queries, k, metric)?;
        let rows = self.len();
        progress.start("library", Some(rows as u64));
        for part in &self.parts {
            for block in part.blocks() {
                progress.check()?;
                let latents = part.read(block.clone())?;
                let first = u32::try_from(part.first + block.start)
                    .map_err(|_| EmbedError::TooManyRows { rows })?;
                let added = search.add_block(latents.view(), first, &WithinStage(progress));
                added.map_err(|error| match error {
                    EmbedError::Cancelled(Cancelled) => Error::Cancelled(Cancelled),
                    error => Error::Embed(error),
                })?;
                progress.advance(block.len() as u64);
            }
        }
        progress.finish();
        Ok(search.finish()?)
    }

    /// Names the rows that were found for each query; of one table at a time the names are in memory.
    fn hits(&self, found: impl Iterator<Item = Vec<(usize, f64)>>) -> Result<Vec<Vec<Hit>>> {
        let named_later = |(index, distance): (usize, f64)| {
            // Of a table without rows and the one behind it, the latter.
            let table = self.parts.partition_point(|part| part.first <= index) - 1;
            Hit {
                table,
                row: index - self.parts[table].first,
                index,
                cell: String::new(),
                sample: None,
                distance,
            }
        };
        let mut hits: Vec<Vec<Hit>> = found
            .map(|row| row.into_iter().map(named_later).collect())
            .collect();
        for (number, part) in self.parts.iter().enumerate() {
            let own = hits.iter_mut().flatten();
            let mut own = own.filter(|hit| hit.table == number).peekable();
            if own.peek().is_none() {
                continue;
            }
            let names = part.table.obs_names()?;
            let samples = part.samples()?;
            for hit in own {
                hit.cell = names.get(hit.row).cloned().unwrap_or_default();
                let sample = samples.as_ref().and_then(|all| all.label(hit.row));
                hit.sample = sample.map(str::to_owned);
            }
        }
        Ok(hits)
    }
}

impl Part {
    /// The row of the library behind its last.
    fn end(&self) -> usize {
        self.first + self.rows
    }

    /// Its rows, as many at a time as are in memory at once.
    fn blocks(&self) -> impl Iterator<Item = Range<usize>> {
        let rows = self.rows;
        (0..rows)
            .step_by(BLOCK)
            .map(move |start| start..rows.min(start + BLOCK))
    }

    /// The latents of some of its rows, all of them finite.
    fn read(&self, rows: Range<usize>) -> Result<Array2<f64>> {
        let start = rows.start;
        let matrix = match &self.layer {
            Some(layer) => self.table.layer_rows(layer, rows)?,
            None => {
                let matrix = self.table.x_rows(rows)?;
                matrix.ok_or_else(|| no_matrix(&self.name))?
            }
        };
        let latents = match matrix {
            Matrix::Dense(latents) => latents,
            other => other.to_dense_f64()?,
        };
        match latents.indexed_iter().find(|(_, v)| !v.is_finite()) {
            None => Ok(latents),
            Some(((row, column), value)) => {
                let (name, row) = (&self.name, start + row);
                let problem = format!(
                    "{name}: row {row}, column {column} holds {value}, expected a finite number"
                );
                Err(Error::data(STEP, problem))
            }
        }
    }

    /// The sample of each row, where the table says in which column it stands.
    fn samples(&self) -> Result<Option<Categorical>> {
        let key = self.sample_key.as_ref();
        key.map(|key| source::labels(&self.table, key)).transpose()
    }
}

fn no_matrix(name: &str) -> Error {
    Error::data(STEP, format!("{name} has no X"))
}

/// Refuses to look for no cells, or for more than there are to choose from.
fn check_k(k: usize, available: usize) -> Result<()> {
    match k {
        0 => Err(Error::config(STEP, "k", "at least 1")),
        k if k > available => Err(EmbedError::TooManyNeighbors { k, available }.into()),
        _ => Ok(()),
    }
}

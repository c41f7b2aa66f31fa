//! Which cells of a library look most like a cell or a patch.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use ndarray::{Array2, ArrayView2};
use phenocoder_core::{Categorical, Progress, ShapeError, WithinStage};
use phenocoder_embed::Error as EmbedError;
use phenocoder_embed::knn::{Metric, NeighborSearch, Neighbors};
use phenocoder_io::{Matrix, Store, Table};

use super::compare::Representation;
use super::encode::{Encoder, Origin, RawPatches};
use super::source;
use crate::error::{Error, Result};

const STEP: &str = "search";
/// Bytes of latents, as 64-bit numbers, that are in memory at once.
const BLOCK_BYTES: usize = 16 << 20;

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
/// The tables are read in blocks of rows: of 16 MiB as 64-bit numbers, or of one row of stored chunks where that is more.
/// So memory grows with the block and the queries times `k` and not with the library; at the end the names and samples of
/// the rows of one table at a time are read, and hits of the same cell share them.
/// Matrices that are compressed by columns are looked through once for every block.
/// Cost: `O(m n p)` for `m` queries, `n` cells and `p` latents, and one reading of the library, whatever `m`: ask for many
/// cells at once.
/// Cells of the library that are looked for are read before that: of each block that has some, the rows from the first of
/// them to the last, so up to a second reading of the library.
/// Among rows that fit into memory, [`knn::HnswIndex`](crate::embed::knn) looks at a part of them only for each query, and
/// finds most of the nearest.
///
/// A library keeps what it learned of its tables when it opened them.
/// One that was written anew meanwhile is an error where it can be told: other numbers of rows or columns, another model.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder::core::NoProgress;
/// use phenocoder::embed::knn::Metric;
/// use phenocoder::io::{ContainerVersion, Store, TableData, WriteMode};
/// use phenocoder::pipeline::{CellLibrary, Representation};
///
/// let folder = tempfile::tempdir()?;
/// let mut store = Store::create(folder.path().join("s.zarr"), ContainerVersion::V02)?;
/// let cells = ["a", "b", "c"].map(str::to_owned).to_vec();
/// let latents = array![[0.0], [5.0], [1.0]];
/// let table = TableData::new(cells, vec!["phc_latent_1".to_owned()], Some(latents.into()));
/// store.write_table("phenocoder", &table, WriteMode::Create)?;
///
/// let library = CellLibrary::open(&store, "phenocoder", Representation::X)?;
/// let hits = library.nearest_to_cells(&[0], 2, Metric::Euclidean, &NoProgress)?;
/// let found: Vec<(&str, f64)> = hits[0].iter().map(|hit| (&*hit.cell, hit.distance)).collect();
/// assert_eq!(found, [("c", 1.0), ("b", 5.0)]);
/// assert_eq!(library.tables()[hits[0][0].table].name(), "phenocoder");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias("retrieval", "nearest_neighbors"))]
#[derive(Debug, Clone)]
pub struct CellLibrary {
    /// The matrix of each table.
    rows: Representation,
    tables: Vec<LibraryTable>,
    n_latents: usize,
}

/// A cell of a library that is near to what was looked for.
///
/// Its name and its sample are shared with the other hits of the same answer.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Hit {
    /// The place of its table among [`CellLibrary::tables`].
    pub table: usize,
    /// Its row in that table.
    pub row: usize,
    /// Its row in the library, where the rows of the tables follow each other.
    pub index: usize,
    /// Its name in that table.
    pub cell: Arc<str>,
    /// Its sample, in tables that [`encode`](super::encode()) wrote.
    pub sample: Option<Arc<str>>,
    /// How far it is from what was looked for.
    pub distance: f64,
}

/// One table of a [`CellLibrary`].
#[derive(Debug, Clone)]
pub struct LibraryTable {
    table: Table,
    name: String,
    store: String,
    /// What it said of itself when it was opened.
    origin: Origin,
    /// Its first row in the library.
    first: usize,
    n_rows: usize,
    n_columns: usize,
    /// Rows that are read at once.
    block: usize,
}

impl CellLibrary {
    /// The cells of a table, by its `X`, one of its layers or an entry of `obsm`.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when table, layer or entry is not there (those that are, are listed) or is no matrix of numbers,
    /// [`Error::Data`] when the table has no `X` or the matrix no columns.
    pub fn open(store: &Store, table: &str, rows: Representation) -> Result<Self> {
        let table = LibraryTable::open(store, table, &rows, 0)?;
        Ok(Self {
            rows,
            n_latents: table.n_columns,
            tables: vec![table],
        })
    }

    /// Adds the cells of another table, of the same store or another one, by the same matrix as the first.
    ///
    /// Latents of different models cannot be compared.
    /// Tables that [`encode`](super::encode()) wrote say which weights made them; of others, only the number of columns is
    /// compared.
    /// Nor can components, corrected rows and maps that were computed for each table apart: nothing tells them from those
    /// that were computed together.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and [`Error::Data`] when the table has another number of columns or its latents are those
    /// of another model. The library is then as it was.
    pub fn add_table(&mut self, store: &Store, table: &str) -> Result<()> {
        let table = LibraryTable::open(store, table, &self.rows, self.len())?;
        let place = table.place();
        if table.n_columns != self.n_latents {
            let (found, expected) = (table.n_columns, self.n_latents);
            let problem = format!(
                "{place} has {found} columns, expected {expected}, as the tables before it"
            );
            return Err(Error::data(STEP, problem));
        }
        if let (Some(own), Some(other)) = (self.model(), table.origin.model.as_deref())
            && own != other
        {
            let problem =
                format!("{place} holds latents of another model than the tables before it");
            return Err(Error::data(STEP, problem));
        }
        self.tables.push(table);
        Ok(())
    }

    /// The tables, in the order in which they were added.
    #[must_use]
    pub fn tables(&self) -> &[LibraryTable] {
        &self.tables
    }

    /// The weights that made the latents, where a table says so.
    fn model(&self) -> Option<&str> {
        let mut tables = self.tables.iter();
        tables.find_map(|table| table.origin.model.as_deref())
    }

    /// The number of cells.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tables.last().map_or(0, LibraryTable::end)
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
        let queries = self.latents(cells, progress)?;
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
    /// Ask for all patches at once, those of several samples too: the model is loaded and the library read once for them.
    /// Smoothed latents, corrected rows and components are no peers of them: the library must be of `X`.
    ///
    /// # Errors
    ///
    /// As [`nearest`](Self::nearest) and [`encode_patches`](super::encode_patches), and [`Error::Data`] when the library
    /// holds another matrix than `X` or latents of another model.
    pub fn nearest_to_patches(
        &self,
        patches: &RawPatches,
        model: &Path,
        k: usize,
        metric: Metric,
        progress: &dyn Progress,
    ) -> Result<Vec<Vec<Hit>>> {
        check_k(k, self.len())?;
        if self.rows != Representation::X {
            let problem = format!(
                "patches are compared with latents (X), the library holds {}",
                self.rows
            );
            return Err(Error::data(STEP, problem));
        }
        let encoder = Encoder::load(model, patches.device)?;
        if let Some(own) = self.model()
            && own != encoder.fingerprint()?
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
    /// [`Error::Data`] for a row that the library does not have and for a latent that is not finite, [`Error::Io`],
    /// [`Error::Cancelled`].
    pub fn latents(&self, cells: &[usize], progress: &dyn Progress) -> Result<Array2<f64>> {
        let n = self.len();
        if let Some(row) = cells.iter().find(|&&row| row >= n) {
            let problem = format!("row {row} is asked for, the library has {n}");
            return Err(Error::data(STEP, problem));
        }
        let mut order: Vec<usize> = (0..cells.len()).collect();
        order.sort_unstable_by_key(|&i| cells[i]);
        let mut latents = Array2::<f64>::zeros((cells.len(), self.n_latents));
        progress.start("cells to look for", Some(cells.len() as u64));
        for table in &self.tables {
            for rows in table.blocks() {
                let before = |row: usize| order.partition_point(|&i| cells[i] < table.first + row);
                let wanted = &order[before(rows.start)..before(rows.end)];
                let (Some(&first), Some(&last)) = (wanted.first(), wanted.last()) else {
                    continue;
                };
                progress.check()?;
                let start = cells[first] - table.first;
                let block = table.read(&self.rows, start..cells[last] - table.first + 1)?;
                for &i in wanted {
                    let row = cells[i] - table.first - start;
                    latents.row_mut(i).assign(&block.row(row));
                }
                progress.advance(wanted.len() as u64);
            }
            table.check_origin()?;
        }
        progress.finish();
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
        let mut search = NeighborSearch::new(queries, k, metric, progress)?;
        let rows = self.len();
        progress.start("library", Some(rows as u64));
        for table in &self.tables {
            for block in table.blocks() {
                progress.check()?;
                let latents = table.read(&self.rows, block.clone())?;
                let first = u32::try_from(table.first + block.start)
                    .map_err(|_| EmbedError::TooManyRows { rows })?;
                search.add_block(latents.view(), first, &WithinStage(progress))?;
                progress.advance(block.len() as u64);
            }
        }
        progress.finish();
        Ok(search.finish()?)
    }

    /// Names the rows that were found for each query; of one table at a time the names are in memory.
    fn hits(&self, found: impl Iterator<Item = Vec<(usize, f64)>>) -> Result<Vec<Vec<Hit>>> {
        for table in &self.tables {
            table.check_origin()?;
        }
        let unnamed: Arc<str> = Arc::from("");
        let named_later = |(index, distance): (usize, f64)| {
            // Of a table without rows and the one behind it, the latter.
            let table = self.tables.partition_point(|table| table.first <= index) - 1;
            Hit {
                table,
                row: index - self.tables[table].first,
                index,
                cell: Arc::clone(&unnamed),
                sample: None,
                distance,
            }
        };
        let mut hits: Vec<Vec<Hit>> = found
            .map(|row| row.into_iter().map(named_later).collect())
            .collect();
        for (number, table) in self.tables.iter().enumerate() {
            let own = hits.iter_mut().flatten();
            let mut own = own.filter(|hit| hit.table == number).peekable();
            if own.peek().is_some() {
                table.name_hits(own)?;
            }
        }
        Ok(hits)
    }
}

impl LibraryTable {
    fn open(store: &Store, name: &str, rows: &Representation, first: usize) -> Result<Self> {
        let table = store.table(name)?;
        let store = store.address();
        let info = match rows {
            Representation::X => table.x_info()?.ok_or_else(|| no_x(name, &store))?,
            Representation::Layer(layer) => table.layer_info(layer)?,
            Representation::Obsm(entry) => table.obsm_info(entry)?,
        };
        let (n_rows, n_columns) = info.shape;
        if n_columns == 0 {
            let problem = format!("`{rows}` of table `{name}` of `{store}` has no columns");
            return Err(Error::data(STEP, problem));
        }
        // Of a sparse matrix, a chunk is a number of stored values.
        let chunk = info.chunk.first().filter(|_| info.format.is_none());
        Ok(Self {
            origin: Origin::of(&table)?,
            table,
            name: name.to_owned(),
            store,
            first,
            n_rows,
            n_columns,
            block: block_rows(n_columns, chunk.copied()),
        })
    }

    /// Its name in its store.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its store lies: a path, or the address of a server.
    #[must_use]
    pub fn store(&self) -> &str {
        &self.store
    }

    /// Its rows in the library, as [`Hit::index`].
    #[must_use]
    pub fn rows(&self) -> Range<usize> {
        self.first..self.end()
    }

    /// The row of the library behind its last.
    fn end(&self) -> usize {
        self.first + self.n_rows
    }

    /// Table and store, for messages.
    fn place(&self) -> String {
        format!("table `{}` of `{}`", self.name, self.store)
    }

    /// Its rows, as many at a time as are in memory at once.
    fn blocks(&self) -> impl Iterator<Item = Range<usize>> {
        let (n, block) = (self.n_rows, self.block);
        (0..n)
            .step_by(block)
            .map(move |start| start..n.min(start.saturating_add(block)))
    }

    /// The latents of some of its rows, all of them finite.
    fn read(&self, of: &Representation, rows: Range<usize>) -> Result<Array2<f64>> {
        let start = rows.start;
        let matrix = match of {
            Representation::X => {
                let matrix = self.table.x_rows(rows)?;
                matrix.ok_or_else(|| no_x(&self.name, &self.store))?
            }
            Representation::Layer(layer) => self.table.layer_rows(layer, rows)?,
            Representation::Obsm(entry) => self.table.obsm_rows(entry, rows)?,
        };
        let latents = match matrix {
            Matrix::Dense(latents) => latents,
            other => other.to_dense_f64()?,
        };
        if latents.ncols() != self.n_columns {
            return Err(self.written_anew());
        }
        match latents.indexed_iter().find(|(_, v)| !v.is_finite()) {
            None => Ok(latents),
            Some(((row, column), value)) => {
                let (place, row) = (self.place(), start + row);
                let problem = format!(
                    "{place}: row {row}, column {column} of `{of}` holds {value}, expected a finite number"
                );
                Err(Error::data(STEP, problem))
            }
        }
    }

    /// Refuses a table that says of itself what it did not say when it was opened.
    fn check_origin(&self) -> Result<()> {
        match Origin::of(&self.table)? == self.origin {
            true => Ok(()),
            false => Err(self.written_anew()),
        }
    }

    /// Fills in the names and samples of hits in this table.
    fn name_hits<'a>(&self, hits: impl Iterator<Item = &'a mut Hit>) -> Result<()> {
        let names = self.table.obs_names()?;
        let mut shared: Vec<Option<Arc<str>>> = vec![None; names.len()];
        let samples = self.samples()?;
        let labels: Vec<Arc<str>> = samples
            .iter()
            .flat_map(|samples| samples.categories())
            .map(|label| Arc::from(label.as_str()))
            .collect();
        for hit in hits {
            let (Some(name), Some(shared)) = (names.get(hit.row), shared.get_mut(hit.row)) else {
                return Err(self.written_anew());
            };
            hit.cell = Arc::clone(shared.get_or_insert_with(|| Arc::from(name.as_str())));
            let code = samples.as_ref().and_then(|all| all.codes().get(hit.row));
            let code = code.and_then(|&code| usize::try_from(code).ok());
            hit.sample = code.and_then(|code| labels.get(code)).cloned();
        }
        Ok(())
    }

    /// The sample of each row, where the table says in which column it stands.
    fn samples(&self) -> Result<Option<Categorical>> {
        let key = self.origin.sample_key.as_ref();
        key.map(|key| source::labels(&self.table, key)).transpose()
    }

    fn written_anew(&self) -> Error {
        let place = self.place();
        Error::data(
            STEP,
            format!("{place} was written anew since the library was opened: open it again"),
        )
    }
}

/// How many rows are read at once: what fits into [`BLOCK_BYTES`], in whole chunks, so that none is decoded for two blocks.
fn block_rows(columns: usize, chunk: Option<u64>) -> usize {
    let rows = BLOCK_BYTES / size_of::<f64>() / columns.max(1);
    let chunk = chunk.map_or(1, |rows| usize::try_from(rows).unwrap_or(usize::MAX));
    let chunk = chunk.max(1);
    (rows / chunk).max(1).saturating_mul(chunk)
}

fn no_x(table: &str, store: &str) -> Error {
    Error::data(STEP, format!("table `{table}` of `{store}` has no X"))
}

/// Refuses to look for no cells, or for more than there are to choose from.
fn check_k(k: usize, available: usize) -> Result<()> {
    match k {
        0 => Err(Error::config(STEP, "k", "at least 1")),
        k if k > available => Err(EmbedError::TooManyNeighbors { k, available }.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_whole_chunks_that_fit_and_one_chunk_at_least() {
        assert_eq!(block_rows(32, None), 65_536);
        assert_eq!(block_rows(32, Some(30_000)), 60_000);
        assert_eq!(block_rows(20_000, Some(1_000)), 1_000);
        assert_eq!(block_rows(usize::MAX, None), 1);
        assert_eq!(block_rows(1, Some(0)), BLOCK_BYTES / 8);
    }
}

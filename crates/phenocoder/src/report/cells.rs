//! The cells of the map: where they lie, what they are coloured by, and which patch shows them.

use std::collections::{BTreeMap, BTreeSet};

use ndarray::{Array2, ArrayView1, Axis, concatenate};
use phenocoder_core::{Categorical, Column, Seed, Unit};
use phenocoder_io::{PatchSet, Table, column_from_arrow};

use super::gather::Run;
use super::{Part, ReportConfig, STEP};
use crate::error::{Error, Result};
use crate::pipeline::{PipelineConfig, source};

/// Columns of `obs` with more labels than this are not offered as colours.
const MOST_LABELS: usize = 64;
/// Whole numbers of up to this many values are labels, of more a scale.
const FEW_NUMBERS: usize = 24;
/// Columns offered as colours, latents not counted.
const MOST_COLUMNS: usize = 24;

/// What the cells of the map are coloured by.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Coloring {
    /// A label or none.
    Labels(Categorical),
    /// A number; NaN for none.
    Values(Vec<f64>),
}

/// The rows of the table of cells.
#[derive(Debug)]
pub(super) struct Cells {
    pub(super) ids: Vec<String>,
    pub(super) samples: Categorical,
    pub(super) clusters: Part<Categorical>,
    /// `[n, 2]`.
    pub(super) map: Part<Array2<f64>>,
    /// `[n, 2]` as x and y.
    pub(super) places: Part<Array2<f64>>,
    pub(super) latents: Array2<f64>,
    pub(super) colorings: Vec<(String, Coloring)>,
    /// The patch of each row, counted in the patch set.
    pub(super) patches: Vec<Option<usize>>,
    /// What is missing, in words.
    pub(super) notes: Vec<String>,
}

impl Cells {
    /// Reads the table that was clustered, and looks up the cells in the patch set.
    pub(super) fn read(run: &Run<'_>, patches: &Part<PatchSet>) -> Result<Self> {
        let config = run.config;
        let table = run.store.table(&config.cluster.table)?;
        let keys = &config.encode.keys;
        let samples = source::samples(&table, keys, STEP)?;
        let ids = ids(&table)?;
        let latents = table
            .x()?
            .ok_or_else(|| Error::data(STEP, format!("table `{}` has no X", config.cluster.table)))?
            .to_dense_f64()?;
        run.progress.check()?;
        let clusters = match config.cluster.graph.leiden {
            None => Err("the cells were not grouped".to_owned()),
            Some(_) => words(source::labels(&table, &config.cluster.column)),
        };
        let map = match config.cluster.graph.umap {
            None => Err("no map of the cells was made".to_owned()),
            Some(_) => {
                words(table.obsm("X_umap").map_err(Error::from)).and_then(|map| match map.ncols() {
                    2 => Ok(map),
                    n => Err(format!("the map has {n} dimensions, two can be drawn")),
                })
            }
        };
        let mut cells = Self {
            places: words(places(&table, config)),
            patches: vec![None; ids.len()],
            colorings: Vec::new(),
            notes: Vec::new(),
            ids,
            samples,
            clusters,
            map,
            latents,
        };
        cells.colorings = cells.offered(&table, config, run.settings);
        run.progress.check()?;
        if table
            .obsm(&keys.spatial_key)
            .is_ok_and(|points| points.ncols() == 3)
        {
            let seen = "where they lie, cells of stacks are shown from above, all slices at once";
            cells.notes.push(seen.to_owned());
        }
        let found = patches.as_ref().map_err(Clone::clone);
        if let Err(why) = found.and_then(|patches| words(cells.find_patches(patches))) {
            cells.notes.push(format!("no pictures of cells: {why}"));
        }
        Ok(cells)
    }

    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// The columns that the map can be coloured by: clusters and sample first, then those that were named, then the others.
    fn offered(
        &mut self,
        table: &Table,
        config: &PipelineConfig,
        report: &ReportConfig,
    ) -> Vec<(String, Coloring)> {
        let sample_key = &config.encode.keys.sample_key;
        let mut offered = Vec::new();
        if let Ok(clusters) = &self.clusters {
            let clusters = Coloring::Labels(clusters.clone());
            offered.push((config.cluster.column.clone(), clusters));
        }
        offered.push((sample_key.clone(), Coloring::Labels(self.samples.clone())));
        let mut hidden: BTreeSet<&str> = [config.cluster.column.as_str(), sample_key].into();
        if let Some(annotation) = table.annotation() {
            hidden.extend([annotation.instance_key.as_str(), &annotation.region_key]);
        }
        let figures = &report.figures;
        let named = [
            &figures.truth_key,
            &figures.condition_key,
            &figures.batch_key,
        ];
        let named = named.into_iter().flatten();
        let described = [&config.samples.label_key].into_iter();
        let all = named.chain(described).chain(table.obs_columns());
        let mut left_out = Vec::new();
        for name in all {
            if !table.obs_columns().contains(name) || !hidden.insert(name) {
                continue;
            }
            match table.obs_column(name).ok().and_then(coloring) {
                Some(coloring) if offered.len() < MOST_COLUMNS => {
                    offered.push((name.clone(), coloring));
                }
                _ => left_out.push(format!("`{name}`")),
            }
        }
        if !left_out.is_empty() {
            self.notes.push(format!(
                "columns that the map cannot be coloured by (unreadable, one value, more than {MOST_LABELS} labels, or more than {MOST_COLUMNS} columns): {}",
                left_out.join(", ")
            ));
        }
        offered
    }

    /// Joins the patches by sample and id: the numbers of rows are those of the input's table, of which this one may lack some.
    fn find_patches(&mut self, patches: &PatchSet) -> Result<()> {
        let rows = patches.cells()?;
        let column = |name: &str| -> Result<Column> {
            let missing = || Error::data(STEP, format!("the patch set has no column `{name}`"));
            let array = rows.column_by_name(name).ok_or_else(missing)?;
            Ok(column_from_arrow(name, array)?)
        };
        let samples = column("sample")?.to_categorical();
        let (ids, of_row) = (text(&column("id")?), text(&column("row")?));
        let of_patches: Vec<(Option<Key<'_>>, &str)> = (0..rows.num_rows())
            .map(|patch| {
                let key = samples.label(patch).map(|s| (s, ids[patch].as_str()));
                (key, of_row[patch].as_str())
            })
            .collect();
        let of_cells: Vec<Key<'_>> = (0..self.len())
            .map(|row| {
                let sample = self.samples.label(row).unwrap_or_default();
                (sample, self.ids[row].as_str())
            })
            .collect();
        let joined = join(&of_cells, &of_patches);
        let (without, doubtful) = (joined.without, joined.doubtful);
        self.patches = joined.patches;
        if without > 0 {
            self.notes.push(format!(
                "{without} cells have no patch in the patch set, so no picture"
            ));
        }
        if doubtful > 0 {
            self.notes.push(format!(
                "{doubtful} cells share sample and id with another cell and have no picture"
            ));
        }
        Ok(())
    }

    /// The rows that are shown: all, or these first ones and then a share of every cluster of every sample.
    pub(super) fn shown(&self, first: &[usize], most: usize, seed: Seed) -> Vec<usize> {
        let n = self.len();
        if n <= most {
            return (0..n).collect();
        }
        let groups = self.groups();
        let mut shown: BTreeSet<usize> = first.iter().copied().take(most).collect();
        let rest = most - shown.len();
        let mut drawn = stratified(&groups, most, seed);
        drawn.retain(|row| !shown.contains(row));
        drawn.truncate(rest);
        shown.extend(drawn);
        shown.into_iter().collect()
    }

    /// Of `rows`, those that get pictures, at most `most`: the first ones, then a share of every cluster of every sample.
    pub(super) fn pictured(
        &self,
        rows: &[usize],
        first: &[usize],
        most: usize,
        seed: Seed,
    ) -> Vec<usize> {
        let mut taken: BTreeSet<usize> = BTreeSet::new();
        let mut order: Vec<usize> = Vec::new();
        let known = |row: &&usize| self.patches[**row].is_some();
        for &row in first.iter().filter(known) {
            if order.len() < most && taken.insert(row) {
                order.push(row);
            }
        }
        let candidates: Vec<usize> = rows.iter().filter(known).copied().collect();
        let groups = self.groups();
        let groups: Vec<usize> = candidates.iter().map(|&row| groups[row]).collect();
        for place in stratified(&groups, most, seed.derive("pictures", 0)) {
            let row = candidates[place];
            if order.len() < most && taken.insert(row) {
                order.push(row);
            }
        }
        order
    }

    /// A number for every pair of sample and cluster.
    fn groups(&self) -> Vec<usize> {
        let clusters = self.clusters.as_ref().ok();
        let k = clusters.map_or(1, |c| c.categories().len() + 1);
        let cluster = |row| {
            clusters
                .and_then(|c| c.code(row))
                .map_or(0, |code| code + 1)
        };
        let sample = |row| self.samples.code(row).unwrap_or(0);
        (0..self.len())
            .map(|row| sample(row) * k + cluster(row).min(k - 1))
            .collect()
    }
}

/// A sample, and what a cell is called within it.
type Key<'a> = (&'a str, &'a str);

/// The patches of cells.
#[derive(Debug, PartialEq)]
struct Joined {
    /// The patch of each cell, of several slices the first one.
    patches: Vec<Option<usize>>,
    /// Cells without a patch.
    without: usize,
    /// Cells that others cannot be told from.
    doubtful: usize,
}

/// Finds the patch of each cell by its key; `patches` are the key and the row in the input's table of each patch.
///
/// Where several cells have one key, here or in the patch set, none of them gets a patch.
fn join(cells: &[Key<'_>], patches: &[(Option<Key<'_>>, &str)]) -> Joined {
    // The first patch of a key, its row, and whether all patches of the key are of that row.
    let mut found: BTreeMap<Key<'_>, (usize, &str, bool)> = BTreeMap::new();
    for (patch, &(key, row)) in patches.iter().enumerate() {
        if let Some(key) = key {
            let entry = found.entry(key).or_insert((patch, row, true));
            entry.2 &= entry.1 == row;
        }
    }
    let mut cells_of: BTreeMap<Key<'_>, usize> = BTreeMap::new();
    for &key in cells {
        *cells_of.entry(key).or_insert(0) += 1;
    }
    let mut joined = Joined {
        patches: vec![None; cells.len()],
        without: 0,
        doubtful: 0,
    };
    for (cell, key) in cells.iter().enumerate() {
        match found.get(key) {
            Some(&(patch, _, true)) if cells_of.get(key) == Some(&1) => {
                joined.patches[cell] = Some(patch);
            }
            Some(_) => joined.doubtful += 1,
            None => joined.without += 1,
        }
    }
    joined
}

/// Up to `most` places, from every group as many as its share, at least one while there is room; in a random order.
fn stratified(groups: &[usize], most: usize, seed: Seed) -> Vec<usize> {
    let mut members: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (place, &group) in groups.iter().enumerate() {
        members.entry(group).or_default().push(place);
    }
    // Places within a group come at even steps of 0…1, each group shifted by chance: any beginning of all of them in this
    // order holds each group by its share.
    let mut order: Vec<(bool, f64, usize)> = Vec::with_capacity(groups.len());
    for (&group, places) in &mut members {
        let mut stream = seed.stream("report", group as u64);
        stream.shuffle(places);
        let shift = stream.uniform();
        let n = places.len() as f64;
        for (i, &place) in places.iter().enumerate() {
            order.push((i > 0, (i as f64 + shift) / n, place));
        }
    }
    order.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.cmp(&b.2)));
    order
        .into_iter()
        .take(most)
        .map(|(.., place)| place)
        .collect()
}

/// The result, or the error in words.
fn words<T>(result: Result<T>) -> Part<T> {
    result.map_err(|error| error.to_string())
}

/// What the cells are called within their sample.
fn ids(table: &Table) -> Result<Vec<String>> {
    match table.annotation() {
        Some(annotation) => Ok(text(&table.obs_column(&annotation.instance_key)?)),
        None => Ok(table.obs_names()?),
    }
}

/// Every value as text.
fn text(column: &Column) -> Vec<String> {
    let labels = column.to_categorical();
    labels
        .labels()
        .map(|label| label.unwrap_or_default().to_owned())
        .collect()
}

/// Where the cells lie in the tissue, as x and y.
fn places(table: &Table, config: &PipelineConfig) -> Result<Array2<f64>> {
    let keys = &config.encode.keys;
    let points = source::coordinates(table, keys, &keys.spatial_key, Unit::Unspecified, STEP)?;
    let dim = points.dim();
    let column = |i: usize| points.view().column(i).insert_axis(Axis(1)).to_owned();
    let (x, y) = (column(dim - 1), column(dim - 2));
    concatenate(Axis(1), &[x.view(), y.view()])
        .map_err(|error| Error::data(STEP, format!("coordinates: {error}")))
}

/// A column as colours; `None` where it has one value or too many labels.
fn coloring(column: Column) -> Option<Coloring> {
    let labels = |column: &Column| {
        let labels = column.to_categorical().without_unused();
        let n = labels.categories().len();
        (2..=MOST_LABELS)
            .contains(&n)
            .then_some(Coloring::Labels(labels))
    };
    match &column {
        Column::Float(values) => range(ArrayView1::from(values))
            .filter(|(low, high)| low < high)
            .map(|_| Coloring::Values(values.clone())),
        Column::Int(values) => {
            let distinct: BTreeSet<i64> = values.iter().copied().collect();
            match distinct.len() {
                0 | 1 => None,
                n if n <= FEW_NUMBERS => labels(&column),
                _ => column.to_floats().map(Coloring::Values),
            }
        }
        _ => labels(&column),
    }
}

/// The least and the greatest finite number.
pub(super) fn range(values: ArrayView1<'_, f64>) -> Option<(f64, f64)> {
    let finite = values.iter().copied().filter(|v| v.is_finite());
    finite.fold(None, |range, v| match range {
        None => Some((v, v)),
        Some((low, high)) => Some((f64::min(low, v), f64::max(high, v))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_is_there_by_its_share() {
        let groups: Vec<usize> = (0..1000)
            .map(|i| usize::from(i >= 900) + usize::from(i == 999))
            .collect();
        let drawn = stratified(&groups, 100, Seed::new(3));
        let of = |group| drawn.iter().filter(|&&i| groups[i] == group).count();
        assert_eq!(drawn.len(), 100);
        assert!((86..=92).contains(&of(0)), "{}", of(0));
        assert_eq!(of(2), 1, "the group of one cell");
        assert_eq!(drawn, stratified(&groups, 100, Seed::new(3)));
        assert_ne!(drawn, stratified(&groups, 100, Seed::new(4)));
        assert_eq!(stratified(&groups, 2000, Seed::new(3)).len(), 1000);
    }

    #[test]
    fn only_cells_that_can_be_told_apart_get_a_patch() {
        let cells = [
            ("a", "1"),
            ("a", "2"),
            // Two rows, of which one was left out of the patches: nobody knows which.
            ("a", "3"),
            ("a", "3"),
            ("b", "1"),
            ("b", "2"),
        ];
        let patches = [
            // Two slices of one cell.
            (Some(("a", "1")), "0"),
            (Some(("a", "1")), "0"),
            (Some(("a", "3")), "2"),
            (None, "7"),
            // Two cells of one name, of which one is not in the table.
            (Some(("b", "1")), "4"),
            (Some(("b", "1")), "9"),
            (Some(("b", "2")), "5"),
        ];
        let joined = Joined {
            patches: vec![Some(0), None, None, None, None, Some(6)],
            without: 1,
            doubtful: 3,
        };
        assert_eq!(join(&cells, &patches), joined);
    }

    #[test]
    fn columns_that_tell_nothing_are_not_offered() {
        assert_eq!(coloring(Column::Int(vec![7; 9])), None);
        assert_eq!(coloring(Column::Float(vec![f64::NAN, 1.0])), None);
        let many = (0..100).map(|i| i.to_string()).collect();
        assert_eq!(coloring(Column::Text(many)), None);
        let numbers = coloring(Column::Int((0..100).collect()));
        assert!(matches!(numbers, Some(Coloring::Values(v)) if v[99] == 99.0));
        let few = coloring(Column::Int(vec![1, 2, 1]));
        assert!(matches!(few, Some(Coloring::Labels(c)) if c.categories() == ["1", "2"]));
    }
}

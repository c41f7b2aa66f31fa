//! Pictures with cells in them: their map, galleries of clusters, walks along latents.

use std::collections::BTreeMap;

use ndarray::{Array3, Axis};
use phenocoder_core::Categorical;
use phenocoder_plot::{
    ColorBy, ContactSheetConfig, Figure, Rgb, ScatterConfig, SheetRow, contact_sheet, scatter,
};

use crate::error::{Error, Result};
use crate::pipeline::{figures, source};
use crate::report::cells::Cells;
use crate::report::data::Channel;
use crate::report::html::{count, number};
use crate::report::page::{Material, Shown};
use crate::report::sprites::{MOST_SIDE, Tiles};
use crate::report::traversal::{STEPS, step_name};
use crate::report::{STEP, known};

/// The map of the cells that the page shows, by cluster and beside it by the truth, where there is one.
pub(super) fn map(material: &Material<'_>, cells: &Cells, shown: &Shown) -> Result<Figure> {
    let run = &material.run;
    let points = known(&cells.map)?.select(Axis(0), &shown.rows);
    let by = |labels: &Categorical, title: String| -> Result<Figure> {
        let labels = labels.select(&shown.rows);
        let settings = ScatterConfig::embedding("UMAP").with_title(title);
        let color = ColorBy::Categories(&labels);
        Ok(scatter(points.view(), color, &settings)?)
    };
    let found = match &cells.clusters {
        Ok(clusters) => by(clusters, "Cells by cluster found".to_owned())?,
        Err(_) => {
            let settings = ScatterConfig::embedding("UMAP").with_title("Cells");
            scatter(points.view(), ColorBy::None, &settings)?
        }
    };
    let Some(key) = &run.settings.figures.truth_key else {
        return Ok(found);
    };
    let table = run.store.table(&run.config.cluster.table)?;
    // A truth that is not there costs its half; the section on clusters says why.
    match source::labels(&table, key) {
        Ok(truth) => Ok(found.beside(by(&truth, format!("Cells by {}", figures::words(key)))?)),
        Err(_) => Ok(found),
    }
}

/// Typical and odd cells of each cluster, among those of which the page shows a picture.
pub(super) fn gallery(material: &Material<'_>, cells: &Cells, shown: &Shown) -> Result<Figure> {
    let examples = known(&material.examples)?;
    let clusters = known(&cells.clusters)?.categories();
    let each = material.run.settings.patches_per_cluster / 2;
    let all = examples.iter().flat_map(|e| e.typical.iter().chain(&e.odd));
    let rows: Vec<usize> = all
        .copied()
        .filter(|&row| shown.place(row).is_some())
        .collect();
    if rows.is_empty() {
        return Err(Error::data(STEP, "no pictures of cells"));
    }
    let mut tiles = Tiles::new(material.extent(), MOST_SIDE);
    material.read_tiles(cells, &rows, &mut tiles)?;
    let channels = material.channels(&tiles);
    let pictures: BTreeMap<usize, Array3<u8>> = rows
        .iter()
        .enumerate()
        .map(|(tile, &row)| (row, tiles.mixed(tile, &channels)))
        .collect();
    let strip = |rows: &[usize]| {
        let mut strip: Vec<_> = rows.iter().map(|row| pictures.get(row).cloned()).collect();
        strip.resize(each, None);
        strip
    };
    let sheet: Vec<SheetRow> = examples
        .iter()
        .map(|example| {
            let tiles = [strip(&example.typical), strip(&example.odd)].concat();
            let name = format!("Cluster {}", clusters[example.cluster]);
            SheetRow::new(name, tiles).with_note(format!("{} cells", count(example.cells)))
        })
        .collect();
    let columns = [vec!["typical"; each], vec!["odd"; each]].concat();
    let settings = ContactSheetConfig::default().with_key(key(&channels));
    Ok(contact_sheet(&sheet, &columns, &settings)?)
}

/// The mean cell with single latents moved.
pub(super) fn latents(material: &Material<'_>) -> Result<Figure> {
    let walks = known(&material.walks)?;
    if walks.latents.is_empty() {
        return Err(Error::data(STEP, "no latents were asked for"));
    }
    let mut tiles = Tiles::new(walks.extent, MOST_SIDE);
    for patch in &walks.patches {
        tiles.push(patch.view());
    }
    let channels = material.channels(&tiles);
    let sheet: Vec<SheetRow> = walks
        .latents
        .iter()
        .enumerate()
        .map(|(i, (latent, spread))| {
            let first = i * STEPS.len();
            let tiles = (first..first + STEPS.len()).map(|tile| Some(tiles.mixed(tile, &channels)));
            SheetRow::new(format!("latent {}", latent + 1), tiles.collect())
                .with_note(format!("sd {}", number(*spread)))
        })
        .collect();
    let settings = ContactSheetConfig::default().with_key(key(&channels));
    Ok(contact_sheet(&sheet, &STEPS.map(step_name), &settings)?)
}

/// The colours of the channels that are seen; a single one that is grey needs no key.
fn key(channels: &[Channel]) -> Vec<(String, Rgb)> {
    let on: Vec<&Channel> = channels.iter().filter(|channel| channel.on).collect();
    match on.as_slice() {
        [] => Vec::new(),
        [alone] if !alone.named => Vec::new(),
        _ => on
            .into_iter()
            .map(|channel| {
                let [red, green, blue] = channel.color;
                (channel.name.clone(), Rgb(red, green, blue))
            })
            .collect(),
    }
}

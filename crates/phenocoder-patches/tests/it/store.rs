//! The two-well store of the reference data.

use std::collections::BTreeMap;
use std::sync::Arc;

use ndarray::Axis;
use phenocoder_core::{Cells, Coords, Unit};
use phenocoder_io::Store;
use phenocoder_patches::Images;
use phenocoder_testdata::find;

/// The images of both wells and all cells, from the store of this name; `None` when it is not here.
pub(crate) fn images_and_cells(store: &str) -> Option<(Images, Cells)> {
    let store = Store::open(find(&format!("organoid/{store}"))?).unwrap();
    let images: Images = ["A06", "G04"]
        .map(|well| {
            let image = store.image(&format!("IF_{well}")).unwrap();
            (well.to_owned(), Arc::new(image) as _)
        })
        .into_iter()
        .collect::<BTreeMap<_, _>>();
    let table = store.table("nuclei_features").unwrap();
    // Stored as (y, x, z).
    let positions = table
        .obsm("spatial_index")
        .unwrap()
        .select(Axis(1), &[2, 0, 1]);
    let cells = Cells::new(
        table.obs_column("instance_id").unwrap(),
        table.obs_column("well").unwrap().to_categorical(),
        Coords::new(positions, Unit::Pixel).unwrap(),
    );
    Some((images, cells.unwrap()))
}

//! Cuts one patch per cell out of an image in memory: what this crate does, without any file.
//!
//! Run with `cargo run --release -p phenocoder-patches --example extract_patches`.
//! It measures an image of bright discs, scales it to its own percentiles,
//! cuts a patch around each disc and checks that the centre of every patch is bright;
//! the disc in the corner shows that no cell is lost at the border.

use std::collections::BTreeMap;
use std::sync::Arc;

use ndarray::{Array4, array};
use phenocoder_core::{Categorical, Cells, Column, Coords, MemoryImage, NoProgress, Unit};
use phenocoder_patches::{
    Images, MemorySink, PatchConfig, Scaling, ScalingMode, StatisticsConfig, extract_patches,
    image_statistics,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let centers = array![[12.0, 12.0], [40.0, 22.0], [1.0, 62.0]];
    let pixels = Array4::from_shape_fn((1, 1, 64, 64), |(_, _, y, x)| {
        let near = |c: ndarray::ArrayView1<'_, f64>| (c[0] - y as f64).hypot(c[1] - x as f64) < 6.0;
        if centers.outer_iter().any(near) {
            200.0
        } else {
            20.0
        }
    });
    let image = MemoryImage::new("discs", pixels, vec!["DAPI".into()])?;

    let statistics = image_statistics(&image, "well A", &StatisticsConfig::default(), &NoProgress)?;
    let scaling = Scaling::fit(&statistics, ScalingMode::PerSample)?;
    let cells = Cells::new(
        Column::Int(vec![1, 2, 3]),
        Categorical::from_labels(["well A"; 3]),
        Coords::new(centers, Unit::Pixel)?,
    )?;

    let images: Images = BTreeMap::from([("well A".to_owned(), Arc::new(image) as _)]);
    let mut sink = MemorySink::new();
    let config = PatchConfig::new(16, 16);
    let report = extract_patches(
        &images,
        None,
        &cells,
        &scaling,
        &config,
        &mut sink,
        &NoProgress,
    )?;

    assert_eq!((report.cells, report.kept), (3, 3));
    for patch in sink.pixels().outer_iter() {
        assert_eq!(
            patch[[0, 8, 8]],
            1.0,
            "the centre of a disc is as bright as it gets"
        );
    }
    #[expect(clippy::print_stdout, reason = "an example shows what it found")]
    {
        println!(
            "{} cells, {} patches of {:?}",
            report.cells,
            report.patches,
            &sink.pixels().shape()[1..]
        );
    }
    Ok(())
}

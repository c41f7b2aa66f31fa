//! Makes a store with an element of every kind, finds what lies in a box of a coordinate system, and checks the store.
//!
//! Run it with `cargo run --release -p phenocoder-io --example every_element [STORE]`; the store is made anew.

#![expect(clippy::print_stdout, reason = "an example prints")]

use std::error::Error;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch};
use ndarray::{Array2, Array3, Array4};
use phenocoder_core::{Categorical, Column, NoProgress};
use phenocoder_io::{
    Annotation, BoundingBox, ContainerVersion, Geometries, ImageWriteOptions, LabelWriteOptions,
    PointsData, PointsWriteOptions, Pyramid, ShapesData, ShapesWriteOptions, Store, TableData,
    WriteMode, column_to_arrow, validate, verify,
};

/// Micrometers along a pixel.
const PIXEL: f64 = 0.5;

fn main() -> Result<(), Box<dyn Error>> {
    let scratch = tempfile::tempdir()?;
    let path = match std::env::args().nth(1) {
        Some(path) => path.into(),
        None => scratch.path().join("tissue.zarr"),
    };
    let mut store = Store::create(&path, ContainerVersion::V02)?;

    // An image of two channels with a pyramid, and the mask of four cells.
    let pixels = Array4::from_shape_fn((2, 1, 1024, 1024), |(c, _, y, x)| {
        (1000 * c + (x / 16) * (y / 16) % 997) as u16
    });
    let options = ImageWriteOptions::new(phenocoder_core::DataType::UInt16)
        .with_channel_labels(vec!["DAPI".into(), "CD3".into()])
        .with_scale([1.0, PIXEL, PIXEL])
        .with_pyramid(Pyramid::Halving);
    store.write_pixels("stain", pixels.view(), &options, &NoProgress)?;
    let mask = Array3::from_shape_fn((1, 1024, 1024), |(_, y, x)| {
        (1 + x / 512 + 2 * (y / 512)) as u32
    });
    let options = LabelWriteOptions::default().with_scale([1.0, PIXEL, PIXEL]);
    store.write_label_pixels("cells", mask.view(), &options, &NoProgress)?;

    // Transcripts with their gene, and the outlines of two regions.
    let along = |factor: f64| -> ArrayRef {
        Arc::new(Float64Array::from_iter_values(
            (0..500).map(|i| f64::from(i) * factor),
        ))
    };
    let genes = (0..500).map(|i| if i % 3 == 0 { "CD3E" } else { "ACTB" });
    let genes = column_to_arrow(
        "gene",
        &Column::Categorical(Categorical::from_labels(genes)),
    )?;
    let transcripts =
        RecordBatch::try_from_iter([("x", along(1.0)), ("y", along(0.5)), ("gene", genes)])?;
    let transcripts = PointsData::new(transcripts).with_feature_key("gene");
    store.write_points("transcripts", &transcripts, &PointsWriteOptions::default())?;
    let mut outlines = Geometries::new(2)?;
    for left in [0.0, 300.0] {
        let ring = [
            left,
            0.0,
            left + 200.0,
            0.0,
            left + 200.0,
            200.0,
            left,
            200.0,
            left,
            0.0,
        ];
        outlines.push_polygon([ring.as_slice()])?;
    }
    store.write_shapes(
        "regions",
        &ShapesData::new(outlines),
        &ShapesWriteOptions::default(),
    )?;

    // A table with a row per cell of the mask.
    let names = (1..=4).map(|id| format!("cell_{id}")).collect();
    let table = TableData::new(
        names,
        vec!["area".into()],
        Some(Array2::from_elem((4, 1), 262_144.0).into()),
    )
    .with_obs_column(
        "region",
        Column::Categorical(Categorical::from_labels(["cells"; 4])),
    )?
    .with_obs_column("instance_id", Column::Int(vec![1, 2, 3, 4]))?
    .with_annotation(Annotation {
        regions: vec!["cells".into()],
        region_key: "region".into(),
        instance_key: "instance_id".into(),
    });
    store.write_table("features", &table, WriteMode::Create)?;

    // Opened again: what lies in a box of micrometers?
    let store = Store::open(&path)?;
    let region = BoundingBox::new("global", &["x", "y"], &[100.0, 50.0], &[150.0, 70.0])?;
    let image = store.image("stain")?;
    println!("levels         {}", image.n_levels());
    if let Some(window) = image.region_within(&region)? {
        let mut pixels = vec![0_u16; window.checked_len().unwrap_or(0)];
        image.read_typed(&window, &mut pixels)?;
        println!(
            "pixels         {} in x {:?}, y {:?}",
            pixels.len(),
            window.x,
            window.y
        );
    }
    let found = store
        .points("transcripts")?
        .read_within(&["x", "y", "gene"], &region)?;
    println!("transcripts    {}", found.num_rows());
    let found = store.shapes("regions")?.read_within(&region)?;
    println!("regions        {}", found.n_rows());
    println!("cells          {}", store.table("features")?.n_obs());

    let checked = verify(&store, &NoProgress)?;
    println!(
        "verified       {} chunks and {} rows, certain: {}",
        checked.chunks,
        checked.rows,
        checked.is_certain()
    );
    assert!(validate(&store).is_empty() && checked.violations.is_empty());
    Ok(())
}

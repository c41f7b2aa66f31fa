//! Statistics of an image in memory and patches cut from it.

#![allow(clippy::unwrap_used, reason = "the data is valid")]

use std::collections::BTreeMap;
use std::sync::Arc;

use divan::Bencher;
use divan::counter::ItemsCount;
use ndarray::Array2;
use phenocoder_benches::{SEED, pixels};
use phenocoder_core::{Categorical, Cells, Column, Coords, MemoryImage, NoProgress, Unit};
use phenocoder_patches::{
    Images, MemorySink, PatchConfig, Scaling, ScalingMode, StatisticsConfig, extract_patches,
    image_statistics,
};

const SIDE: usize = 2_048;

fn main() {
    divan::main();
}

/// An image of four channels.
fn image() -> MemoryImage {
    let names = (0..4).map(|c| format!("channel {c}")).collect();
    MemoryImage::new("image", pixels((4, 1, SIDE, SIDE)), names).unwrap()
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn statistics_of_2048x2048x4(bencher: Bencher<'_, '_>) {
    let image = image();
    let config = StatisticsConfig::default();
    bencher
        .counter(ItemsCount::new(4 * SIDE * SIDE))
        .bench_local(|| image_statistics(&image, "s", &config, &NoProgress).unwrap());
}

/// Two thousand patches, also across the border.
#[divan::bench(args = [32, 128], sample_count = 5, sample_size = 1)]
fn extract_2000_patches_side(bencher: Bencher<'_, '_>, side: usize) {
    let n = 2_000;
    let image = image();
    let statistics = image_statistics(&image, "s", &StatisticsConfig::default(), &NoProgress);
    let scaling = Scaling::fit(&statistics.unwrap(), ScalingMode::PerSample).unwrap();
    let images: Images = BTreeMap::from([("s".to_owned(), Arc::new(image) as _)]);
    let mut stream = SEED.stream("cells", 0);
    let points = Array2::from_shape_simple_fn((n, 2), || stream.uniform_in(0.0, SIDE as f64 - 1.0));
    let cells = Cells::new(
        Column::Int((1..=n as i64).collect()),
        Categorical::from_labels((0..n).map(|_| "s")),
        Coords::new(points, Unit::Pixel).unwrap(),
    )
    .unwrap();
    let config = PatchConfig::new(side, side);
    bencher.counter(ItemsCount::new(n)).bench_local(|| {
        let mut sink = MemorySink::new();
        let report = extract_patches(
            &images,
            None,
            &cells,
            &scaling,
            &config,
            &mut sink,
            &NoProgress,
        );
        assert_eq!(report.unwrap().kept, n);
        sink
    });
}

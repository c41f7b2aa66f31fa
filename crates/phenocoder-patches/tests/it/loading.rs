//! The sources that networks read from.

use ndarray::{Array2, Array4};
use phenocoder_core::{PatchBatch, PatchShape, PatchSource, SourceError};
use phenocoder_patches::{ArraySource, Error, Merged, SetSource, Subset};

fn pixels(n: usize, offset: usize) -> Array4<f32> {
    Array4::from_shape_fn((n, 2, 3, 4), |(n, c, y, x)| {
        (1000 * (n + offset) + 100 * c + 10 * y + x) as f32
    })
}

fn conditions(n: usize, offset: usize) -> Array2<f32> {
    Array2::from_shape_fn((n, 2), |(n, k)| ((n + offset) * 2 + k) as f32)
}

fn source(n: usize, offset: usize) -> ArraySource {
    ArraySource::new(pixels(n, offset), conditions(n, offset)).unwrap()
}

#[test]
fn a_reader_of_channels_first_patches_becomes_a_source_of_channels_last_batches() {
    let all = pixels(5, 0);
    let reader = |numbers: &[usize]| Ok(all.select(ndarray::Axis(0), numbers));
    let set = SetSource::new(PatchShape::new(3, 4, 2), conditions(5, 0), reader);
    let batch = set.read(&[4, 1]).unwrap();
    assert_eq!(batch.pixels.shape(), [2, 3, 4, 2]);
    assert_eq!(batch.pixels[[0, 2, 3, 1]], 4123.0);
    assert_eq!(batch.conditions.row(1).to_vec(), [2.0, 3.0]);
    assert!(batch.pixels.is_standard_layout());
    assert_eq!(batch, source(5, 0).read(&[4, 1]).unwrap());
    assert!(set.read(&[5]).is_err());

    let turned = all.clone().permuted_axes([0, 2, 3, 1]);
    let reader = |numbers: &[usize]| Ok(turned.select(ndarray::Axis(0), numbers));
    let last = SetSource::channels_last(PatchShape::new(3, 4, 2), conditions(5, 0), reader);
    assert_eq!(last.read(&[4, 1]).unwrap(), batch);
    let reader = |numbers: &[usize]| Ok(all.select(ndarray::Axis(0), numbers));
    let wrong = SetSource::channels_last(PatchShape::new(3, 4, 2), conditions(5, 0), reader);
    assert!(wrong.read(&[0]).is_err());
}

#[test]
fn a_reader_that_returns_another_extent_is_an_error() {
    let reader = |numbers: &[usize]| Ok(Array4::zeros((numbers.len(), 2, 4, 3)));
    let set = SetSource::new(PatchShape::new(3, 4, 2), conditions(5, 0), reader);
    let error = set.read(&[0]).unwrap_err();
    assert_eq!(error.place(), "patch set");
    let broken = |_: &[usize]| Err(SourceError::new("disk", "gone"));
    let set = SetSource::new(PatchShape::new(3, 4, 2), conditions(5, 0), broken);
    assert_eq!(set.read(&[0]).unwrap_err().place(), "disk");
}

#[test]
fn merged_sources_serve_each_patch_of_its_own() {
    let parts: Vec<(String, Box<dyn PatchSource>)> = vec![
        ("a".into(), Box::new(source(3, 0))),
        ("empty".into(), Box::new(source(0, 0))),
        ("b".into(), Box::new(source(4, 3))),
    ];
    let merged = Merged::new(parts).unwrap();
    let whole = source(7, 0);
    let order = [6, 0, 3, 2, 3, 5];
    assert_eq!(merged.read(&order).unwrap(), whole.read(&order).unwrap());
    assert_eq!(merged.locate(3), Some((2, 0)));
    assert_eq!(merged.locate(7), None);
    assert_eq!(merged.describe(4), "patch 1 of dataset `b`");
    assert!(merged.read(&[7]).is_err());
}

#[test]
fn sources_that_differ_cannot_be_merged() {
    let small = PatchBatch::zeros(2, PatchShape::new(2, 4, 2), 2);
    let merged = Merged::new(vec![
        ("a".into(), Box::new(source(2, 0)) as Box<dyn PatchSource>),
        ("b".into(), Box::new(small)),
    ]);
    assert!(matches!(
        merged,
        Err(Error::DatasetMismatch {
            what: "patch extent",
            ..
        })
    ));
    let plain = PatchBatch::zeros(2, PatchShape::new(3, 4, 2), 0);
    let merged = Merged::new(vec![
        ("a".into(), Box::new(source(2, 0)) as Box<dyn PatchSource>),
        ("b".into(), Box::new(plain)),
    ]);
    assert!(matches!(
        merged,
        Err(Error::DatasetMismatch {
            what: "condition columns",
            ..
        })
    ));
    assert!(matches!(Merged::new(Vec::new()), Err(Error::Empty { .. })));
}

#[test]
fn a_subset_renumbers() {
    let some = Subset::new(source(6, 0), vec![5, 2]).unwrap();
    assert_eq!(
        some.read(&[1, 0]).unwrap(),
        source(6, 0).read(&[2, 5]).unwrap()
    );
    assert_eq!(some.describe(0), "patch 5");
    assert!(some.read(&[2]).is_err());
    assert!(Subset::new(source(6, 0), vec![6]).is_err());
}

#[test]
fn conditions_must_match_the_patches() {
    assert!(matches!(
        ArraySource::new(pixels(3, 0), conditions(2, 0)),
        Err(Error::Shape(_))
    ));
}

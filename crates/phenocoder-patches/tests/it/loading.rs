//! The sources that networks read from.

use ndarray::{Array2, Array4};
use phenocoder_core::{PatchBatch, PatchShape, PatchSource, SourceError};
use std::sync::atomic::{AtomicUsize, Ordering};

use phenocoder_core::{CancelToken, NoProgress, Seed};
use phenocoder_patches::views::{Transformed, ViewConfig};
use phenocoder_patches::{ArraySource, Cached, Error, Merged, SetSource, Subset};

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

/// A source that returns what the function makes of its batches.
struct Changed<F>(ArraySource, F);

impl<F: Fn(&mut PatchBatch) + Send + Sync> PatchSource for Changed<F> {
    fn len(&self) -> usize {
        PatchSource::len(&self.0)
    }

    fn shape(&self) -> PatchShape {
        self.0.shape()
    }

    fn n_conditions(&self) -> usize {
        self.0.n_conditions()
    }

    fn read(&self, patches: &[usize]) -> Result<PatchBatch, SourceError> {
        let mut batch = self.0.read(patches)?;
        (self.1)(&mut batch);
        Ok(batch)
    }
}

/// Views that tell patches and views apart.
fn add_views(batch: &mut PatchBatch, n: usize) {
    batch.views = (1..=n).map(|i| &batch.pixels + i as f32 / 8.0).collect();
}

#[test]
fn the_fingerprint_of_a_patch_set_tells_its_origin_its_extents_and_its_conditions() {
    let reader = |numbers: &[usize]| Ok(Array4::zeros((numbers.len(), 2, 3, 4)));
    let set = |shape, conditions, origin: &str| {
        let set = SetSource::new(shape, conditions, reader).with_origin(origin);
        set.fingerprint()
    };
    let shape = PatchShape::new(3, 4, 2);
    let first = set(shape, conditions(5, 0), "scaled by 1");
    assert_eq!(set(shape, conditions(5, 0), "scaled by 1"), first);
    let mut others = vec![
        set(shape, conditions(5, 0), "scaled by 2"),
        set(shape, conditions(6, 0), "scaled by 1"),
        set(shape, conditions(5, 1), "scaled by 1"),
        set(PatchShape::new(4, 3, 2), conditions(5, 0), "scaled by 1"),
        first,
    ];
    others.sort();
    others.dedup();
    assert_eq!(others.len(), 5);
}

#[test]
fn merged_sources_keep_their_views() {
    let part = |n, offset| {
        let changed = Changed(source(n, offset), |b: &mut PatchBatch| add_views(b, 2));
        Box::new(changed) as Box<dyn PatchSource>
    };
    let merged = Merged::new(vec![("a".into(), part(3, 0)), ("b".into(), part(4, 3))]).unwrap();
    let order = [6, 0, 3, 2];
    assert_eq!(
        merged.read(&order).unwrap(),
        part(7, 0).read(&order).unwrap()
    );
    let mixed = Merged::new(vec![
        ("a".into(), part(3, 0)),
        ("b".into(), Box::new(source(4, 3))),
    ])
    .unwrap();
    assert_eq!(mixed.read(&[4, 5]).unwrap().views.len(), 0);
    let error = mixed.read(&[1, 4]).unwrap_err();
    assert_eq!(error.place(), "dataset `b`");
    let text = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(text, "`views`: expected 2 entries, found 0");
}

#[test]
fn a_source_that_returns_other_patches_than_were_asked_for_is_an_error() {
    let lose = |b: &mut PatchBatch| {
        let axis = ndarray::Axis(0);
        b.pixels.remove_index(axis, 0);
        b.conditions.remove_index(axis, 0);
    };
    let widen = |b: &mut PatchBatch| b.conditions = Array2::zeros((b.len(), 3));
    let shrink = |b: &mut PatchBatch| b.views = vec![Array4::zeros((b.len(), 3, 3, 2))];
    type Change = fn(&mut PatchBatch);
    let changes: [(&str, Change); 3] = [
        ("patches", lose),
        ("conditions", widen),
        ("views[0]", shrink),
    ];
    for (what, change) in changes {
        let broken = || Changed(source(4, 0), change);
        let refused = |source: &dyn PatchSource, place: &str| {
            let error = source.read(&[2, 1]).unwrap_err();
            let cause = std::error::Error::source(&error).unwrap().to_string();
            assert!(
                cause.starts_with(&format!("`{what}`: expected shape")),
                "{cause}"
            );
            assert_eq!(error.place(), place);
        };
        refused(&Cached::new(broken(), 1 << 20), "cached patches");
        let merged = Merged::new(vec![("a".into(), Box::new(broken()) as _)]).unwrap();
        refused(&merged, "dataset `a`");
    }
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

/// Counts the patches that are read from it.
struct Counting {
    source: ArraySource,
    read: AtomicUsize,
}

impl Counting {
    fn new(n: usize) -> Self {
        Self {
            source: source(n, 0),
            read: AtomicUsize::new(0),
        }
    }
}

impl PatchSource for Counting {
    fn len(&self) -> usize {
        PatchSource::len(&self.source)
    }
    fn shape(&self) -> PatchShape {
        self.source.shape()
    }
    fn n_conditions(&self) -> usize {
        self.source.n_conditions()
    }
    fn read(&self, patches: &[usize]) -> Result<PatchBatch, SourceError> {
        self.read.fetch_add(patches.len(), Ordering::Relaxed);
        self.source.read(patches)
    }
}

/// The bytes of a patch with its conditions.
const ONE: usize = (2 * 3 * 4 + 2) * 4;

#[test]
fn a_cache_serves_the_same_patches_and_reads_those_it_keeps_once() {
    let plain = source(50, 0);
    for (bytes, capacity) in [(0, 0), (ONE - 1, 0), (20 * ONE + 7, 20), (usize::MAX, 50)] {
        let cached = Cached::new(Counting::new(50), bytes);
        assert_eq!(cached.capacity(), capacity);
        for epoch in 0..3 {
            let order = Seed::new(epoch).stream("order", 0).permutation(50);
            for numbers in order.chunks(8) {
                let mut twice = numbers.to_vec();
                twice.push(numbers[0]);
                assert_eq!(cached.read(&twice).unwrap(), plain.read(&twice).unwrap());
            }
        }
        assert_eq!(cached.kept(), capacity);
        // Seven batches in each epoch ask for one patch twice.
        let read = cached.source().read.load(Ordering::Relaxed);
        assert!(
            read >= 50 + 2 * (50 - capacity) && read <= 57 + 2 * (57 - capacity),
            "{read}"
        );
    }
}

#[test]
fn a_filled_cache_reads_nothing_more() {
    let cached = Cached::new(Counting::new(3000), usize::MAX);
    cached.fill(&NoProgress).unwrap();
    assert_eq!(cached.kept(), 3000);
    cached.read(&[2999, 0, 7]).unwrap();
    assert_eq!(cached.source().read.load(Ordering::Relaxed), 3000);
    let stopped = CancelToken::new();
    stopped.cancel();
    let cold = Cached::new(Counting::new(3000), usize::MAX);
    assert!(matches!(cold.fill(&stopped), Err(Error::Cancelled(_))));
    assert_eq!(cold.kept(), 0);
    let none = Cached::new(Counting::new(3000), 0);
    none.fill(&NoProgress).unwrap();
    assert_eq!(none.source().read.load(Ordering::Relaxed), 0);
}

#[test]
fn threads_that_share_a_cache_never_keep_more_than_it_holds() {
    let cached = Cached::new(Counting::new(200), 90 * ONE);
    let plain = source(200, 0);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (cached, plain) = (&cached, &plain);
            scope.spawn(move || {
                for round in 0..20 {
                    let mut stream = Seed::new(round).stream("numbers", thread);
                    let numbers: Vec<usize> = (0..16).map(|_| stream.below(200)).collect();
                    assert_eq!(
                        cached.read(&numbers).unwrap(),
                        plain.read(&numbers).unwrap()
                    );
                    assert!(cached.kept() <= 90);
                }
            });
        }
    });
    cached.read(&(0..200).collect::<Vec<_>>()).unwrap();
    assert_eq!(cached.kept(), 90);
}

#[test]
fn errors_pass_through_a_cache_and_leave_it_usable() {
    let fails = |numbers: &[usize]| match numbers.contains(&3) {
        true => Err(SourceError::new("disk", "gone")),
        false => Ok(pixels(9, 0).select(ndarray::Axis(0), numbers)),
    };
    let set = SetSource::new(PatchShape::new(3, 4, 2), conditions(9, 0), fails);
    let cached = Cached::new(set, usize::MAX);
    cached.read(&[1, 2]).unwrap();
    assert_eq!(cached.read(&[1, 3]).unwrap_err().place(), "disk");
    assert_eq!(
        cached.read(&[2, 4]).unwrap(),
        source(9, 0).read(&[2, 4]).unwrap()
    );
    assert_eq!(
        cached.read(&[9]).unwrap_err().place(),
        "cached patches, patch 9"
    );
}

#[test]
fn reading_orders_go_through_subsets_merged_cached_and_transformed_sources() {
    let parts: Vec<(String, Box<dyn PatchSource>)> = vec![
        ("a".into(), Box::new(source(2, 0))),
        (
            "b".into(),
            Box::new(Subset::new(source(3, 2), vec![2, 0, 1]).unwrap()),
        ),
    ];
    let merged = Merged::new(parts).unwrap();
    assert_eq!(merged.reading_order(), [0, 1, 3, 4, 2]);
    let shared = std::sync::Arc::new(Cached::new(merged, 0));
    assert_eq!(shared.reading_order(), [0, 1, 3, 4, 2]);
    let views = ViewConfig::default().build().unwrap();
    let transformed = Transformed::new(&shared, &views, Seed::new(1));
    assert_eq!(transformed.reading_order(), [0, 1, 3, 4, 2]);
}

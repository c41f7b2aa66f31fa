//! Unit tests of reading ahead.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use phenocoder_core::{CancelToken, PatchShape, Progress};

use super::*;
use crate::Error;

/// Patches whose pixel is their number.
fn patches(n: usize) -> PatchBatch {
    let mut patches = PatchBatch::zeros(n, PatchShape::new(1, 1, 1), 0);
    for i in 0..n {
        patches.pixels[[i, 0, 0, 0]] = i as f32;
    }
    patches
}

fn numbers(loaded: &Loaded<'_>) -> Vec<usize> {
    loaded.patches.pixels.iter().map(|&v| v as usize).collect()
}

/// What happens at a reading, by the first number read.
struct Source<F> {
    patches: PatchBatch,
    started: AtomicUsize,
    at_read: F,
}

impl<F: Fn(usize) -> Result<(), SourceError> + Send + Sync> Source<F> {
    fn new(n: usize, at_read: F) -> Self {
        Self {
            patches: patches(n),
            started: AtomicUsize::new(0),
            at_read,
        }
    }
}

impl<F: Fn(usize) -> Result<(), SourceError> + Send + Sync> PatchSource for Source<F> {
    fn len(&self) -> usize {
        PatchSource::len(&self.patches)
    }
    fn shape(&self) -> PatchShape {
        self.patches.shape()
    }
    fn n_conditions(&self) -> usize {
        0
    }
    fn read(&self, patches: &[usize]) -> Result<PatchBatch, SourceError> {
        self.started.fetch_add(1, Ordering::SeqCst);
        (self.at_read)(patches[0])?;
        self.patches.read(patches)
    }
}

const SETTINGS: [(usize, usize); 6] = [(0, 0), (1, 1), (2, 1), (1, 4), (3, 2), (9, 4)];

fn prefetch((batches, threads): (usize, usize)) -> Prefetch {
    Prefetch { batches, threads }
}

#[test]
fn batches_come_in_order_for_any_number_of_threads() {
    // Later batches are read faster than earlier ones.
    let slow = |first: usize| {
        thread::sleep(Duration::from_micros(50 * (first % 7) as u64));
        Ok(())
    };
    let source = Source::new(100, slow);
    let rows: Vec<usize> = (0..100).rev().collect();
    for setting in SETTINGS {
        let mut seen = Vec::new();
        let add = |patches: &mut PatchBatch, rows: &[usize]| {
            assert_eq!(patches.len(), rows.len());
            patches.pixels += 1.0;
            Ok(())
        };
        let collect = |i: usize, loaded: Loaded<'_>| {
            assert_eq!(i, seen.len() / 3);
            assert_eq!(loaded.rows.len(), loaded.patches.len());
            seen.extend(numbers(&loaded).into_iter().map(|v| v - 1));
            Ok(())
        };
        for_each_batch(&source, &rows, 3, prefetch(setting), add, collect).unwrap();
        assert_eq!(seen, rows, "{setting:?}");
    }
}

#[test]
fn no_more_batches_are_in_memory_than_asked_for() {
    for (ahead, threads) in SETTINGS {
        let source = Source::new(60, |_| Ok(()));
        let rows: Vec<usize> = (0..60).collect();
        let check = |i: usize, _: Loaded<'_>| {
            thread::sleep(Duration::from_micros(200));
            let started = source.started.load(Ordering::SeqCst);
            assert!(
                started <= i + 1 + ahead.max(1),
                "{started} started at batch {i}"
            );
            Ok(())
        };
        let ahead = prefetch((ahead, threads));
        for_each_batch(&source, &rows, 2, ahead, |_, _| Ok(()), check).unwrap();
        assert_eq!(source.started.load(Ordering::SeqCst), 30);
    }
}

#[test]
fn a_consumer_that_stops_ends_the_reading() {
    for setting in SETTINGS {
        for stop_at in [0, 1, 5] {
            let source = Source::new(1000, |_| Ok(()));
            let rows: Vec<usize> = (0..1000).collect();
            let token = CancelToken::new();
            let stop = |i: usize, _: Loaded<'_>| {
                if i == stop_at {
                    token.cancel();
                }
                Ok(token.check()?)
            };
            let ended = for_each_batch(&source, &rows, 1, prefetch(setting), |_, _| Ok(()), stop);
            assert!(matches!(ended, Err(Error::Cancelled(_))));
            // The threads have ended: nothing is read any more.
            let started = source.started.load(Ordering::SeqCst);
            assert!(
                started <= stop_at + 1 + setting.0.max(1),
                "{setting:?} {started}"
            );
        }
    }
}

#[test]
fn a_source_that_fails_in_the_middle_stops_with_its_error_after_all_before_it() {
    let fails = |first: usize| match first {
        // The later of the two errors is met first.
        12 => {
            thread::sleep(Duration::from_millis(5));
            Err(SourceError::new("twelve", "gone"))
        }
        14 => Err(SourceError::new("fourteen", "gone")),
        _ => Ok(()),
    };
    for setting in SETTINGS {
        let source = Source::new(100, fails);
        let rows: Vec<usize> = (0..100).collect();
        let mut seen = 0;
        let count = |_: usize, loaded: Loaded<'_>| {
            seen += loaded.patches.len();
            Ok(())
        };
        let ended = for_each_batch(&source, &rows, 2, prefetch(setting), |_, _| Ok(()), count);
        match ended {
            Err(Error::Source(error)) => assert_eq!(error.place(), "twelve"),
            other => panic!("{other:?}"),
        }
        assert_eq!(seen, 12);
    }
}

#[test]
fn a_transform_that_fails_stops_with_its_error() {
    let source = patches(10);
    let fails = |_: &mut PatchBatch, rows: &[usize]| match rows.contains(&5) {
        true => Err(SourceError::new("patch 5", "cannot be turned")),
        false => Ok(()),
    };
    let rows: Vec<usize> = (0..10).collect();
    let ended = for_each_batch(&source, &rows, 2, prefetch((2, 3)), fails, |_, _| Ok(()));
    assert!(matches!(ended, Err(Error::Source(error)) if error.place() == "patch 5"));
    let out_of_range = for_each_batch(
        &source,
        &[1, 99],
        1,
        prefetch((1, 1)),
        |_, _| Ok(()),
        |_, _| Ok(()),
    );
    assert!(matches!(out_of_range, Err(Error::Source(_))));
}

#[test]
fn a_panic_on_either_side_is_handed_on_and_deadlocks_nobody() {
    let rows: Vec<usize> = (0..100).collect();
    for setting in SETTINGS {
        let source = Source::new(100, |first| match first {
            40 => panic!("a broken source"),
            _ => Ok(()),
        });
        let run = || {
            for_each_batch(
                &source,
                &rows,
                2,
                prefetch(setting),
                |_, _| Ok(()),
                |_, _| Ok(()),
            )
        };
        assert!(catch_unwind(AssertUnwindSafe(run)).is_err());

        let source = patches(100);
        let each = |i: usize, _: Loaded<'_>| match i {
            3 => panic!("a broken consumer"),
            _ => Ok(()),
        };
        let run = || for_each_batch(&source, &rows, 2, prefetch(setting), |_, _| Ok(()), each);
        assert!(catch_unwind(AssertUnwindSafe(run)).is_err());
    }
}

#[test]
fn nothing_is_read_where_there_is_nothing() {
    let source = patches(3);
    let each = |_: usize, _: Loaded<'_>| -> Result<()> { panic!("no batch") };
    for setting in SETTINGS {
        for_each_batch(&source, &[], 2, prefetch(setting), |_, _| Ok(()), each).unwrap();
    }
}

#[test]
fn a_worker_of_the_pool_that_the_readers_need_does_not_block_it() {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    let source = Source::new(20, |first| match pool.install(|| first) {
        17 => Err(SourceError::new("seventeen", "gone")),
        _ => Ok(()),
    });
    let rows: Vec<usize> = (0..20).collect();
    let mut seen = 0;
    let ended = pool.install(|| {
        let count = |_: usize, _: Loaded<'_>| {
            seen += 1;
            Ok(())
        };
        for_each_batch(&source, &rows, 1, prefetch((2, 2)), |_, _| Ok(()), count)
    });
    assert!(matches!(ended, Err(Error::Source(error)) if error.place() == "seventeen"));
    assert_eq!(seen, 17);
}

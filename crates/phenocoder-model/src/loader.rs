//! Reads batches ahead on a thread.

use std::sync::mpsc::sync_channel;
use std::thread;

use phenocoder_core::{PatchBatch, PatchSource, SourceError};

use crate::Result;

/// A batch that was read, with the numbers of its patches.
pub(crate) struct Loaded<'a> {
    pub(crate) rows: &'a [usize],
    pub(crate) patches: PatchBatch,
}

/// Calls `each` with the batches of `rows` in their order while the next `ahead` are read on another thread.
///
/// `prepare` runs on the reading thread; an error of `each` stops the reading.
pub(crate) fn for_each_batch(
    source: &dyn PatchSource,
    rows: &[usize],
    batch_size: usize,
    ahead: usize,
    prepare: impl Fn(&mut PatchBatch, &[usize]) -> Result<(), SourceError> + Send,
    mut each: impl FnMut(usize, Loaded<'_>) -> Result<()>,
) -> Result<()> {
    let batches = || rows.chunks(batch_size.max(1));
    thread::scope(|scope| {
        let (sender, receiver) = sync_channel::<Result<PatchBatch, SourceError>>(ahead);
        scope.spawn(move || {
            for rows in batches() {
                let read = source.read(rows).and_then(|mut patches| {
                    if patches.len() != rows.len() {
                        let error = phenocoder_core::ShapeError::check_len(
                            "patches read",
                            rows.len(),
                            patches.len(),
                        );
                        return error
                            .map(|()| patches)
                            .map_err(|e| SourceError::new(source.describe(rows[0]), e));
                    }
                    prepare(&mut patches, rows)?;
                    Ok(patches)
                });
                let failed = read.is_err();
                // The receiver hangs up when the work has stopped.
                if sender.send(read).is_err() || failed {
                    break;
                }
            }
        });
        for (i, (rows, read)) in batches().zip(receiver).enumerate() {
            each(
                i,
                Loaded {
                    rows,
                    patches: read?,
                },
            )?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use phenocoder_core::PatchShape;

    use super::*;
    use crate::Error;

    #[test]
    fn batches_come_in_order_and_errors_stop_them() {
        let mut patches = PatchBatch::zeros(10, PatchShape::new(1, 1, 1), 0);
        for i in 0..10 {
            patches.pixels[[i, 0, 0, 0]] = i as f32;
        }
        let rows: Vec<usize> = (0..10).rev().collect();
        let mut seen = Vec::new();
        let collect = |_: usize, loaded: Loaded<'_>| {
            seen.extend(loaded.patches.pixels.iter().map(|&v| v as usize));
            Ok(())
        };
        for_each_batch(&patches, &rows, 3, 2, |_, _| Ok(()), collect).unwrap();
        assert_eq!(seen, rows);

        let mut count = 0;
        let stop = |i: usize, _: Loaded<'_>| {
            count += 1;
            if i == 1 {
                return Err(phenocoder_core::Cancelled.into());
            }
            Ok(())
        };
        let error = for_each_batch(&patches, &rows, 3, 1, |_, _| Ok(()), stop).unwrap_err();
        assert!(matches!(error, Error::Cancelled(_)));
        assert_eq!(count, 2);

        let error = for_each_batch(&patches, &[1, 99], 1, 1, |_, _| Ok(()), |_, _| Ok(()));
        assert!(matches!(error, Err(Error::Source(_))));
    }
}

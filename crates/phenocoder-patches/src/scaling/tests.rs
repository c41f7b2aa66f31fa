//! Unit tests of the scaling.

use super::*;

fn row(sample: &str, channel: usize, z: usize, low: f64, high: f64, max: f64) -> SliceStatistics {
    SliceStatistics {
        sample: sample.to_owned(),
        channel,
        channel_name: format!("c{channel}"),
        z,
        mean: 0.0,
        std: 0.0,
        median: 0.0,
        mad: 0.0,
        mad_compat: None,
        min: 0.0,
        max,
        percentile_low: low,
        percentile_high: high,
        n: 10,
        n_foreground: 5,
    }
}

#[test]
fn a_range_spans_all_slices_of_its_sample_or_of_all_samples() {
    let rows = [
        row("A", 0, 0, 1.0, 5.0, 9.0),
        row("A", 0, 1, 2.0, 8.0, 9.0),
        row("B", 0, 0, 0.5, 6.0, 9.0),
    ];
    let per_sample = Scaling::fit(&rows, ScalingMode::PerSample).unwrap();
    let range = per_sample.ranges("A").unwrap()[0];
    assert_eq!((range.low, range.high), (1.0, 8.0));
    let global = Scaling::fit(&rows, ScalingMode::Global).unwrap();
    for sample in ["A", "B", "never seen"] {
        let range = global.ranges(sample).unwrap()[0];
        assert_eq!((range.low, range.high), (0.5, 8.0));
    }
    let error = per_sample.ranges("C").unwrap_err();
    assert!(matches!(error, Error::UnknownSample { .. }));
    let error = per_sample.apply("A", 1, 0.0).unwrap_err();
    assert!(matches!(
        error,
        Error::UnknownChannel {
            channel: 1,
            channels: 1
        }
    ));
}

#[test]
fn values_are_clipped_to_zero_and_one() {
    let range = ChannelRange {
        low: 2.0,
        high: 4.0,
        degenerate: false,
    };
    let scaled = [0.0, 2.0, 2.5, 4.0, 9.0].map(|v| range.apply(v));
    assert_eq!(scaled, [0.0, 0.0, 0.25, 1.0, 1.0]);
}

#[test]
fn a_range_without_extent_widens_and_the_compat_one_binarizes() {
    let rows = [
        row("A", 0, 0, 0.0, 0.0, 50.0),
        row("A", 1, 0, 0.0, 5.0, 50.0),
    ];
    let wide = Scaling::fit(&rows, ScalingMode::PerSample).unwrap();
    assert_eq!(wide.apply("A", 0, 25.0).unwrap(), 0.5);
    assert_eq!(wide.degenerate(), [("A".to_owned(), 0)]);
    let compat = Scaling::fit_with(&rows, ScalingMode::PerSample, Degenerate::AddOne).unwrap();
    assert_eq!(compat.apply("A", 0, 25.0).unwrap(), 1.0);
    assert_eq!(compat.apply("A", 0, 0.0).unwrap(), 0.0);
    let flat = Scaling::fit(&[row("A", 0, 0, 0.0, 0.0, 0.0)], ScalingMode::PerSample).unwrap();
    assert_eq!(flat.apply("A", 0, 3.0).unwrap(), 0.0);
}

#[test]
fn slices_without_foreground_do_not_count() {
    let rows = [
        row("A", 0, 0, f64::NAN, f64::NAN, 0.0),
        row("A", 0, 1, 3.0, 7.0, 9.0),
    ];
    let scaling = Scaling::fit(&rows, ScalingMode::PerSample).unwrap();
    let range = scaling.ranges("A").unwrap()[0];
    assert_eq!((range.low, range.high, range.degenerate), (3.0, 7.0, false));
    let nothing =
        Scaling::fit_with(&rows[..1], ScalingMode::PerSample, Degenerate::AddOne).unwrap();
    let range = nothing.ranges("A").unwrap()[0];
    assert_eq!((range.low, range.high, range.degenerate), (0.0, 1.0, true));
}

#[test]
fn incomplete_statistics_are_errors() {
    assert!(matches!(
        Scaling::fit(&[], ScalingMode::Global),
        Err(Error::Empty { .. })
    ));
    let rows = [
        row("A", 0, 0, 0.0, 1.0, 1.0),
        row("A", 1, 0, 0.0, 1.0, 1.0),
        row("B", 1, 0, 0.0, 1.0, 1.0),
    ];
    let error = Scaling::fit(&rows, ScalingMode::Global).unwrap_err();
    assert!(matches!(error, Error::MissingStatistics { sample, channel: 0 } if sample == "B"));
    let mut other = row("B", 0, 0, 0.0, 1.0, 1.0);
    other.channel_name = "x".to_owned();
    let error =
        Scaling::fit(&[row("A", 0, 0, 0.0, 1.0, 1.0), other], ScalingMode::Global).unwrap_err();
    assert!(matches!(error, Error::Channels { .. }));
}

#[test]
fn a_scaling_is_extended_by_new_samples_and_survives_being_written_down() {
    let mut old = Scaling::fit(
        &[row("A", 0, 0, 0.0, 1.0 / 3.0, 1.0)],
        ScalingMode::PerSample,
    )
    .unwrap();
    let new = Scaling::fit(
        &[row("A", 0, 0, 0.0, 9.0, 9.0), row("B", 0, 0, 0.0, 4.0, 9.0)],
        ScalingMode::PerSample,
    )
    .unwrap();
    old.extend(&new).unwrap();
    assert_eq!(old.samples().collect::<Vec<_>>(), ["A", "B"]);
    assert_eq!(old.ranges("A").unwrap()[0].high, 1.0 / 3.0);
    let old = &mut old.with_statistics(StatisticsConfig::default().with_percentile(2.0));
    let text = serde_json::to_string(&old).unwrap();
    assert_eq!(&serde_json::from_str::<Scaling>(&text).unwrap(), old);
    let other =
        Scaling::from_ranges(ScalingMode::PerSample, vec!["x".into()], BTreeMap::new()).unwrap();
    assert!(old.extend(&other).is_err());
}

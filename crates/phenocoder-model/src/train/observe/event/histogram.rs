//! Histograms: `HistogramProto` of TensorFlow's `histogram.proto`.

use super::{Message, event};

/// Buckets between the smallest and the largest value; TensorBoard shows 30.
const BUCKETS: usize = 60;

/// An event with the distribution of the finite values; none when there are none.
pub(in crate::train::observe) fn histogram(
    wall_time: f64,
    step: u64,
    tag: &str,
    values: &[f32],
) -> Option<Vec<u8>> {
    let finite = || {
        values
            .iter()
            .filter(|v| v.is_finite())
            .map(|&v| f64::from(v))
    };
    let (min, max) = finite().fold((f64::INFINITY, f64::NEG_INFINITY), |(min, max), v| {
        (min.min(v), max.max(v))
    });
    if min > max {
        return None;
    }
    let width = (max - min) / BUCKETS as f64;
    let n = if width > 0.0 { BUCKETS } else { 1 };
    let mut counts = vec![0.0; n];
    let (mut sum, mut squares) = (0.0, 0.0);
    for value in finite() {
        // The largest value belongs to the last bucket.
        let bucket = if n > 1 {
            ((value - min) / width) as usize
        } else {
            0
        };
        counts[bucket.min(n - 1)] += 1.0;
        sum += value;
        squares += value * value;
    }
    let limits = (1..=n).map(|i| if i == n { max } else { min + width * i as f64 });
    let histogram = Message::default()
        .double(1, min)
        .double(2, max)
        .double(3, counts.iter().sum())
        .double(4, sum)
        .double(5, squares)
        .doubles(6, limits)
        .doubles(7, counts)
        .done();
    let value = Message::default()
        .bytes(1, tag.as_bytes())
        .bytes(5, &histogram);
    Some(event(wall_time, step, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The doubles of the histogram: five numbers, then both lists.
    fn read(message: &[u8], tag: &str) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
        let at = message.windows(tag.len()).position(|w| w == tag.as_bytes());
        let mut rest = &message[at.unwrap() + tag.len()..];
        let mut byte = || {
            let (first, after) = rest.split_first().unwrap();
            rest = after;
            *first
        };
        assert_eq!(byte(), 5 << 3 | 2);
        while byte() >= 0x80 {}
        let mut numbers = Vec::new();
        let double = |bytes: &[u8]| f64::from_le_bytes(bytes.try_into().unwrap());
        for field in 1..=5 {
            assert_eq!(rest[0], field << 3 | 1);
            numbers.push(double(&rest[1..9]));
            rest = &rest[9..];
        }
        let mut list = |field: u8| {
            assert_eq!(rest[0], field << 3 | 2);
            let (length, skip) = match rest[1] {
                low if low < 0x80 => (low as usize, 2),
                low => (low as usize - 0x80 + (rest[2] as usize) * 0x80, 3),
            };
            let values = rest[skip..skip + length].chunks(8).map(double).collect();
            rest = &rest[skip + length..];
            values
        };
        (numbers, list(6), list(7))
    }

    #[test]
    fn buckets_hold_every_finite_value_once() {
        let values: Vec<f32> = (0..=120).map(|i| i as f32).chain([f32::NAN]).collect();
        let message = histogram(0.0, 1, "tag", &values).unwrap();
        let (numbers, limits, counts) = read(&message, "tag");
        let squares: f64 = (0..=120).map(|i| f64::from(i * i)).sum();
        assert_eq!(numbers, [0.0, 120.0, 121.0, 7260.0, squares]);
        assert_eq!((limits.len(), limits[0], limits[59]), (60, 2.0, 120.0));
        assert_eq!((counts[0], counts[58], counts[59]), (2.0, 2.0, 3.0));
    }

    #[test]
    fn one_value_makes_one_bucket_and_none_makes_none() {
        let message = histogram(0.0, 1, "tag", &[3.0, 3.0]).unwrap();
        let (_, limits, counts) = read(&message, "tag");
        assert_eq!((limits, counts), (vec![3.0], vec![2.0]));
        assert_eq!(histogram(0.0, 1, "tag", &[f32::INFINITY]), None);
        assert_eq!(histogram(0.0, 1, "tag", &[]), None);
    }
}

//! Which order statistics a quantile needs and how they combine.

/// A quantile by linear interpolation between neighbouring order statistics.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Quantile {
    /// The lower rank, counted from 0.
    pub(super) low: u64,
    /// The upper rank.
    pub(super) high: u64,
    weight: f64,
}

impl Quantile {
    /// The quantile `q` in `[0, 1]` of `n ≥ 1` values: the position is `(n − 1)·q` (method 7 of Hyndman and Fan 1996,
    /// doi:10.1080/00031305.1996.10473566; numpy's `linear`).
    pub(super) fn new(n: u64, q: f64) -> Self {
        let last = n.saturating_sub(1);
        let position = last as f64 * q;
        let low = (position.floor() as u64).min(last);
        Self {
            low,
            high: (low + 1).min(last),
            weight: position - low as f64,
        }
    }

    /// The median of `n` values: the mean of the two middle ones.
    pub(super) fn median(n: u64) -> Self {
        let last = n.saturating_sub(1);
        Self {
            low: last / 2,
            high: n / 2,
            weight: if n.is_multiple_of(2) { 0.5 } else { 0.0 },
        }
    }

    /// The value between the two order statistics; rounded as numpy does, from the nearer end.
    pub(super) fn interpolate(&self, low: f64, high: f64) -> f64 {
        let step = high - low;
        if self.weight >= 0.5 {
            high - step * (1.0 - self.weight)
        } else {
            low + step * self.weight
        }
    }

    /// The same quantile of the values that remain above the `offset` smallest.
    pub(super) fn above(self, offset: u64) -> Self {
        Self {
            low: self.low + offset,
            high: self.high + offset,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_are_the_extremes() {
        for n in [1, 2, 7] {
            assert_eq!(Quantile::new(n, 0.0).low, 0);
            let top = Quantile::new(n, 1.0);
            assert_eq!((top.low, top.weight), (n - 1, 0.0));
        }
    }

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        let m = Quantile::median(4);
        assert_eq!((m.low, m.high), (1, 2));
        assert_eq!(m.interpolate(3.0, 4.0), 3.5);
        let m = Quantile::median(5);
        assert_eq!((m.low, m.high), (2, 2));
    }
}

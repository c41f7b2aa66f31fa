//! Axes: ranges, round ticks and their labels.

/// A tick and its label.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tick {
    pub(crate) value: f64,
    pub(crate) label: String,
}

/// The range of an axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Axis {
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) log: bool,
    /// Whether the axis runs from its greatest to its least number.
    pub(crate) flipped: bool,
}

/// The least and the greatest finite number, or `None` without any.
pub(crate) fn extent(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    values
        .into_iter()
        .filter(|v| v.is_finite())
        .fold(None, |range, v| match range {
            None => Some((v, v)),
            Some((low, high)) => Some((v.min(low), v.max(high))),
        })
}

impl Axis {
    /// An axis that holds `extent` with a margin of this fraction on both sides.
    pub(crate) fn around(extent: Option<(f64, f64)>, margin: f64) -> Self {
        let (low, high) = extent.unwrap_or((0.0, 1.0));
        let half = if high > low {
            // The halves are taken first: the whole may exceed the greatest number.
            (high / 2.0 - low / 2.0) * (1.0 + 2.0 * margin)
        } else if low == 0.0 {
            0.5
        } else {
            low.abs() * 0.1
        };
        let middle = low / 2.0 + high / 2.0;
        Self::linear(
            (middle - half).max(f64::MIN / 4.0),
            (middle + half).min(f64::MAX / 4.0),
        )
    }

    /// A logarithmic axis that holds the positive numbers of `extent`.
    pub(crate) fn logarithmic(extent: Option<(f64, f64)>, margin: f64) -> Self {
        let (low, high) = extent.unwrap_or((1.0, 10.0));
        let axis = Self::around(Some((low.log10(), high.log10())), margin);
        let (mut low, mut high) = (axis.min, axis.max);
        if high - low < 0.2 {
            (low, high) = (low - 0.1, high + 0.1);
        }
        Self {
            min: low,
            max: high,
            log: true,
            flipped: false,
        }
    }

    /// The place of a value, 0 at the start and 1 at the end; `None` for what the axis cannot show.
    pub(crate) fn position(&self, value: f64) -> Option<f64> {
        let value = if self.log { value.log10() } else { value };
        let t = (value - self.min) / (self.max - self.min);
        t.is_finite()
            .then_some(if self.flipped { 1.0 - t } else { t })
    }

    /// A linear axis from `min` to `max`.
    pub(crate) const fn linear(min: f64, max: f64) -> Self {
        Self {
            min,
            max,
            log: false,
            flipped: false,
        }
    }

    /// About `count` round ticks.
    pub(crate) fn ticks(&self, count: usize) -> Vec<Tick> {
        if self.log {
            self.log_ticks(count)
        } else {
            linear_ticks(self.min, self.max, count)
        }
    }

    fn log_ticks(&self, count: usize) -> Vec<Tick> {
        if self.max - self.min < 1.0 {
            // Less than a decade: round numbers, placed on the logarithmic scale.
            return linear_ticks(10_f64.powf(self.min), 10_f64.powf(self.max), count);
        }
        let (first, last) = (self.min.ceil() as i32, self.max.floor() as i32);
        let step = ((last - first) as usize / count.max(1)).max(1);
        let few = last - first < 2;
        let mut ticks = Vec::new();
        for exponent in (first - 1..=last).filter(|e| (e - first).rem_euclid(step as i32) == 0) {
            let factors: &[f64] = if few { &[1.0, 2.0, 5.0] } else { &[1.0] };
            for factor in factors {
                let value = factor * 10_f64.powi(exponent);
                let place = value.log10();
                if (self.min..=self.max).contains(&place) {
                    let label = if (-3..=4).contains(&exponent) {
                        fixed(value, (-exponent).max(0) as usize)
                    } else {
                        scientific(*factor, exponent)
                    };
                    ticks.push(Tick { value, label });
                }
            }
        }
        ticks
    }
}

fn linear_ticks(min: f64, max: f64, count: usize) -> Vec<Tick> {
    let step = round_step((max - min) / count.max(1) as f64);
    if !(step.is_finite() && step > 0.0) {
        return Vec::new();
    }
    let tolerance = 1e-6;
    let (first, last) = (
        (min / step - tolerance).ceil(),
        (max / step + tolerance).floor(),
    );
    let largest = min.abs().max(max.abs());
    let steps = (last - first).clamp(0.0, 1_000.0) as usize;
    (0..=steps)
        .map(|i| {
            let value = (first + i as f64) * step;
            Tick {
                value,
                label: label(value, step, largest),
            }
        })
        .filter(|tick| (min - step * tolerance..=max + step * tolerance).contains(&tick.value))
        .collect()
}

/// 1, 2, 2.5 or 5 times a power of ten, at least `raw`.
fn round_step(raw: f64) -> f64 {
    let power = 10_f64.powf(raw.log10().floor());
    let factor = [1.0, 2.0, 2.5, 5.0]
        .into_iter()
        .find(|factor| factor * power >= raw * (1.0 - 1e-9))
        .unwrap_or(10.0);
    factor * power
}

/// A tick's number with as many decimals as the step needs.
fn label(value: f64, step: f64, largest: f64) -> String {
    if !(1e-3..1e6).contains(&largest) {
        if value == 0.0 {
            return "0".to_owned();
        }
        let exponent = value.abs().log10().floor() as i32;
        let factor = value / 10_f64.powi(exponent);
        return scientific((factor * 1e3).round() / 1e3, exponent);
    }
    let mut decimals = 0;
    while decimals < 9 {
        let scaled = step * 10_f64.powi(decimals);
        if (scaled - scaled.round()).abs() < 1e-6 * scaled {
            break;
        }
        decimals += 1;
    }
    fixed(value, decimals as usize)
}

/// A number with this many decimals and a true minus sign.
pub(crate) fn fixed(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    let zero = text.chars().all(|c| matches!(c, '-' | '0' | '.'));
    match text.strip_prefix('-') {
        Some(rest) if zero => rest.to_owned(),
        Some(rest) => format!("−{rest}"),
        None => text,
    }
}

/// `factor` times ten to the power of `exponent`, such as `2.5e−7`.
fn scientific(factor: f64, exponent: i32) -> String {
    let sign = |negative| if negative { "−" } else { "" };
    format!(
        "{}{}e{}{}",
        sign(factor < 0.0),
        factor.abs(),
        sign(exponent < 0),
        exponent.abs()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn labels(axis: Axis, count: usize) -> Vec<String> {
        axis.ticks(count).into_iter().map(|t| t.label).collect()
    }

    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!(
            labels(Axis::linear(-1.2, 1.1), 5),
            ["−1.0", "−0.5", "0.0", "0.5", "1.0"]
        );
        assert_eq!(labels(Axis::linear(0.0, 9.0), 5), ["0", "2", "4", "6", "8"]);
        assert_eq!(
            labels(Axis::linear(0.0, 3e6), 3),
            ["0", "1e6", "2e6", "3e6"]
        );
        assert_eq!(labels(Axis::linear(0.0, 0.8), 3), ["0.0", "0.5"]);
    }

    #[test]
    fn ticks_of_a_logarithmic_axis_are_powers_of_ten() {
        let axis = Axis::logarithmic(Some((1e-5, 10.0)), 0.0);
        assert_eq!(
            labels(axis, 8),
            ["1e−5", "1e−4", "0.001", "0.01", "0.1", "1", "10"]
        );
        assert_eq!(axis.position(0.01), Some(0.5));
        assert_eq!(axis.position(0.0), None);
        let short = Axis::logarithmic(Some((400.0, 700.0)), 0.0);
        assert!(labels(short, 5).contains(&"500".to_owned()));
    }

    #[test]
    fn one_value_gets_an_axis_around_it() {
        let axis = Axis::around(extent([5.0, f64::NAN, 5.0]), 0.05);
        assert!(axis.min < 5.0 && axis.max > 5.0);
        let middle = Axis::around(None, 0.1).position(0.5).unwrap();
        assert!((middle - 0.5).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn ticks_lie_on_the_axis_and_rise(
            low in -1e12..1e12_f64, size in 1e-6..1e12_f64, count in 2_usize..12,
        ) {
            let axis = Axis::linear(low, low + size);
            let ticks = axis.ticks(count);
            prop_assert!(ticks.len() <= count + 2);
            prop_assert!(ticks.windows(2).all(|w| w[0].value < w[1].value));
            for tick in ticks {
                let t = axis.position(tick.value).unwrap();
                prop_assert!((-0.01..=1.01).contains(&t), "{t}");
            }
        }
    }
}

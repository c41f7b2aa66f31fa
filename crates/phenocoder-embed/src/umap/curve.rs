//! From distance on the map to membership.

use serde::{Deserialize, Serialize};

use crate::ConfigError;

/// The curve `1 / (1 + a d^(2b))` that turns a distance on the map into a membership.
///
/// One that does not fall is not read from a file.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts")]
pub struct Curve {
    /// How soon the curve falls; positive.
    pub a: f64,
    /// How steeply it falls; positive.
    pub b: f64,
}

/// What was written, before it is known to fall.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    a: f64,
    b: f64,
}

impl TryFrom<Parts> for Curve {
    type Error = ConfigError;

    fn try_from(Parts { a, b }: Parts) -> Result<Self, ConfigError> {
        let curve = Self { a, b };
        curve.validate()?;
        Ok(curve)
    }
}

impl Curve {
    /// Checks that the curve falls.
    ///
    /// # Errors
    ///
    /// A [`ConfigError`] when `a` or `b` is not a positive number.
    pub fn validate(&self) -> Result<(), ConfigError> {
        for (value, setting) in [(self.a, "a"), (self.b, "b")] {
            let falls = value > 0.0 && value.is_finite();
            ConfigError::check(falls, setting, "a positive number", value)?;
        }
        Ok(())
    }

    /// The curve closest (least squares at 300 distances from 0 to three times `spread`) to the one that is 1 up to
    /// `min_dist` and falls as `exp(−(d − min_dist) / spread)` from there.
    ///
    /// Both must be finite, `spread` positive.
    ///
    /// # Examples
    ///
    /// ```
    /// let curve = phenocoder_embed::umap::Curve::fit(1.0, 0.1);
    /// assert!((curve.a - 1.5769434603).abs() < 1e-6 && (curve.b - 0.8950608779).abs() < 1e-6);
    /// ```
    #[doc(alias = "find_ab_params")]
    #[must_use]
    pub fn fit(spread: f64, min_dist: f64) -> Self {
        if (1e-3..=1e3).contains(&spread) {
            return Samples::new(spread, min_dist).closest();
        }
        // The search starts at a = b = 1, too far away for such a spread; the unit of length changes only `a`.
        let Self { a, b } = Samples::new(1.0, min_dist / spread).closest();
        Self {
            a: a * libm::pow(spread, -2.0 * b),
            b,
        }
    }

    /// The membership at a squared distance.
    #[must_use]
    pub fn at(&self, squared_distance: f64) -> f64 {
        1.0 / (1.0 + self.a * libm::pow(squared_distance, self.b))
    }
}

/// Distances, rising from 0, with the memberships that are wanted there.
struct Samples(Vec<(f64, f64)>);

impl Samples {
    fn new(spread: f64, min_dist: f64) -> Self {
        const POINTS: usize = 300;
        let sample = |i: usize| {
            let d = 3.0 * spread * i as f64 / (POINTS - 1) as f64;
            let wanted = if d < min_dist {
                1.0
            } else {
                libm::exp(-(d - min_dist) / spread)
            };
            (d, wanted)
        };
        Self((0..POINTS).map(sample).collect())
    }

    /// The sum of squares between a curve and the samples.
    fn cost(&self, curve: &Curve) -> f64 {
        let squares = self.0.iter().map(|&(d, y)| (curve.at(d * d) - y).powi(2));
        squares.sum()
    }

    /// The curve of the least cost, by Levenberg–Marquardt with two unknowns.
    fn closest(&self) -> Curve {
        let mut curve = Curve { a: 1.0, b: 1.0 };
        let (mut best, mut damping) = (self.cost(&curve), 1e-3);
        // Far fewer rounds are needed.
        for _ in 0..500 {
            let step = self.step(&curve, damping);
            let next = self.cost(&step);
            if step.a > 0.0 && step.b > 0.0 && next <= best {
                let done = (step.a - curve.a).abs() <= 1e-14 * step.a
                    && (step.b - curve.b).abs() <= 1e-14 * step.b;
                curve = step;
                best = next;
                damping = (damping * 0.1).max(1e-12);
                if done {
                    break;
                }
            } else {
                damping *= 10.0;
                if damping > 1e12 {
                    break;
                }
            }
        }
        curve
    }

    /// Where one damped step leads.
    fn step(&self, curve: &Curve, damping: f64) -> Curve {
        let (mut aa, mut ab, mut bb, mut ga, mut gb) = (0.0, 0.0, 0.0, 0.0, 0.0);
        // At distance 0 every curve is 1.
        for &(d, y) in &self.0[1..] {
            let power = libm::pow(d, 2.0 * curve.b);
            let q = 1.0 / (1.0 + curve.a * power);
            let (da, db) = (
                -q * q * power,
                -q * q * curve.a * power * 2.0 * libm::log(d),
            );
            aa += da * da;
            ab += da * db;
            bb += db * db;
            ga += da * (q - y);
            gb += db * (q - y);
        }
        let (daa, dbb) = (aa * (1.0 + damping), bb * (1.0 + damping));
        let determinant = daa * dbb - ab * ab;
        Curve {
            a: curve.a - (dbb * ga - ab * gb) / determinant,
            b: curve.b - (daa * gb - ab * ga) / determinant,
        }
    }
}

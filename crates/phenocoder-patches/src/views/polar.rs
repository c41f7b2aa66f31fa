//! The four ways a turned cell can still lie.

use ndarray::{Array3, ArrayView3, Axis};
use serde::{Deserialize, Serialize};

/// One of the mirror images of a patch that keep its axes.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_patches::views::Polar;
///
/// let patch = array![[[1.0_f32], [2.0]], [[3.0], [4.0]]];
/// assert_eq!(Polar::UpDown.apply(patch.view()), array![[[3.0], [4.0]], [[1.0], [2.0]]]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Polar {
    /// The patch itself.
    Identity,
    /// Rows in reverse.
    UpDown,
    /// Columns in reverse.
    LeftRight,
    /// Both in reverse: half a turn.
    HalfTurn,
}

impl Polar {
    /// All four, in the order in which ties are decided.
    pub const ALL: [Self; 4] = [
        Self::Identity,
        Self::UpDown,
        Self::LeftRight,
        Self::HalfTurn,
    ];

    /// Whether rows and whether columns are reversed.
    #[must_use]
    pub const fn reverses(self) -> (bool, bool) {
        match self {
            Self::Identity => (false, false),
            Self::UpDown => (true, false),
            Self::LeftRight => (false, true),
            Self::HalfTurn => (true, true),
        }
    }

    pub(super) const fn from_reverses(rows: bool, columns: bool) -> Self {
        match (rows, columns) {
            (false, false) => Self::Identity,
            (true, false) => Self::UpDown,
            (false, true) => Self::LeftRight,
            (true, true) => Self::HalfTurn,
        }
    }

    /// The mirror image; no value changes.
    ///
    /// # Shapes
    ///
    /// `patch` and result: `[y, x, c]`.
    #[must_use]
    pub fn apply(self, patch: ArrayView3<'_, f32>) -> Array3<f32> {
        let mut view = patch;
        let (rows, columns) = self.reverses();
        if rows {
            view.invert_axis(Axis(0));
        }
        if columns {
            view.invert_axis(Axis(1));
        }
        view.as_standard_layout().into_owned()
    }
}

/// By what a turned cell is told from its mirror images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PolarRule {
    /// The brighter half up, the brighter half left; the middle row or column of an odd number belongs to neither half.
    #[default]
    Mass,
    /// The long tail of the brightness down and right: third central moments along rows and along columns are not negative.
    ///
    /// For cells with a clear long axis whose halves are about equally bright.
    ThirdMoment,
}

impl PolarRule {
    /// The mirror image to take; where both are alike, the first in the order of [`Polar::ALL`].
    ///
    /// `channel`: the channel whose brightness counts, or none for the sum of all.
    ///
    /// # Shapes
    ///
    /// `patch`: `[y, x, c]`.
    ///
    /// # Examples
    ///
    /// ```
    /// use ndarray::array;
    /// use phenocoder_patches::views::{Polar, PolarRule};
    ///
    /// let patch = array![[[0.0_f32], [0.1]], [[0.2], [0.9]]];
    /// assert_eq!(PolarRule::Mass.choose(patch.view(), None), Polar::HalfTurn);
    /// ```
    #[must_use]
    pub fn choose(self, patch: ArrayView3<'_, f32>, channel: Option<usize>) -> Polar {
        let (height, width, _) = patch.dim();
        let mut rows = vec![0.0_f64; height];
        let mut columns = vec![0.0_f64; width];
        for ((y, x, c), &value) in patch.indexed_iter() {
            if channel.is_none_or(|channel| channel == c) {
                rows[y] += f64::from(value);
                columns[x] += f64::from(value);
            }
        }
        let wrong = |profile: &[f64]| match self {
            Self::Mass => {
                let half = profile.len() / 2;
                let sum = |part: &[f64]| part.iter().sum::<f64>();
                sum(&profile[..half]) < sum(&profile[profile.len() - half..])
            }
            Self::ThirdMoment => third_moment(profile) < 0.0,
        };
        Polar::from_reverses(wrong(&rows), wrong(&columns))
    }
}

/// The third central moment of a profile, 0 where there is no mass.
fn third_moment(profile: &[f64]) -> f64 {
    let mass: f64 = profile.iter().sum();
    if mass <= 0.0 {
        return 0.0;
    }
    let moment = |center: f64, power: i32| {
        let terms = profile.iter().enumerate();
        let sum: f64 = terms
            .map(|(i, m)| m * (i as f64 - center).powi(power))
            .sum();
        sum / mass
    };
    let mean = moment(0.0, 1);
    moment(mean, 3)
}

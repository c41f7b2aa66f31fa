//! Cutting samples into cubes.

use ndarray::ArrayView2;
use phenocoder_core::{Categorical, Coords, Seed, ShapeError};
use serde::{Deserialize, Serialize};

use crate::error::{ConfigError, Result};
use crate::neighbors::check_finite;

/// Where the first cube begins.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Origin {
    /// At this coordinate on every axis, the same for all samples.
    Fixed(f64),
    /// At the least coordinate of the sample's own points, as in the original.
    SampleMinimum,
}

/// How samples are cut into cubes.
///
/// # Examples
///
/// ```
/// use phenocoder_spatial::subunits::SubunitConfig;
///
/// let config = SubunitConfig::new(200.0).with_min_obs(10);
/// assert_eq!(config.max_obs, None);
/// assert!(SubunitConfig::new(0.0).validate().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SubunitConfig {
    /// The length of a cube's edge in the unit of the coordinates.
    pub size: f64,
    /// Where the first cube begins (default: at 0 on every axis).
    #[serde(default = "default_origin")]
    pub origin: Origin,
    /// Cubes with fewer points are no subunits (default 1).
    #[serde(default = "default_min_obs")]
    pub min_obs: usize,
    /// From cubes with more points so many are drawn (default: all are kept).
    #[serde(default)]
    pub max_obs: Option<usize>,
    /// What decides which points are drawn (default 0).
    #[serde(default)]
    pub seed: Seed,
}

fn default_origin() -> Origin {
    Origin::Fixed(0.0)
}

fn default_min_obs() -> usize {
    1
}

impl SubunitConfig {
    /// Cubes of this size, with the defaults of the fields for the rest.
    #[must_use]
    pub fn new(size: f64) -> Self {
        Self {
            size,
            origin: default_origin(),
            min_obs: default_min_obs(),
            max_obs: None,
            seed: Seed::default(),
        }
    }

    /// The same with another first cube.
    #[must_use]
    pub fn with_origin(mut self, origin: Origin) -> Self {
        self.origin = origin;
        self
    }

    /// The same with another least number of points.
    #[must_use]
    pub fn with_min_obs(mut self, min_obs: usize) -> Self {
        self.min_obs = min_obs;
        self
    }

    /// The same with another greatest number of points.
    #[must_use]
    pub fn with_max_obs(mut self, max_obs: Option<usize>) -> Self {
        self.max_obs = max_obs;
        self
    }

    /// The same with another seed.
    #[must_use]
    pub fn with_seed(mut self, seed: Seed) -> Self {
        self.seed = seed;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// A [`ConfigError`] that names the setting: a size that is no finite number > 0, an origin that is not finite,
    /// `max_obs` that is 0 or less than `min_obs`.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if !(self.size > 0.0 && self.size.is_finite()) {
            return Err(ConfigError::Length {
                setting: "size",
                value: self.size,
            });
        }
        match self.origin {
            Origin::Fixed(value) if !value.is_finite() => {
                return Err(ConfigError::NotFinite {
                    setting: "origin",
                    value,
                });
            }
            _ => {}
        }
        match self.max_obs {
            Some(0) => Err(ConfigError::Zero { setting: "max_obs" }),
            Some(high) if high < self.min_obs => Err(ConfigError::Bounds {
                lower: "min_obs",
                low: self.min_obs,
                upper: "max_obs",
                high,
            }),
            _ => Ok(()),
        }
    }
}

/// A cube of a sample.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Subunit {
    /// The name, `sample/i_j_k` with the steps from the origin along the axes.
    pub name: String,
    /// The sample.
    pub sample: String,
    /// The steps from the origin along the axes, in the order of the coordinates.
    pub key: Vec<i64>,
    /// The number of points in the cube.
    pub n_points: usize,
    /// The number of points kept, at most `max_obs`.
    pub n_obs: usize,
}

/// The cubes that samples were cut into.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Subunits {
    /// The subunit of every row; missing where the point has no sample, its cube has too few points, or it was not drawn.
    pub of_row: Categorical,
    /// The subunits, in the order of the categories: by sample, then by cube.
    pub subunits: Vec<Subunit>,
    /// The cubes that have fewer points than asked for.
    pub too_small: Vec<Subunit>,
    /// The number of points that were not drawn.
    pub not_drawn: usize,
}

/// Cuts every sample into axis-aligned cubes.
///
/// A point at x lies in the cube ⌊(x − origin) / size⌋ of every axis.
/// Which cube a point gets, what the cube is called and whether the point is drawn does not depend on the order of the rows.
/// The cost is O(n log n).
///
/// # Shapes
///
/// `points`: n; `samples`: n.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::{Categorical, Coords, Unit};
/// use phenocoder_spatial::subunits::{SubunitConfig, assign_subunits};
///
/// let points = Coords::new(array![[5.0, 5.0], [5.0, 25.0], [6.0, 4.0]], Unit::Micrometer)?;
/// let samples = Categorical::from_labels(["a", "a", "a"]);
/// let cut = assign_subunits(&points, &samples, &SubunitConfig::new(10.0).with_min_obs(2))?;
/// assert_eq!(cut.of_row.categories(), ["a/0_0"]);
/// assert_eq!(cut.of_row.codes(), [0, -1, 0]);
/// assert_eq!(cut.too_small[0].name, "a/0_2");
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
///
/// # Errors
///
/// [`crate::Error::Config`] for settings that make no sense, [`crate::Error::NotFinite`] for the first coordinate that is
/// not finite, [`crate::Error::Shape`] when there is not one sample per point.
///
/// # Differences from the original
///
/// Cubes begin at a fixed origin, so that those of different samples agree ([`Origin::SampleMinimum`] is the original's).
/// The original numbers the cubes in the order in which the rows meet them and draws points without a seed.
#[doc(alias = "subunit")]
pub fn assign_subunits(
    points: &Coords,
    samples: &Categorical,
    config: &SubunitConfig,
) -> Result<Subunits> {
    config.validate()?;
    ShapeError::check_len("samples", points.len(), samples.len())?;
    let points = points.view();
    check_finite(points)?;
    let mut rows: Vec<(usize, Vec<i64>, usize)> = Vec::new();
    let mut members = vec![Vec::new(); samples.categories().len()];
    for row in 0..points.nrows() {
        if let Some(sample) = samples.code(row) {
            members[sample].push(row);
        }
    }
    for (sample, members) in members.into_iter().enumerate() {
        let origin = origin(points, &members, config.origin);
        for row in members {
            let steps = points.row(row).into_iter().zip(&origin);
            let key = steps.map(|(x, o)| ((x - o) / config.size).floor() as i64);
            rows.push((sample, key.collect(), row));
        }
    }
    rows.sort_unstable();

    let mut codes = vec![-1; points.nrows()];
    let (mut subunits, mut too_small, mut not_drawn) = (Vec::new(), Vec::new(), 0);
    for cube in rows.chunk_by(|a, b| (a.0, &a.1) == (b.0, &b.1)) {
        let (sample, key, _) = &cube[0];
        let sample = &samples.categories()[*sample];
        let steps: Vec<String> = key.iter().map(ToString::to_string).collect();
        let mut subunit = Subunit {
            name: format!("{sample}/{}", steps.join("_")),
            sample: sample.clone(),
            key: key.clone(),
            n_points: cube.len(),
            n_obs: cube.len(),
        };
        if cube.len() < config.min_obs {
            subunit.n_obs = 0;
            too_small.push(subunit);
            continue;
        }
        let members: Vec<usize> = cube.iter().map(|&(_, _, row)| row).collect();
        let kept = draw(points, members, &subunit.name, config);
        not_drawn += cube.len() - kept.len();
        subunit.n_obs = kept.len();
        for row in kept {
            codes[row] = subunits.len() as i32;
        }
        subunits.push(subunit);
    }
    let names = subunits.iter().map(|s: &Subunit| s.name.clone()).collect();
    Ok(Subunits {
        of_row: Categorical::new(codes, names)?,
        subunits,
        too_small,
        not_drawn,
    })
}

fn origin(points: ArrayView2<'_, f64>, members: &[usize], origin: Origin) -> Vec<f64> {
    let least = |axis: usize| {
        let along = members.iter().map(|&row| points[[row, axis]]);
        along.fold(f64::INFINITY, f64::min)
    };
    match origin {
        Origin::Fixed(at) => vec![at; points.ncols()],
        Origin::SampleMinimum => (0..points.ncols()).map(least).collect(),
    }
}

/// The members that are kept, drawn in the order of their positions so that the order of the rows does not matter.
fn draw(
    points: ArrayView2<'_, f64>,
    mut members: Vec<usize>,
    name: &str,
    config: &SubunitConfig,
) -> Vec<usize> {
    let Some(most) = config.max_obs.filter(|&most| most < members.len()) else {
        return members;
    };
    members.sort_by(|&a, &b| {
        let pairs = points.row(a).into_iter().zip(points.row(b));
        let mut orders = pairs.map(|(a, b)| a.total_cmp(b));
        orders.find(|order| order.is_ne()).unwrap_or(a.cmp(&b))
    });
    let mut stream = config.seed.stream(&format!("subunit {name}"), 0);
    let chosen = stream.choose(members.len(), most);
    chosen.into_iter().map(|i| members[i]).collect()
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, Axis};
    use phenocoder_core::Unit;

    use super::*;

    fn random(n: usize) -> (Coords, Categorical) {
        let mut stream = Seed::new(1).stream("points", 0);
        let values = Array2::from_shape_simple_fn((n, 3), || stream.uniform_in(-50.0, 50.0));
        let samples = (0..n).map(|i| (i % 5 != 0).then(|| format!("s{}", i % 2)));
        (
            Coords::new(values, Unit::Pixel).unwrap(),
            Categorical::from_optional_labels(samples),
        )
    }

    #[test]
    fn every_rule_of_the_settings_is_checked() {
        let ok = SubunitConfig::new(1.0);
        assert_eq!(ok.validate(), Ok(()));
        for bad in [
            SubunitConfig::new(f64::NAN),
            SubunitConfig::new(-1.0),
            ok.clone().with_origin(Origin::Fixed(f64::INFINITY)),
            ok.clone().with_max_obs(Some(0)),
            ok.clone().with_min_obs(3).with_max_obs(Some(2)),
        ] {
            assert!(bad.validate().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_and_draws_do_not_depend_on_the_order_of_the_rows() {
        let (points, samples) = random(500);
        let config = SubunitConfig::new(40.0)
            .with_min_obs(3)
            .with_max_obs(Some(7));
        let cut = assign_subunits(&points, &samples, &config).unwrap();
        let order = Seed::new(2).stream("order", 0).permutation(500);
        let permuted = Coords::new(points.view().select(Axis(0), &order), Unit::Pixel).unwrap();
        let other = assign_subunits(&permuted, &samples.select(&order), &config).unwrap();
        assert_eq!(other.subunits, cut.subunits);
        assert_eq!(other.of_row, cut.of_row.select(&order));
        assert!(cut.not_drawn > 0 && cut.subunits.iter().all(|s| s.n_obs <= 7));
    }

    #[test]
    fn every_point_with_a_sample_is_in_a_cube_that_holds_it() {
        let (points, samples) = random(300);
        let config = SubunitConfig::new(30.0).with_origin(Origin::Fixed(-7.0));
        let cut = assign_subunits(&points, &samples, &config).unwrap();
        for row in 0..300 {
            let Some(code) = cut.of_row.code(row) else {
                assert_eq!(samples.code(row), None);
                continue;
            };
            for (axis, &step) in cut.subunits[code].key.iter().enumerate() {
                let low = -7.0 + 30.0 * step as f64;
                assert!((low..low + 30.0).contains(&points.view()[[row, axis]]));
            }
        }
        assert_eq!(cut.subunits.iter().map(|s| s.n_obs).sum::<usize>(), 240);
    }

    #[test]
    fn settings_read_back_from_json_and_misspelt_ones_are_refused() {
        let read = |text| serde_json::from_str::<SubunitConfig>(text);
        assert_eq!(read(r#"{"size": 3.0}"#).unwrap(), SubunitConfig::new(3.0));
        assert!(read(r#"{"size": 3.0, "min_ob": 1}"#).is_err());
    }
}

//! Images of another size.

use ndarray::{Array1, Array3, ArrayView1, ArrayView3, Axis};
use serde::{Deserialize, Serialize};

use crate::{ConfigError, Result};

/// Whether an image is smoothed before it is made smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AntiAlias {
    /// By a Gaussian of standard deviation (factor − 1) / 2 along every axis that shrinks, cut off at 4 standard deviations.
    #[default]
    Shrinking,
    /// Never.
    Off,
}

/// Resizes an image by linear interpolation between the middles of its pixels; at the border it continues mirrored about
/// the outermost pixel.
///
/// # Shapes
///
/// `image`: `[y, x, c]`; result: `[height, width, c]`.
///
/// # Differences from scikit-image
///
/// None known: the numbers are those of `skimage.transform.resize` 0.26 with order 1, with and without anti-aliasing.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_patches::resize::{AntiAlias, resize};
///
/// let image = array![[[0.0_f32], [1.0], [2.0], [3.0]]];
/// let half = resize(image.view(), 1, 2, AntiAlias::Off)?;
/// assert_eq!(half, array![[[0.5], [2.5]]]);
/// # Ok::<(), phenocoder_patches::Error>(())
/// ```
///
/// # Errors
///
/// [`ConfigError::Zero`] when `height`, `width` or an extent of the image is 0.
#[doc(alias = "skimage.transform.resize")]
pub fn resize(
    image: ArrayView3<'_, f32>,
    height: usize,
    width: usize,
    anti_alias: AntiAlias,
) -> Result<Array3<f32>> {
    let (old_height, old_width, _) = image.dim();
    for (field, value) in [
        ("height", height),
        ("width", width),
        ("image height", old_height),
        ("image width", old_width),
    ] {
        if value == 0 {
            return Err(ConfigError::Zero { field }.into());
        }
    }
    let mut out = image.mapv(f64::from);
    if anti_alias == AntiAlias::Shrinking {
        for (axis, new) in [(0, height), (1, width)] {
            let factor = out.shape()[axis] as f64 / new as f64;
            let sigma = (factor - 1.0) / 2.0;
            if sigma > 0.0 {
                let weights = gaussian(sigma);
                out = along(&out, axis, out.shape()[axis], |lane, i| {
                    smooth(lane, i, &weights)
                });
            }
        }
    }
    for (axis, new) in [(0, height), (1, width)] {
        let factor = out.shape()[axis] as f64 / new as f64;
        out = along(&out, axis, new, |lane, i| {
            interpolate(lane, (i as f64 + 0.5) * factor - 0.5)
        });
    }
    Ok(out.mapv(|value| value as f32))
}

/// Divides an image by its own maximum over all channels, as the original ME-VAE does; an image without a value above 0 stays
/// as it is, where the original's becomes NaN.
///
/// # Shapes
///
/// `image`: `[y, x, c]`.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_patches::resize::max_normalize;
///
/// let mut image = array![[[0.2_f32], [0.4]]];
/// max_normalize(&mut image);
/// assert_eq!(image, array![[[0.5], [1.0]]]);
/// ```
pub fn max_normalize(image: &mut Array3<f32>) {
    let max = image.iter().copied().fold(0.0_f32, f32::max);
    if max > 0.0 {
        image.mapv_inplace(|value| value / max);
    }
}

/// Makes every lane along an axis anew: `f` gives the value at each new place.
fn along(
    image: &Array3<f64>,
    axis: usize,
    len: usize,
    f: impl Fn(ArrayView1<'_, f64>, usize) -> f64,
) -> Array3<f64> {
    let mut shape = image.raw_dim();
    shape[axis] = len;
    let mut out = Array3::zeros(shape);
    let lanes = image.lanes(Axis(axis));
    for (mut to, from) in out.lanes_mut(Axis(axis)).into_iter().zip(lanes) {
        to.assign(&Array1::from_shape_fn(len, |i| f(from, i)));
    }
    out
}

/// A place beyond the border, mirrored about the outermost pixel.
fn mirrored(place: f64, n: usize) -> f64 {
    let last = n as f64 - 1.0;
    if last == 0.0 {
        return 0.0;
    }
    let place = place.abs() % (2.0 * last);
    if place > last {
        2.0 * last - place
    } else {
        place
    }
}

fn interpolate(lane: ArrayView1<'_, f64>, place: f64) -> f64 {
    let place = mirrored(place, lane.len());
    let low = place.floor();
    let part = place - low;
    let first = lane[low as usize];
    match part > 0.0 {
        true => first * (1.0 - part) + lane[low as usize + 1] * part,
        false => first,
    }
}

/// The weights from the middle outwards.
fn gaussian(sigma: f64) -> Vec<f64> {
    let radius = (4.0 * sigma + 0.5) as usize;
    let weight = |i: usize| libm::exp(-0.5 * (i as f64 / sigma).powi(2));
    let half: Vec<f64> = (0..=radius).map(weight).collect();
    let sum = half[0] + 2.0 * half[1..].iter().sum::<f64>();
    half.into_iter().map(|w| w / sum).collect()
}

fn smooth(lane: ArrayView1<'_, f64>, i: usize, weights: &[f64]) -> f64 {
    let at = |offset: f64| lane[mirrored(i as f64 + offset, lane.len()) as usize];
    let mut sum = weights[0] * at(0.0);
    for (offset, weight) in weights.iter().enumerate().skip(1) {
        sum += weight * (at(-(offset as f64)) + at(offset as f64));
    }
    sum
}

#[cfg(test)]
mod tests {
    use phenocoder_testdata::find;
    use serde_json::Value;

    use super::*;

    fn image(value: &Value) -> Array3<f32> {
        let rows: Vec<Vec<f64>> = serde_json::from_value(value.clone()).unwrap();
        let shape = (rows.len(), rows[0].len(), 1);
        let values = rows.concat().into_iter().map(|v| v as f32).collect();
        Array3::from_shape_vec(shape, values).unwrap()
    }

    #[track_caller]
    fn assert_close(found: &Array3<f32>, expected: &Value) {
        let expected = image(expected);
        assert_eq!(found.dim(), expected.dim());
        for (found, expected) in found.iter().zip(&expected) {
            let error = (found - expected).abs() / expected.abs();
            assert!(error < 1e-5, "{found} for {expected}");
        }
    }

    #[test]
    fn resized_images_equal_those_of_scikit_image() {
        let Some(path) = find("models/mevae.json") else {
            return;
        };
        let golden: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        for (name, side) in [("resize_down4", 4), ("resize_up8", 8)] {
            let golden = &golden[name];
            let original = image(&golden["image_u8"]).mapv(|v| v / 255.0);
            let resized = |anti_alias| resize(original.view(), side, side, anti_alias).unwrap();
            assert_close(&resized(AntiAlias::Off), &golden["no_antialias"]);
            let mut smooth = resized(AntiAlias::Shrinking);
            assert_close(&smooth, &golden["skimage_0_26_default"]);
            max_normalize(&mut smooth);
            assert_close(&smooth, &golden["max_normalised"]);
        }
    }

    #[test]
    fn the_same_size_changes_nothing() {
        let image = Array3::from_shape_fn((3, 5, 2), |(y, x, c)| (y * 7 + x * 3 + c) as f32);
        let same = resize(image.view(), 3, 5, AntiAlias::Shrinking).unwrap();
        assert_eq!(same, image);
    }

    #[test]
    fn single_pixels_and_strong_shrinking_are_defined() {
        let one = Array3::from_elem((1, 1, 1), 0.3);
        let large = resize(one.view(), 4, 3, AntiAlias::Shrinking).unwrap();
        assert!(large.iter().all(|&v| v == 0.3));
        let image = Array3::from_shape_fn((100, 2, 1), |(y, _, _)| (y % 2) as f32);
        let small = resize(image.view(), 2, 1, AntiAlias::Shrinking).unwrap();
        assert!(small.iter().all(|v| (v - 0.5).abs() < 0.02), "{small}");
        assert!(resize(image.view(), 0, 1, AntiAlias::Off).is_err());
        let empty = Array3::zeros((0, 2, 1));
        assert!(resize(empty.view(), 2, 2, AntiAlias::Off).is_err());
    }

    #[test]
    fn a_black_image_stays_black() {
        let mut image = Array3::zeros((2, 2, 1));
        max_normalize(&mut image);
        assert!(image.iter().all(|&v| v == 0.0));
    }
}

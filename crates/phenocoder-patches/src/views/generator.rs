//! Views of the cells of a batch.

use ndarray::{Array3, ArrayView3, Axis, Zip};
use phenocoder_core::{PatchBatch, PatchTransform, Seed, ShapeError, SourceError};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::canonical::Canonical;
use super::{CanonicalConfig, Draw, Nuisance};
use crate::{ConfigError, Result};

/// The settings of a [`ViewGenerator`].
///
/// # Examples
///
/// ```
/// use phenocoder_patches::views::{Nuisance, ViewConfig};
///
/// let text = r#"{"views": ["rotation", "polar", {"size": {"low": 0.5, "high": 2.0}}]}"#;
/// let config: ViewConfig = serde_json::from_str(text)?;
/// assert_eq!(config.views[2], Nuisance::Size { low: 0.5, high: 2.0 });
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ViewConfig {
    /// What is corrected in the canonical image.
    pub canonical: CanonicalConfig,
    /// What each encoder's view is spoiled in (default rotation and polar).
    pub views: Vec<Nuisance>,
}

impl Default for ViewConfig {
    fn default() -> Self {
        Self::new([Nuisance::Rotation, Nuisance::Polar])
    }
}

impl ViewConfig {
    /// One view for each of these.
    #[must_use]
    pub fn new(views: impl Into<Vec<Nuisance>>) -> Self {
        Self {
            canonical: CanonicalConfig::default(),
            views: views.into(),
        }
    }

    /// The recipe of the original's example data: the first view is the cell as it came, the second the canonical image in
    /// one of its four mirror images; sizes stay as they are.
    #[must_use]
    pub fn paper() -> Self {
        Self::new([Nuisance::Uncorrected, Nuisance::Polar])
            .with_canonical(CanonicalConfig::default().with_size(None))
    }

    /// Sets what is corrected in the canonical image.
    #[must_use]
    pub fn with_canonical(mut self, canonical: CanonicalConfig) -> Self {
        self.canonical = canonical;
        self
    }

    /// Sets what each encoder's view is spoiled in.
    #[must_use]
    pub fn with_views(mut self, views: impl Into<Vec<Nuisance>>) -> Self {
        self.views = views.into();
        self
    }

    /// Checks every setting.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Range`] naming the setting.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.canonical.validate()?;
        self.views.iter().try_for_each(Nuisance::validate)
    }

    /// The generator of these views.
    ///
    /// # Errors
    ///
    /// Those of [`validate`](Self::validate).
    pub fn build(&self) -> Result<ViewGenerator, ConfigError> {
        self.validate()?;
        let config = self.clone();
        Ok(ViewGenerator { config })
    }
}

/// Puts the canonical image of each cell into [`PatchBatch::pixels`] and its views into [`PatchBatch::views`].
///
/// What is drawn depends on the cell's number, the seed and the position of the view alone.
/// With no views at all it only makes canonical images.
///
/// # Examples
///
/// ```
/// use phenocoder_core::{PatchBatch, PatchShape, PatchTransform, Seed};
/// use phenocoder_patches::views::ViewConfig;
///
/// let mut batch = PatchBatch::zeros(2, PatchShape::new(8, 8, 3), 0);
/// batch.pixels[[0, 1, 1, 0]] = 1.0;
/// let generator = ViewConfig::paper().build()?;
/// generator.apply(&mut batch, &[10, 11], Seed::new(1))?;
/// assert_eq!(batch.views.len(), 2);
/// assert_eq!(batch.views[0][[0, 1, 1, 0]], 1.0, "the first view is the cell as it came");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ViewGenerator {
    config: ViewConfig,
}

impl ViewGenerator {
    /// The settings.
    #[must_use]
    pub fn config(&self) -> &ViewConfig {
        &self.config
    }

    /// What is drawn for each view of the cell of this number.
    #[must_use]
    pub fn draws(&self, number: usize, channels: usize, seed: Seed) -> Vec<Draw> {
        let views = self.config.views.iter().enumerate();
        views
            .map(|(i, nuisance)| {
                let mut stream = seed.stream(&format!("view-{i}"), number as u64);
                nuisance.draw(&mut stream, channels)
            })
            .collect()
    }

    /// The canonical image of a cell and its views.
    fn images(
        &self,
        patch: ArrayView3<'_, f32>,
        draws: &[Draw],
    ) -> Result<(Array3<f32>, Vec<Array3<f32>>)> {
        let canonical = Canonical::new(patch, None, &self.config.canonical)?;
        let views = draws.iter().map(|draw| canonical.view(patch, draw));
        let views = views.collect();
        Ok((canonical.image, views))
    }
}

impl Canonical {
    fn view(&self, patch: ArrayView3<'_, f32>, draw: &Draw) -> Array3<f32> {
        match draw {
            Draw::Uncorrected => patch.to_owned(),
            Draw::Rotation(angle) => self.affine.turned(*angle).sample(patch),
            Draw::Size(factor) => self.affine.enlarged(*factor).sample(patch),
            Draw::Polar(polar) => polar.apply(self.image.view()),
            Draw::Intensity(channels) => {
                let mut image = self.image.clone();
                for mut pixel in image.lanes_mut(Axis(2)) {
                    if pixel.iter().all(|&value| value == 0.0) {
                        continue;
                    }
                    for (value, &(gain, offset)) in pixel.iter_mut().zip(channels) {
                        *value = (f64::from(*value) * gain + offset).clamp(0.0, 1.0) as f32;
                    }
                }
                image
            }
        }
    }
}

impl PatchTransform for ViewGenerator {
    fn name(&self) -> &str {
        "views"
    }

    fn settings(&self) -> String {
        // A configuration of numbers, names and lists always has a JSON form.
        serde_json::to_string(&self.config).unwrap_or_default()
    }

    fn n_views(&self) -> usize {
        self.config.views.len()
    }

    /// Always, for the canonical image takes the place of the cell also where there are no views.
    fn for_validation(&self) -> bool {
        true
    }

    fn apply(
        &self,
        batch: &mut PatchBatch,
        numbers: &[usize],
        seed: Seed,
    ) -> Result<(), SourceError> {
        ShapeError::check_len("patch numbers", batch.len(), numbers.len())
            .map_err(|e| SourceError::new("views", e))?;
        let channels = batch.pixels.shape()[3];
        let images = (0..batch.len())
            .into_par_iter()
            .map(|row| {
                let number = numbers[row];
                let patch = batch.pixels.index_axis(Axis(0), row);
                self.images(patch, &self.draws(number, channels, seed))
                    .map_err(|e| SourceError::new(format!("patch {number}"), e))
            })
            .collect::<Vec<_>>();
        let mut views = vec![ndarray::Array4::zeros(batch.pixels.dim()); self.n_views()];
        for (row, made) in images.into_iter().enumerate() {
            let (canonical, made) = made?;
            for (view, image) in views.iter_mut().zip(&made) {
                view.index_axis_mut(Axis(0), row).assign(image);
            }
            Zip::from(batch.pixels.index_axis_mut(Axis(0), row))
                .and(&canonical)
                .for_each(|to, &from| *to = from);
        }
        batch.views = views;
        Ok(())
    }
}

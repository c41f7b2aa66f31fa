//! The claim of the example `mevae` on fewer cells.

use phenocoder::core::{NoProgress, PatchShape, Seed};
use phenocoder::datasets::PlantedConfig;
use phenocoder::model::models::mevae::MeVaeConfig;

#[path = "../../examples/mevae/experiment.rs"]
#[expect(dead_code, reason = "the example prints more")]
mod experiment;

use experiment::{Experiment, run, views};

#[test]
fn a_me_vae_forgets_how_cells_lie_and_keeps_what_they_are() {
    let cells = PlantedConfig::default().with_cells(600);
    let model = MeVaeConfig::new(PatchShape::new(cells.side, cells.side, 1), 8)
        .with_n_encoders(views().views.len())
        .with_conv_layers([8, 16, 32])
        .with_dense_dim(64);
    let experiment = Experiment {
        cells,
        model,
        epochs: 45,
        seed: Seed::new(0),
    };
    let results = run(&experiment, &NoProgress).unwrap();
    for (claim, holds) in results.verdicts() {
        assert!(holds, "{claim}");
    }
    let (plain, mevae) = (&results.vae, &results.mevae);
    assert!(
        plain.parameters >= mevae.parameters,
        "of at least equal size"
    );
    for outcome in [plain, mevae, &results.mevae_canonical] {
        assert_eq!(outcome.latents.nrows(), results.cells.truth.len());
        assert!(outcome.angle_of_means.iter().all(|r2| r2.is_finite()));
    }
}

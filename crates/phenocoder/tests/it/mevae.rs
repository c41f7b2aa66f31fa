//! The claim of the example `mevae` on fewer cells.

use phenocoder::core::{NoProgress, PatchShape, Seed};
use phenocoder::datasets::PlantedConfig;
use phenocoder::model::models::mevae::MeVaeConfig;

#[path = "../../examples/mevae/experiment.rs"]
mod experiment;

use experiment::{ANGLE_BAR, ANGLE_PLAIN, Experiment, NMI_GAIN, run, views};

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
    let (plain, mevae) = (&results.vae, &results.mevae);
    let said = format!(
        "{}: {:?} {:?}, {}: {:?} {:?}",
        plain.name, plain.nmi, plain.angle, mevae.name, mevae.nmi, mevae.angle
    );
    assert!(plain.largest_angle() >= ANGLE_PLAIN, "{said}");
    assert!(mevae.largest_angle() <= ANGLE_BAR, "{said}");
    assert!(mevae.nmi >= plain.nmi + NMI_GAIN, "{said}");
    // With canonical images for all encoders there is no angle to see, from the means neither.
    let canonical = &results.mevae_canonical;
    assert!(canonical.angle_of_means.iter().all(|&r2| r2 <= ANGLE_BAR));
    assert_eq!(canonical.latents.nrows(), results.cells.truth.len());
}

//! Statistics of distances on the reference sets.

use ndarray::Array2;
use phenocoder_core::NoProgress;
use phenocoder_spatial::co_occurrence::{Neighborhood, co_occurrence};
use phenocoder_spatial::ripley::{RipleyConfig, RipleyFunction, empty_space_at, ripley};
use phenocoder_spatial::summary::Mode;

use crate::sets::{assert_close, number, numbers, sets};

#[test]
fn co_occurrence_is_that_of_discs() {
    for set in sets() {
        for name in ["default50", "explicit"] {
            let golden = &set.json["co_occurrence"][name];
            let distances = numbers(&golden["interval"]);
            let found = co_occurrence(
                set.points.view(),
                &set.labels,
                &distances[1..],
                Neighborhood::Disc,
                &NoProgress,
            )
            .unwrap();
            let expected: Vec<f64> = golden["occ"]
                .as_array()
                .unwrap()
                .iter()
                .flat_map(crate::sets::matrix)
                .collect();
            let found: Vec<f64> = found
                .ratio
                .iter()
                .map(|r| if r.is_nan() { 0.0 } else { *r })
                .collect();
            assert_close(&format!("{} {name}", set.name), &found, &expected, 1e-6);
        }
    }
}

#[test]
fn ripley_s_functions_are_the_peers_in_compat_mode() {
    for set in sets() {
        for (name, function) in [
            ("L", RipleyFunction::L),
            ("G", RipleyFunction::G),
            ("F", RipleyFunction::F),
        ] {
            let golden = &set.json["ripley"][name];
            let bins = numbers(&golden["bins"]);
            let config = RipleyConfig::new()
                .with_steps(bins.len())
                .with_mode(Mode::Compat);
            let points = set.points.view();
            let found = if function == RipleyFunction::F {
                let locations: Array2<f64> = set.npz.array("ripley_F_reference_points");
                empty_space_at(points, &set.labels, locations.view(), &config, &NoProgress)
            } else {
                ripley(points, &set.labels, function, &config, &NoProgress)
            };
            let found = found.unwrap();
            assert_close(
                "area",
                &[found.region_size],
                &[number(&set.json["ripley"]["hull_area"])],
                1e-12,
            );
            assert_close("bins", &found.distances, &bins, 1e-12);
            for (code, category) in set.labels.categories().iter().enumerate() {
                let expected = numbers(&golden["stat"][category]);
                let what = format!("{} {name} {category}", set.name);
                assert_close(
                    &what,
                    found.values.row(code).as_slice().unwrap(),
                    &expected,
                    1e-9,
                );
            }
        }
    }
}

//! Chunks in every form, as zarr-python makes them: orders of axes and bytes, shards in shards, fill values by bits.

use std::path::Path;

use phenocoder_core::{ImageSource, LabelSource, NoProgress};
use phenocoder_io::{Store, verify};

/// As `make_forms.py` has it.
fn value(place: usize) -> u64 {
    (37 * place as u64 + 11) % 251
}

#[test]
fn chunks_in_every_form_of_zarr_python_are_read() {
    for (version, n_images, n_labels) in [(2, 14, 2), (3, 16, 3)] {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
        let store = Store::open(data.join(format!("forms_v{version}.zip"))).unwrap();
        assert_eq!(store.image_names().len(), n_images);
        for name in store.image_names() {
            let image = store.image(&name).unwrap();
            let region = image.shape().region();
            let mut found = vec![0.0; 2 * 7 * 9];
            image.read_region(&region, &mut found).unwrap();
            let expected: Vec<f32> = (0..found.len())
                .map(|place| match place {
                    63.. if name.starts_with("hex_fill") => 1.5,
                    _ => value(place) as f32,
                })
                .collect();
            assert_eq!(found, expected, "{name}");
            // A window that cuts chunks.
            let mut window = region;
            (window.c, window.y, window.x) = (1..2, 2..6, 3..8);
            let mut part = vec![0.0; 4 * 5];
            image.read_region(&window, &mut part).unwrap();
            let rows = (2..6).flat_map(|y| 63 + 9 * y + 3..63 + 9 * y + 8);
            let rows: Vec<f32> = rows.map(|place| expected[place]).collect();
            assert_eq!(part, rows, "{name}");
        }
        assert_eq!(store.label_names().len(), n_labels);
        for name in store.label_names() {
            let mask = store.labels(&name).unwrap();
            let mut found = vec![0; 7 * 9];
            mask.read_region(&mask.shape().region(), &mut found)
                .unwrap();
            let base = if name.starts_with("big_u") {
                1 << 60
            } else {
                0
            };
            let expected: Vec<u64> = (0..63).map(|place| base + value(place)).collect();
            assert_eq!(found, expected, "{name}");
        }
        let found = verify(&store, &NoProgress).unwrap();
        assert!(found.violations.is_empty(), "{found:?}");
    }
}

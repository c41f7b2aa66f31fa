//! Unit tests of flips and rotations.

use ndarray::Array4;
use phenocoder_core::PatchBatch;

use super::*;

fn batch(n: usize, height: usize, width: usize) -> PatchBatch {
    let pixels = Array4::from_shape_fn((n, height, width, 2), |(n, y, x, c)| {
        (1000 * n + 100 * y + 10 * x + c) as f32
    });
    PatchBatch::new(pixels, ndarray::Array2::zeros((n, 1))).unwrap()
}

#[test]
fn each_flip_mirrors_its_axis_and_undoes_itself() {
    let start = batch(2, 3, 4);
    let mut turned = start.clone();
    flip_horizontal(&mut turned);
    assert_eq!(turned.pixels[[1, 2, 0, 1]], start.pixels[[1, 2, 3, 1]]);
    flip_horizontal(&mut turned);
    assert_eq!(turned, start);
    flip_vertical(&mut turned);
    assert_eq!(turned.pixels[[1, 0, 3, 1]], start.pixels[[1, 2, 3, 1]]);
    flip_vertical(&mut turned);
    assert_eq!(turned, start);
}

#[test]
fn quarter_turns_add_up() {
    let start = batch(2, 3, 4);
    let turned = |quarters: &[u32]| {
        let mut batch = start.clone();
        quarters
            .iter()
            .for_each(|&q| rotate_quarters(&mut batch, q));
        batch
    };
    assert_eq!(turned(&[1, 1]), turned(&[2]));
    assert_eq!(turned(&[1, 2]), turned(&[3]));
    assert_eq!(turned(&[1, 3]), start);
    assert_eq!(turned(&[4]), start);
    let mut mirrored = start.clone();
    flip_horizontal(&mut mirrored);
    flip_vertical(&mut mirrored);
    assert_eq!(turned(&[2]), mirrored);
    // The upper right corner comes to the upper left.
    assert_eq!(
        turned(&[1]).pixels[[0, 0, 0, 0]],
        start.pixels[[0, 0, 3, 0]]
    );
}

#[test]
fn random_flips_belong_to_the_patch_not_to_the_batch() {
    let start = batch(200, 2, 2);
    let numbers: Vec<usize> = (0..200).collect();
    let mut all = start.clone();
    random_flips(&mut all, &numbers, Seed::new(1), 3);
    let mut some = PatchBatch::new(
        start.pixels.select(Axis(0), &[17, 4]),
        start.conditions.select(Axis(0), &[17, 4]),
    )
    .unwrap();
    random_flips(&mut some, &[17, 4], Seed::new(1), 3);
    assert_eq!(some.pixels, all.pixels.select(Axis(0), &[17, 4]));

    // Each of the four outcomes occurs about equally often.
    let mut counts = [0; 4];
    for (patch, before) in all.pixels.outer_iter().zip(start.pixels.outer_iter()) {
        let corners = [[0, 0], [0, 1], [1, 0], [1, 1]];
        let corner = corners
            .iter()
            .position(|&[y, x]| before[[y, x, 0]] == patch[[0, 0, 0]]);
        counts[corner.unwrap()] += 1;
    }
    assert!(
        counts.iter().all(|&count| (30..70).contains(&count)),
        "{counts:?}"
    );
    let mut next = start.clone();
    random_flips(&mut next, &numbers, Seed::new(1), 4);
    assert_ne!(next, all, "another epoch, other flips");
}

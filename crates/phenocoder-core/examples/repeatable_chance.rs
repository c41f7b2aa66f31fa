//! Shows that a seeded draw belongs to its name and number, not to the order in which draws are made.
#![expect(clippy::print_stdout, reason = "an example talks to its user")]

use phenocoder_core::{Categorical, Cells, Column, Coords, Seed, ShapeError, Unit};

fn main() -> Result<(), ShapeError> {
    let n = 6;
    let seed = Seed::new(42);
    let position = |row: usize, axis: u64| {
        seed.stream("position", 2 * row as u64 + axis)
            .uniform_in(0.0, 100.0)
    };
    let forwards: Vec<f64> = (0..n).map(|row| position(row, 0)).collect();
    let mut backwards: Vec<f64> = (0..n).rev().map(|row| position(row, 0)).collect();
    backwards.reverse();
    assert_eq!(forwards, backwards);

    let positions =
        ndarray::Array2::from_shape_fn((n, 2), |(row, axis)| position(row, axis as u64));
    let cells = Cells::new(
        Column::Int((1..=n as i64).collect()),
        Categorical::from_labels((0..n).map(|row| if row < n / 2 { "left" } else { "right" })),
        Coords::new(positions, Unit::Pixel)?,
    )?;
    for row in 0..cells.len() {
        let [_, y, x] = cells.positions().zyx(row);
        println!(
            "cell {} of sample {}: y {y:.2}, x {x:.2}",
            row + 1,
            cells.samples().label(row).unwrap_or("?")
        );
    }
    Ok(())
}

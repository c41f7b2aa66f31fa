//! The regression of all columns on the batches and the covariates.

use ndarray::{Array2, ArrayView2, Axis};
use phenocoder_core::{Categorical, Progress, ShapeError};
use serde::{Deserialize, Serialize};

use super::{Batches, Covariate, Error, METHOD, Result, places};
use crate::batch::{check_pairs, each_row, rounding};
use crate::matrix::dot;

/// How a covariate becomes columns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Encoding {
    /// A column of 0 and 1 for each of these but the first.
    Categories(Vec<String>),
    /// The numbers themselves.
    Numbers,
}

impl Encoding {
    /// Takes the categories that occur.
    pub(super) fn new(covariate: &Covariate<'_>) -> Self {
        match covariate {
            Covariate::Numbers(_) => Self::Numbers,
            Covariate::Categories(labels) => {
                let counts = labels.counts();
                let present = labels.categories().iter().zip(counts);
                Self::Categories(
                    present
                        .filter(|(_, count)| *count > 0)
                        .map(|(category, _)| category.clone())
                        .collect(),
                )
            }
        }
    }

    /// The number of its columns.
    pub(super) fn width(&self) -> usize {
        match self {
            Self::Categories(categories) => categories.len().saturating_sub(1),
            Self::Numbers => 1,
        }
    }

    /// What the columns are called in an error: the covariate's position, and the category of a column.
    fn column(encodings: &[Self], mut column: usize) -> (usize, Option<String>) {
        for (covariate, encoding) in encodings.iter().enumerate() {
            if column < encoding.width() {
                return match encoding {
                    Self::Categories(categories) => {
                        (covariate, categories.get(column + 1).cloned())
                    }
                    Self::Numbers => (covariate, None),
                };
            }
            column -= encoding.width();
        }
        (encodings.len(), None)
    }
}

/// Refuses more columns of covariates than rows can tell from the batches, or than equations of all pairs of them have room
/// for, before the columns take memory.
pub(super) fn check_room(
    encodings: &[Encoding],
    covariates: &[Covariate<'_>],
    rows: usize,
    batches: usize,
) -> Result<()> {
    check_lengths(covariates, rows)?;
    let width: usize = encodings.iter().map(Encoding::width).sum();
    // What is left of rows without the means of their batches has so many dimensions.
    let room = rows.saturating_sub(batches);
    if width > room {
        return Err(collinear(encodings, room));
    }
    check_pairs(METHOD, "columns of covariates", width)
}

fn check_lengths(covariates: &[Covariate<'_>], rows: usize) -> Result<(), ShapeError> {
    for covariate in covariates {
        let found = match covariate {
            Covariate::Categories(labels) => labels.len(),
            Covariate::Numbers(values) => values.len(),
        };
        ShapeError::check_len("covariate", rows, found)?;
    }
    Ok(())
}

fn collinear(encodings: &[Encoding], column: usize) -> Error {
    let (covariate, category) = Encoding::column(encodings, column);
    Error::Collinear {
        covariate,
        category,
    }
}

/// The columns of all covariates, `[n, q]`.
pub(super) fn columns(
    encodings: &[Encoding],
    covariates: &[Covariate<'_>],
    rows: usize,
) -> Result<Array2<f64>> {
    ShapeError::check_len("covariates", encodings.len(), covariates.len())?;
    check_lengths(covariates, rows)?;
    let width = encodings.iter().map(Encoding::width).sum();
    let mut columns = Array2::zeros((rows, width));
    let mut offset = 0;
    for (position, (encoding, covariate)) in encodings.iter().zip(covariates).enumerate() {
        match (encoding, covariate) {
            (Encoding::Categories(known), Covariate::Categories(labels)) => {
                one_hot(&mut columns, offset, known, labels)?;
            }
            (Encoding::Numbers, Covariate::Numbers(values)) => {
                for (row, &value) in values.iter().enumerate() {
                    if !value.is_finite() {
                        let column = position;
                        return Err(Error::NotFinite { row, column, value });
                    }
                    columns[[row, offset]] = value;
                }
            }
            (Encoding::Categories(_), Covariate::Numbers(_)) => {
                return Err(kind(position, "numbers", "categories"));
            }
            (Encoding::Numbers, Covariate::Categories(_)) => {
                return Err(kind(position, "categories", "numbers"));
            }
        }
        offset += encoding.width();
    }
    Ok(columns)
}

fn one_hot(
    columns: &mut Array2<f64>,
    offset: usize,
    known: &[String],
    labels: &Categorical,
) -> Result<()> {
    for (row, place) in places(known, labels, "covariate", columns.nrows())?
        .into_iter()
        .enumerate()
    {
        if place > 0 {
            columns[[row, offset + place - 1]] = 1.0;
        }
    }
    Ok(())
}

fn kind(position: usize, found: &'static str, expected: &'static str) -> Error {
    Error::Shape(ShapeError::ColumnType {
        name: format!("covariate {position}"),
        found,
        expected,
    })
}

/// The least-squares fit.
///
/// What the batches explain is taken out of data and covariates first (Frisch & Waugh 1933, doi:10.2307/1907330), so
/// that only the covariates' few columns have to be made orthogonal.
#[derive(Debug)]
pub(super) struct Fit {
    /// The effects of the covariates' columns, `[q, p]`.
    pub(super) slopes: Array2<f64>,
    /// The value of each batch where all covariates are 0, `[batches, p]`.
    pub(super) intercepts: Array2<f64>,
    /// The mean of the intercepts, each batch weighing its rows.
    pub(super) grand: Vec<f64>,
    /// The sum of squared residuals in each batch, `[batches, p]`.
    pub(super) squares: Array2<f64>,
    /// The mean square of the residuals; exactly 0 for columns that are explained fully but for rounding.
    pub(super) variances: Vec<f64>,
}

/// What is left of a covariate's column, relative to what it was, is taken for rounding below this.
const RANK: f64 = 1e-10;

impl Fit {
    /// Fits all columns of `x`; `known` are the covariates' columns, `[n, q]`.
    pub(super) fn new(
        x: ArrayView2<'_, f64>,
        batches: &Batches,
        encodings: &[Encoding],
        known: Array2<f64>,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let (n, p) = x.dim();
        let means = batches.means(x, progress)?;
        let known_means = batches.means(known.view(), progress)?;
        let deviation = |row: usize, column: usize| {
            known[[row, column]] - known_means[[batches.codes[row], column]]
        };
        let (basis, upper) = orthonormal(encodings, &known, deviation, progress)?;
        let mut slopes = Array2::<f64>::zeros((basis.len(), p));
        each_row(x, progress, |row, values| {
            let own = means.row(batches.codes[row]);
            for (direction, mut products) in basis.iter().zip(slopes.outer_iter_mut()) {
                for ((sum, value), mean) in products.iter_mut().zip(values).zip(own) {
                    *sum += direction[row] * (value - mean);
                }
            }
        })?;
        solve_upper(&upper, &mut slopes);
        let mut squares = Array2::<f64>::zeros(means.raw_dim());
        let (mut total, mut largest) = (vec![0.0; p], vec![0.0_f64; p]);
        let mut explained = vec![0.0; p];
        each_row(x, progress, |row, values| {
            let code = batches.codes[row];
            explained.fill(0.0);
            for (covariate, slopes) in slopes.outer_iter().enumerate() {
                let own = deviation(row, covariate);
                for (sum, slope) in explained.iter_mut().zip(slopes) {
                    *sum += own * slope;
                }
            }
            for (column, &value) in values.iter().enumerate() {
                let moved = value - means[[code, column]];
                let residual = moved - explained[column];
                total[column] += moved * moved;
                largest[column] = largest[column].max(value.abs());
                squares[[code, column]] += residual * residual;
            }
        })?;
        let mut variances = Vec::with_capacity(p);
        for column in 0..p {
            let variance = squares.column(column).sum() / n.max(1) as f64;
            if !variance.is_finite() {
                return Err(Error::Overflow { method: METHOD });
            }
            let relative = 1e-24 * total[column] / n.max(1) as f64;
            let noise = f64::max(relative, rounding(largest[column]));
            variances.push(if variance > noise { variance } else { 0.0 });
        }
        let mut intercepts = means;
        for (mut own, known) in intercepts.outer_iter_mut().zip(known_means.outer_iter()) {
            for (mean, slopes) in known.iter().zip(slopes.outer_iter()) {
                own.scaled_add(-mean, &slopes);
            }
        }
        Ok(Self {
            grand: batches.grand_mean(intercepts.view()),
            slopes,
            intercepts,
            squares,
            variances,
        })
    }
}

/// An orthonormal basis of the deviations of the covariates' columns from the means of the batches, and the upper triangle
/// that makes these of it, by modified Gram–Schmidt, each column twice.
fn orthonormal(
    encodings: &[Encoding],
    known: &Array2<f64>,
    deviation: impl Fn(usize, usize) -> f64,
    progress: &dyn Progress,
) -> Result<(Vec<Vec<f64>>, Array2<f64>)> {
    let (n, q) = known.dim();
    let mut basis: Vec<Vec<f64>> = Vec::with_capacity(q);
    let mut upper = Array2::<f64>::zeros((q, q));
    for column in 0..q {
        progress.check()?;
        let mut rest: Vec<f64> = (0..n).map(|row| deviation(row, column)).collect();
        let before = dot(&rest, &rest).sqrt();
        for _ in 0..2 {
            for (i, direction) in basis.iter().enumerate() {
                let product = dot(direction, &rest);
                upper[[i, column]] += product;
                for (value, part) in rest.iter_mut().zip(direction) {
                    *value -= product * part;
                }
            }
        }
        let left = dot(&rest, &rest).sqrt();
        let whole = known
            .column(column)
            .iter()
            .map(|v| v * v)
            .sum::<f64>()
            .sqrt();
        if !whole.is_finite() {
            return Err(Error::Overflow { method: METHOD });
        }
        if left <= f64::max(RANK * before, 1e-3 * RANK * whole) {
            return Err(collinear(encodings, column));
        }
        for value in &mut rest {
            *value /= left;
        }
        upper[[column, column]] = left;
        basis.push(rest);
    }
    Ok((basis, upper))
}

/// Puts the solution of `upper s = products` in place of the products.
fn solve_upper(upper: &Array2<f64>, products: &mut Array2<f64>) {
    for i in (0..products.nrows()).rev() {
        let (mut rest, solved) = products.view_mut().split_at(Axis(0), i + 1);
        let mut own = rest.row_mut(i);
        for (j, slope) in solved.outer_iter().enumerate() {
            own.scaled_add(-upper[[i, i + 1 + j]], &slope);
        }
        own /= upper[[i, i]];
    }
}

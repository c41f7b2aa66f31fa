//! The minimum of a smooth convex function by L-BFGS (Nocedal & Wright 2006, doi:10.1007/978-0-387-40065-5, algorithms
//! 7.4 and 7.5), and by Newton's method where that has not found it after some steps: along directions that are almost
//! flat, as where a line nearly parts the classes, little is learned of the curvature.

use std::collections::VecDeque;

use nalgebra::{Cholesky, DVector};
use phenocoder_core::Progress;

use super::{LogisticConfig, METHOD, Problem};
use crate::matrix::dot;
use crate::{Error, Result};

/// How many steps the curvature is learned from.
const MEMORY: usize = 10;

/// After how many steps second derivatives are worth their price, and for how many coefficients they are.
const LATE: usize = 100;
const FEW: usize = 512;

/// The least share of the fall that the slope promises, and the most of the slope that may be left: strong Wolfe
/// conditions with the usual numbers (section 3.1).
const FALL: f64 = 1e-4;
const SLOPE: f64 = 0.9;

/// Differences of values below this share of them are rounding; there, the slope alone decides.
const ROUNDING: f64 = 1e-12;

/// A place, and the function there.
struct Point {
    at: Vec<f64>,
    value: f64,
    gradient: Vec<f64>,
}

impl Point {
    fn new(problem: &Problem, at: Vec<f64>) -> Self {
        let (value, gradient) = problem.value_and_gradient(&at);
        Self {
            at,
            value,
            gradient,
        }
    }
}

/// What a step told of the curvature.
struct Change {
    at: Vec<f64>,
    gradient: Vec<f64>,
    /// The product of the two.
    curvature: f64,
}

pub(super) fn minimize(
    problem: &Problem,
    config: &LogisticConfig,
    progress: &dyn Progress,
) -> Result<Vec<f64>> {
    let mut here = Point::new(problem, vec![0.0; problem.dimension()]);
    let mut memory: VecDeque<Change> = VecDeque::with_capacity(MEMORY);
    let mut steps = 0;
    while !here.gradient.iter().all(|g| g.abs() <= config.tolerance) {
        progress.check()?;
        let mut next = None;
        if steps >= LATE
            && problem.dimension() <= FEW
            && let Some(direction) = newton(problem, &here, progress)?
        {
            next = search(problem, &here, &direction, progress)?;
        }
        if next.is_none() {
            let direction = direction(&here.gradient, &memory);
            next = search(problem, &here, &direction, progress)?;
        }
        let next = match next {
            Some(next) if steps < config.iterations => next,
            // What was learned misleads: start again along the gradient.
            None if !memory.is_empty() => {
                memory.clear();
                continue;
            }
            _ => {
                return Err(Error::NotConverged {
                    method: METHOD,
                    iterations: steps,
                });
            }
        };
        let difference = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a - b).collect();
        let at: Vec<f64> = difference(&next.at, &here.at);
        let gradient: Vec<f64> = difference(&next.gradient, &here.gradient);
        let curvature = dot(&at, &gradient);
        if curvature > 0.0 {
            if memory.len() == MEMORY {
                memory.pop_front();
            }
            memory.push_back(Change {
                at,
                gradient,
                curvature,
            });
        }
        here = next;
        steps += 1;
        progress.advance(1);
    }
    Ok(here.at)
}

/// Minus the inverse curvature, as far as it is known, times the gradient.
fn direction(gradient: &[f64], memory: &VecDeque<Change>) -> Vec<f64> {
    let mut direction: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let mut shares = Vec::with_capacity(memory.len());
    for change in memory.iter().rev() {
        let share = dot(&change.at, &direction) / change.curvature;
        add(&mut direction, -share, &change.gradient);
        shares.push(share);
    }
    if let Some(last) = memory.back() {
        let scale = last.curvature / dot(&last.gradient, &last.gradient);
        direction.iter_mut().for_each(|value| *value *= scale);
    }
    for (change, share) in memory.iter().zip(shares.into_iter().rev()) {
        let missing = share - dot(&change.gradient, &direction) / change.curvature;
        add(&mut direction, missing, &change.at);
    }
    direction
}

/// Minus the inverse of the second derivatives times the gradient; `None` where they have none.
fn newton(problem: &Problem, here: &Point, progress: &dyn Progress) -> Result<Option<Vec<f64>>> {
    let mut curvature = problem.curvature(&here.at, progress)?;
    // A constant that is added to all functions changes nothing, so that there the derivatives are 0.
    let least = 1e-12 * curvature.diagonal().max();
    for i in 0..curvature.nrows() {
        curvature[(i, i)] += least;
    }
    let mut direction = DVector::from_column_slice(&here.gradient);
    direction.neg_mut();
    Ok(Cholesky::new(curvature).map(|factors| {
        factors.solve_mut(&mut direction);
        direction.data.into()
    }))
}

/// A point along the direction that is neither too near nor too far.
///
/// A convex function has one between any that is too near and any that is too far, which halving finds.
fn search(
    problem: &Problem,
    here: &Point,
    direction: &[f64],
    progress: &dyn Progress,
) -> Result<Option<Point>> {
    let slope = dot(&here.gradient, direction);
    if slope >= 0.0 || slope.is_nan() {
        return Ok(None);
    }
    let (mut near, mut far, mut step) = (0.0, f64::INFINITY, 1.0);
    for _ in 0..100 {
        progress.check()?;
        let mut at = here.at.clone();
        add(&mut at, step, direction);
        let next = Point::new(problem, at);
        let slope_there = dot(&next.gradient, direction);
        let most = here.value + FALL * step * slope + ROUNDING * here.value.abs();
        // What is not a number is too far as well.
        let is_near = next.value <= most && slope_there <= SLOPE * -slope;
        if !is_near {
            far = step;
        } else if slope_there < SLOPE * slope {
            near = step;
        } else {
            return Ok(Some(next));
        }
        step = if far.is_finite() {
            near + (far - near) / 2.0
        } else {
            2.0 * step
        };
    }
    Ok(None)
}

fn add(sum: &mut [f64], factor: f64, values: &[f64]) {
    for (sum, value) in sum.iter_mut().zip(values) {
        *sum += factor * value;
    }
}

//! Rows in groups and blocks, and what groups explain of a column.

use ndarray::Array2;

use super::Scale;

/// Which group and which block every row belongs to.
#[derive(Debug)]
pub(super) struct Design {
    /// The group of every row.
    pub(super) groups: Vec<usize>,
    /// The number of rows of each group.
    pub(super) counts: Vec<usize>,
    /// The rows of each block that has some.
    pub(super) blocks: Vec<Vec<usize>>,
    /// A generalized inverse of the groups' sums of squares and products within the blocks.
    inverse: Array2<f64>,
    rank: usize,
}

impl Design {
    /// `groups` are below `k`; blocks may have any numbers.
    pub(super) fn new(groups: Vec<usize>, k: usize, blocks: &[usize]) -> Self {
        let mut members: Vec<Vec<usize>> = Vec::new();
        for (row, &block) in blocks.iter().enumerate() {
            if members.len() <= block {
                members.resize(block + 1, Vec::new());
            }
            members[block].push(row);
        }
        members.retain(|rows| !rows.is_empty());
        let mut counts = vec![0; k];
        groups.iter().for_each(|&group| counts[group] += 1);
        let mut products = Array2::<f64>::zeros((k, k));
        for rows in &members {
            let mut n = vec![0.0; k];
            rows.iter().for_each(|&row| n[groups[row]] += 1.0);
            let all = rows.len() as f64;
            for a in 0..k {
                products[[a, a]] += n[a];
                for b in 0..k {
                    products[[a, b]] -= n[a] * n[b] / all;
                }
            }
        }
        let rank = invert(&mut products);
        Self {
            groups,
            counts,
            blocks: members,
            inverse: products,
            rank,
        }
    }

    /// Whether there is a block with rows of two groups.
    pub(super) fn compares(&self) -> bool {
        self.rank > 0
    }

    /// The degrees of freedom within groups and blocks.
    fn freedom(&self) -> usize {
        self.groups
            .len()
            .saturating_sub(self.blocks.len() + self.rank)
    }

    /// The sum of squares that groups explain of every column, beyond the blocks.
    ///
    /// `centered`, `[rows, columns]`, has a mean of 0 within each block; `groups` are those of the design in another order
    /// within the blocks.
    pub(super) fn explained(&self, centered: &Array2<f64>, groups: &[usize]) -> Vec<f64> {
        let k = self.counts.len();
        let mut sums = Array2::<f64>::zeros((k, centered.ncols()));
        for (row, &group) in centered.rows().into_iter().zip(groups) {
            let mut sum = sums.row_mut(group);
            sum += &row;
        }
        let mut explained = vec![0.0; centered.ncols()];
        for a in 0..k {
            for b in 0..k {
                let weight = self.inverse[[a, b]];
                if weight == 0.0 {
                    continue;
                }
                let pairs = sums.row(a).into_iter().zip(sums.row(b));
                for (explained, (x, y)) in explained.iter_mut().zip(pairs) {
                    *explained += weight * x * y;
                }
            }
        }
        explained
    }
}

/// Turns a matrix of sums of squares and products into a generalized inverse of it; returns its rank.
///
/// Gauss–Jordan sweeps (Goodnight 1979, doi:10.1080/00031305.1979.10482685) that leave out rows which depend on others.
fn invert(matrix: &mut Array2<f64>) -> usize {
    let k = matrix.nrows();
    let scale: Vec<f64> = (0..k).map(|i| matrix[[i, i]]).collect();
    let mut swept = vec![false; k];
    for j in 0..k {
        let pivot = matrix[[j, j]];
        if pivot <= 1e-9 * scale[j] {
            continue;
        }
        swept[j] = true;
        for a in (0..k).filter(|&a| a != j) {
            let factor = matrix[[a, j]] / pivot;
            for b in (0..k).filter(|&b| b != j) {
                let product = factor * matrix[[j, b]];
                matrix[[a, b]] -= product;
            }
            matrix[[a, j]] = -factor;
        }
        for b in (0..k).filter(|&b| b != j) {
            matrix[[j, b]] /= pivot;
        }
        matrix[[j, j]] = 1.0 / pivot;
    }
    for a in 0..k {
        for b in 0..k {
            if !(swept[a] && swept[b]) {
                matrix[[a, b]] = 0.0;
            }
        }
    }
    swept.into_iter().filter(|&swept| swept).count()
}

/// The values of one column.
#[derive(Debug)]
pub(super) struct Column {
    /// Values or ranks, less the mean of their block.
    pub(super) centered: Vec<f64>,
    /// The sum of their squares; 0 when the values of every block are equal.
    pub(super) total: f64,
    /// The mean value of each group.
    pub(super) means: Vec<f64>,
}

impl Column {
    pub(super) fn new(design: &Design, mut values: Vec<f64>, scale: Scale) -> Self {
        // In units of a power of two, which changes no digit, so that squares are no larger or smaller than numbers can be.
        let largest = values.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
        let unit = if largest > 0.0 {
            libm::ilogb(largest)
        } else {
            0
        };
        values.iter_mut().for_each(|x| *x = libm::scalbn(*x, -unit));
        let mut means = vec![0.0; design.counts.len()];
        for (&group, value) in design.groups.iter().zip(&values) {
            means[group] += value;
        }
        for (mean, &n) in means.iter_mut().zip(&design.counts) {
            *mean = libm::scalbn(*mean / n as f64, unit);
        }
        for rows in &design.blocks {
            if is_constant(&values, rows) {
                rows.iter().for_each(|&row| values[row] = 0.0);
                continue;
            }
            if scale == Scale::Ranks {
                rank(&mut values, rows);
            }
            center(&mut values, rows);
        }
        Self {
            total: values.iter().map(|x| x * x).sum(),
            centered: values,
            means,
        }
    }

    /// How much higher the second of two groups is.
    pub(super) fn effect(&self, design: &Design, scale: Scale) -> f64 {
        if design.counts.len() != 2 {
            return f64::NAN;
        }
        match scale {
            Scale::Values => self.hedges_g(design),
            Scale::Ranks => self.cliffs_delta(design),
        }
    }

    fn hedges_g(&self, design: &Design) -> f64 {
        let freedom = design.freedom();
        if freedom < 2 {
            return f64::NAN;
        }
        let is_second = |row: usize| f64::from(u8::from(design.groups[row] == 1));
        let rows = 0..design.groups.len();
        let sum: f64 = rows.map(|row| is_second(row) * self.centered[row]).sum();
        // The inverse of two groups has one entry, that of the first.
        let difference = sum * design.inverse[[0, 0]];
        let mut rest = 0.0;
        for rows in &design.blocks {
            let part = rows.iter().map(|&row| is_second(row)).sum::<f64>() / rows.len() as f64;
            for &row in rows {
                let residual = self.centered[row] - difference * (is_second(row) - part);
                rest += residual * residual;
            }
        }
        // Without any spread within the groups the effect is infinite, not what rounding makes of it.
        if rest <= 1e-28 * self.total {
            return f64::INFINITY.copysign(difference);
        }
        let half = freedom as f64 / 2.0;
        let correction = (libm::lgamma(half) - libm::lgamma(half - 0.5)).exp() / half.sqrt();
        correction * difference / (rest / freedom as f64).sqrt()
    }

    /// Of ranks within the blocks.
    fn cliffs_delta(&self, design: &Design) -> f64 {
        let (mut won, mut pairs) = (0.0, 0.0);
        for rows in &design.blocks {
            let second = rows.iter().filter(|&&row| design.groups[row] == 1);
            let n = second.clone().count() as f64;
            let others = rows.len() as f64 - n;
            // Centered ranks: the sum of the second group's is half of the pairs won less those lost.
            won += 2.0 * second.map(|&row| self.centered[row]).sum::<f64>();
            pairs += n * others;
        }
        won / pairs
    }
}

/// Replaces the values of these rows by their ranks, from 1; equal values share the mean of theirs.
fn rank(values: &mut [f64], rows: &[usize]) {
    let mut order = rows.to_vec();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let sorted: Vec<f64> = order.iter().map(|&row| values[row]).collect();
    let mut first = 0;
    for equal in sorted.chunk_by(|a, b| a == b) {
        let mean = first as f64 + (equal.len() + 1) as f64 / 2.0;
        for &row in &order[first..first + equal.len()] {
            values[row] = mean;
        }
        first += equal.len();
    }
}

/// Whether the values of these rows are equal but for rounding.
fn is_constant(values: &[f64], rows: &[usize]) -> bool {
    let of_block = || rows.iter().map(|&row| values[row]);
    let least = of_block().fold(f64::INFINITY, f64::min);
    let most = of_block().fold(f64::NEG_INFINITY, f64::max);
    most - least <= 1e-12 * least.abs().max(most.abs())
}

/// Takes the mean of these rows away.
fn center(values: &mut [f64], rows: &[usize]) {
    let sum: f64 = rows.iter().map(|&row| values[row]).sum();
    let mean = sum / rows.len() as f64;
    rows.iter().for_each(|&row| values[row] -= mean);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_share_ties() {
        let mut values = [3.0, 1.0, -0.0, 3.0, 0.0, 9.0];
        rank(&mut values, &[0, 1, 2, 3, 4]);
        assert_eq!(values, [4.5, 3.0, 1.5, 4.5, 1.5, 9.0]);
    }

    #[test]
    fn what_groups_explain_is_that_of_least_squares() {
        // Three groups in two blocks, unbalanced. Expected: numpy.linalg.lstsq with and without the groups.
        let design = Design::new(vec![0, 0, 1, 1, 2, 0, 2, 1], 3, &[0, 0, 0, 0, 0, 4, 4, 4]);
        let column = Column::new(
            &design,
            vec![1.0, 2.0, 4.0, 3.5, 7.0, 0.5, 6.0, 2.0],
            Scale::Values,
        );
        let centered = Array2::from_shape_vec((8, 1), column.centered.clone()).unwrap();
        let found = design.explained(&centered, &design.groups);
        let part = found[0] / column.total;
        assert!((part - 0.976_763_147_166_734_6).abs() < 1e-12, "{part}");
        assert_eq!((design.rank, design.freedom()), (2, 4));
    }

    #[test]
    fn groups_that_share_no_block_are_not_compared() {
        let design = Design::new(vec![0, 0, 1, 1], 2, &[0, 0, 1, 1]);
        assert!(!design.compares());
        // Of three groups two share a block.
        let design = Design::new(vec![0, 1, 2, 2], 3, &[0, 0, 1, 1]);
        assert_eq!(design.rank, 1);
    }
}

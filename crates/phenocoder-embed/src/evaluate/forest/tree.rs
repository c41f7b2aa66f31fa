//! One tree: how it is grown, and what it says.

use std::ops::Range;

use ndarray::Array2;
use phenocoder_core::{Progress, Stream};
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::matrix::row_of;

/// Nodes of more rows than this together are worth a question whether to stop.
const MANY: usize = 4096;

/// Questions, and the shares of the classes at their ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tree {
    /// The first is the root.
    nodes: Vec<Node>,
    /// Classes and their shares in a leaf, leaf after leaf.
    shares: Vec<(usize, f64)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Node {
    /// Rows with at most the threshold in the column go to the node `low`, others to the one after it.
    Question {
        column: usize,
        threshold: f64,
        low: usize,
    },
    /// The shares from `first` to before `last`.
    Leaf { first: usize, last: usize },
}

impl Tree {
    /// Whether every row of so many columns comes to a leaf with shares of so many classes.
    pub(super) fn is_sound(&self, columns: usize, classes: usize) -> bool {
        let holds = |(place, node): (usize, &Node)| match *node {
            Node::Question {
                column,
                threshold,
                low,
            } => {
                let falls = place < low && low < self.nodes.len() - 1;
                column < columns && threshold.is_finite() && falls
            }
            Node::Leaf { first, last } => self
                .shares
                .get(first..last)
                .is_some_and(|shares| !shares.is_empty()),
        };
        let is_share =
            |&(class, share): &(usize, f64)| class < classes && share > 0.0 && share <= 1.0;
        !self.nodes.is_empty()
            && self.nodes.iter().enumerate().all(holds)
            && self.shares.iter().all(is_share)
    }

    /// Adds the shares of the classes in the leaf of a row.
    pub(super) fn vote(&self, row: &[f64], votes: &mut [f64]) {
        let mut place = 0;
        let leaf = loop {
            match self.nodes[place] {
                Node::Question {
                    column,
                    threshold,
                    low,
                } => place = low + usize::from(row[column] > threshold),
                Node::Leaf { first, last } => break first..last,
            }
        };
        for &(class, share) in &self.shares[leaf] {
            votes[class] += share;
        }
    }
}

/// A tree, and what its growing tells.
pub(super) struct Grown {
    pub(super) tree: Tree,
    /// The rows that were drawn for it.
    pub(super) seen: RowSet,
    /// How much purer the questions on each column have made the rows.
    pub(super) gains: Vec<f64>,
}

/// Some of the rows, in one bit each: all trees of a forest are kept with theirs until the last one is grown.
pub(super) struct RowSet(Vec<u64>);

impl RowSet {
    /// Those of `0..n` that hold.
    fn new(n: usize, holds: impl Fn(usize) -> bool) -> Self {
        let mut bits = vec![0_u64; n.div_ceil(64)];
        for row in (0..n).filter(|&row| holds(row)) {
            bits[row / 64] |= 1_u64 << (row % 64);
        }
        Self(bits)
    }

    pub(super) fn contains(&self, row: usize) -> bool {
        (self.0[row / 64] >> (row % 64)) & 1 == 1
    }
}

/// What trees are grown from.
pub(super) struct Training<'a> {
    /// The values, `[p, n]`.
    pub(super) columns: Array2<f64>,
    /// The class of each row, from 0.
    pub(super) places: &'a [usize],
    pub(super) classes: usize,
    pub(super) per_question: usize,
}

#[derive(Clone, Copy)]
struct Question {
    column: usize,
    threshold: f64,
    /// Σ over both sides of Σ count² / rows: the larger, the purer.
    purity: f64,
}

/// What the search for questions goes through, kept from node to node.
struct Work {
    /// How often each row was drawn.
    times: Vec<u64>,
    /// The columns, in the order in which they were drawn last.
    order: Vec<usize>,
    /// The values of the rows of a node, and the rows.
    sorted: Vec<(f64, usize)>,
    /// The classes of the rows of a node, rising: the only ones that are gone through.
    classes: Vec<usize>,
    /// How often rows of each class of the node were drawn; 0 for all other classes.
    counts: Vec<u64>,
    /// The same below a threshold; anything for all other classes.
    low: Vec<u64>,
}

impl Work {
    fn new(rows: usize, columns: usize, classes: usize) -> Self {
        Self {
            times: vec![0; rows],
            order: (0..columns).collect(),
            sorted: Vec::new(),
            classes: Vec::new(),
            counts: vec![0; classes],
            low: vec![0; classes],
        }
    }

    /// Counts the classes of the rows of a node, in place of those of the node before.
    fn count(&mut self, rows: &[usize], places: &[usize]) {
        for class in self.classes.drain(..) {
            self.counts[class] = 0;
        }
        for &row in rows {
            let class = places[row];
            if self.counts[class] == 0 {
                self.classes.push(class);
            }
            self.counts[class] += self.times[row];
        }
        self.classes.sort_unstable();
    }

    /// How often rows of the node were drawn.
    fn total(&self) -> u64 {
        self.classes.iter().map(|&class| self.counts[class]).sum()
    }

    fn sum_of_squares(&self) -> u64 {
        let squares = self.classes.iter().map(|&class| self.counts[class].pow(2));
        squares.sum()
    }

    /// Writes down the shares of the classes.
    fn leaf(&self, shares: &mut Vec<(usize, f64)>) -> Node {
        let first = shares.len();
        let all = self.total() as f64;
        let share = |&class: &usize| (class, self.counts[class] as f64 / all);
        shares.extend(self.classes.iter().map(share));
        Node::Leaf {
            first,
            last: shares.len(),
        }
    }
}

impl Training<'_> {
    pub(super) fn grow(&self, stream: &mut Stream, progress: &dyn Progress) -> Result<Grown> {
        let n = self.places.len();
        let mut work = Work::new(n, self.columns.nrows(), self.classes);
        for _ in 0..n {
            work.times[stream.below(n)] += 1;
        }
        let seen = RowSet::new(n, |row| work.times[row] > 0);
        let mut rows: Vec<usize> = (0..n).filter(|&row| seen.contains(row)).collect();
        let mut gains = vec![0.0; self.columns.nrows()];
        let mut tree = Tree {
            nodes: vec![Node::Leaf { first: 0, last: 0 }],
            shares: Vec::new(),
        };
        // Nodes to be settled, and their rows.
        let mut open: Vec<(usize, Range<usize>)> = vec![(0, 0..rows.len())];
        // Rows of the nodes since the last question whether to stop.
        let mut settled = 0;
        while let Some((place, range)) = open.pop() {
            settled += range.len();
            if settled > MANY {
                progress.check()?;
                settled = 0;
            }
            let here = &mut rows[range.clone()];
            work.count(here, self.places);
            let Some(question) = self.question(here, &mut work, stream) else {
                tree.nodes[place] = work.leaf(&mut tree.shares);
                continue;
            };
            let Question {
                column,
                threshold,
                purity,
            } = question;
            let before = work.sum_of_squares() as f64 / work.total() as f64;
            gains[column] += (purity - before).max(0.0);
            let values = self.values(column);
            here.sort_unstable_by_key(|&row| values[row] > threshold);
            let middle = range.start + here.partition_point(|&row| values[row] <= threshold);
            let low = tree.nodes.len();
            tree.nodes[place] = Node::Question {
                column,
                threshold,
                low,
            };
            tree.nodes.extend([Node::Leaf { first: 0, last: 0 }; 2]);
            open.push((low + 1, middle..range.end));
            open.push((low, range.start..middle));
        }
        Ok(Grown { tree, seen, gains })
    }

    fn values(&self, column: usize) -> &[f64] {
        row_of(&self.columns, column)
    }

    /// The best question on columns drawn at random; none when the rows are of one class or the same in all columns.
    ///
    /// Beyond the number that is asked for, columns are drawn until one is not constant.
    fn question(&self, rows: &[usize], work: &mut Work, stream: &mut Stream) -> Option<Question> {
        if work.classes.len() < 2 {
            return None;
        }
        let mut best: Option<Question> = None;
        for drawn in 0..work.order.len() {
            if drawn >= self.per_question && best.is_some() {
                break;
            }
            let left = work.order.len() - drawn;
            work.order.swap(drawn, drawn + stream.below(left));
            let column = work.order[drawn];
            let values = self.values(column);
            work.sorted.clear();
            work.sorted
                .extend(rows.iter().map(|&row| (values[row], row)));
            work.sorted.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
            let found = self.threshold(column, work);
            if let Some(found) = found
                && best.is_none_or(|best| found.purity > best.purity)
            {
                best = Some(found);
            }
        }
        best
    }

    /// The best threshold on sorted values; none when they are all the same.
    fn threshold(&self, column: usize, work: &mut Work) -> Option<Question> {
        let mut best: Option<Question> = None;
        let (mut rows_low, mut rows_high) = (0, work.total());
        // Sums of squares of counts, in whole numbers: rounding prefers none of equally good thresholds.
        let (mut squares_low, mut squares_high) = (0, work.sum_of_squares());
        for &class in &work.classes {
            work.low[class] = 0;
        }
        for pair in work.sorted.windows(2) {
            let ((value, row), next) = (pair[0], pair[1].0);
            let (class, times) = (self.places[row], work.times[row]);
            let low = work.low[class];
            squares_low += times * (2 * low + times);
            squares_high -= times * (2 * (work.counts[class] - low) - times);
            work.low[class] += times;
            rows_low += times;
            rows_high -= times;
            if value < next {
                let purity =
                    squares_low as f64 / rows_low as f64 + squares_high as f64 / rows_high as f64;
                if best.is_none_or(|best| purity > best.purity) {
                    best = Some(Question {
                        column,
                        threshold: between(value, next),
                        purity,
                    });
                }
            }
        }
        best
    }
}

/// A number from `low` to less than `high`, halfway if there is one.
fn between(low: f64, high: f64) -> f64 {
    let half = low / 2.0 + high / 2.0;
    if low <= half && half < high {
        half
    } else {
        low
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;
    use phenocoder_core::{CancelToken, Seed};

    use super::*;

    #[test]
    fn the_best_threshold_is_the_one_worked_out_by_hand() {
        // Classes 0 0 1 0, the second row drawn twice.
        // Behind the first: 1 + (9 + 1) / 4; the second: 9 / 3 + (1 + 1) / 2, the most; the third: (9 + 1) / 4 + 1.
        let training = Training {
            columns: array![
                [0.0, 1.0, 4.0, 7.0],
                [3.0, 3.0, 3.0, 3.0],
                [7.0, 7.0, 0.0, 7.0]
            ],
            places: &[0, 0, 1, 0],
            classes: 2,
            per_question: 1,
        };
        let mut work = Work {
            times: vec![1, 2, 1, 1],
            ..Work::new(4, 3, 2)
        };
        work.count(&[0, 1, 2, 3], training.places);
        assert_eq!(
            (&work.classes[..], &work.counts[..]),
            (&[0, 1][..], &[4, 1][..])
        );
        let mut best = |column: usize| {
            let values = training.values(column).iter().copied();
            work.sorted = values.zip(0..).collect();
            work.sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
            training
                .threshold(column, &mut work)
                .map(|found| (found.column, found.threshold, found.purity))
        };
        assert_eq!(best(0), Some((0, 2.5, 4.0)));
        assert_eq!(best(1), None);
        assert_eq!(best(2), Some((2, 3.5, 5.0)));
    }

    #[test]
    fn a_node_has_the_classes_of_its_own_rows_only() {
        let places = [7, 2, 7, 4];
        let mut work = Work {
            times: vec![1, 2, 3, 1],
            ..Work::new(4, 0, 9)
        };
        for (rows, classes, total, squares) in [
            (&[0, 1, 2, 3][..], &[2, 4, 7][..], 7, 4 + 1 + 16),
            (&[2, 1], &[2, 7], 5, 4 + 9),
            (&[3], &[4], 1, 1),
        ] {
            work.count(rows, &places);
            assert_eq!(work.classes, classes);
            assert_eq!((work.total(), work.sum_of_squares()), (total, squares));
            assert_eq!(work.counts.iter().sum::<u64>(), total);
        }
        let mut shares = vec![(0, 1.0)];
        work.count(&[3, 2], &places);
        assert!(matches!(
            work.leaf(&mut shares),
            Node::Leaf { first: 1, last: 3 }
        ));
        assert_eq!(shares, [(0, 1.0), (4, 0.25), (7, 0.75)]);
    }

    #[test]
    fn large_nodes_ask_whether_to_stop() {
        let stopped = CancelToken::new();
        stopped.cancel();
        // About 63 of 100 rows are drawn.
        for (n, stops) in [(MANY, false), (2 * MANY, true)] {
            let training = Training {
                columns: Array2::zeros((1, n)),
                places: &vec![0; n],
                classes: 1,
                per_question: 1,
            };
            let mut stream = Seed::new(1).stream("forest", 0);
            let result = training.grow(&mut stream, &stopped);
            assert_eq!(result.is_err(), stops, "{n}");
        }
    }

    #[test]
    fn many_small_nodes_ask_whether_to_stop() {
        let stopped = CancelToken::new();
        stopped.cancel();
        // Questions part these rows one from another, each of which alone is no large node.
        let places: Vec<usize> = (0..MANY).map(|row| row % 2).collect();
        let training = Training {
            columns: Array2::from_shape_fn((1, MANY), |(_, row)| row as f64),
            places: &places,
            classes: 2,
            per_question: 1,
        };
        let mut stream = Seed::new(1).stream("forest", 0);
        assert!(training.grow(&mut stream, &stopped).is_err());
    }

    #[test]
    fn a_set_holds_its_rows_and_no_others() {
        for n in [0, 1, 63, 64, 65, 200] {
            let set = RowSet::new(n, |row| row % 3 == 0);
            assert!((0..n).all(|row| set.contains(row) == (row % 3 == 0)), "{n}");
        }
    }

    #[test]
    fn thresholds_part_values_however_close_or_far() {
        let tiny = f64::from_bits(1);
        for (low, high) in [
            (0.0, 1.0),
            (-1.0, -0.5),
            (1.0, 1.0 + f64::EPSILON),
            (0.0, tiny),
            (-tiny, 0.0),
            (tiny, 2.0 * tiny),
            (f64::MIN, f64::MAX),
        ] {
            let threshold = between(low, high);
            assert!(low <= threshold && threshold < high, "{low} {high}");
        }
        assert_eq!(between(1.0, 4.0), 2.5);
    }
}

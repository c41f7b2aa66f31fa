//! The ways to assign groups to rows within blocks.

use phenocoder_core::Seed;

use super::design::Design;

/// All arrangements, or a number of random ones.
#[derive(Debug)]
pub(super) struct Arrangements<'a> {
    design: &'a Design,
    /// The number of arrangements of each block, when all are looked at.
    of_blocks: Option<Vec<u128>>,
    len: usize,
}

impl<'a> Arrangements<'a> {
    /// All arrangements when there are no more than `random`, else so many random ones.
    pub(super) fn new(design: &'a Design, random: usize) -> Self {
        let of_blocks: Option<Vec<u128>> = design
            .blocks
            .iter()
            .map(|rows| orders(&groups_of(design, rows), random as u128))
            .collect();
        let all = of_blocks.as_ref().and_then(|counts| {
            let product = counts.iter().try_fold(1_u128, |n, &m| n.checked_mul(m))?;
            usize::try_from(product).ok().filter(|&all| all <= random)
        });
        Self {
            design,
            of_blocks: of_blocks.filter(|_| all.is_some()),
            len: all.unwrap_or(random),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Whether each arrangement occurs, and once.
    pub(super) fn is_exact(&self) -> bool {
        self.of_blocks.is_some()
    }

    /// The p-value of groups that lie apart as far as groups can.
    ///
    /// Of all arrangements as many explain the same as there are ways to give groups of the same sizes each other's names.
    pub(super) fn least_p_value(&self) -> f64 {
        if !self.is_exact() {
            return 1.0 / (self.len as f64 + 1.0);
        }
        // Rows of a block with a single group tell nothing and stay where they are.
        let blocks = self.design.blocks.iter();
        let mixed: Vec<Vec<u128>> = blocks
            .map(|rows| groups_of(self.design, rows))
            .filter(|counts| counts.iter().filter(|&&n| n > 0).count() > 1)
            .collect();
        let of_group =
            |group: usize| -> Vec<u128> { mixed.iter().map(|counts| counts[group]).collect() };
        let mut sizes: Vec<Vec<u128>> = (0..self.design.counts.len()).map(of_group).collect();
        sizes.retain(|of_blocks| of_blocks.iter().any(|&n| n > 0));
        sizes.sort_unstable();
        let names = sizes
            .chunk_by(|a, b| a == b)
            .map(|alike| (1..=alike.len()).map(|n| n as f64).product::<f64>());
        names.product::<f64>() / self.len as f64
    }

    /// The groups of the rows in the arrangement with this number.
    pub(super) fn arrangement(&self, number: usize, seed: Seed) -> Vec<usize> {
        let mut groups = self.design.groups.clone();
        let Some(of_blocks) = &self.of_blocks else {
            let mut stream = seed.stream("arrangement of groups", number as u64);
            for rows in &self.design.blocks {
                let mut mine: Vec<usize> = rows.iter().map(|&row| groups[row]).collect();
                stream.shuffle(&mut mine);
                rows.iter()
                    .zip(mine)
                    .for_each(|(&row, group)| groups[row] = group);
            }
            return groups;
        };
        let mut number = number as u128;
        for (rows, &n) in self.design.blocks.iter().zip(of_blocks) {
            let mut left = groups_of(self.design, rows);
            order(number % n, n, &mut left, |i, group| groups[rows[i]] = group);
            number /= n;
        }
        groups
    }
}

/// How many of these rows each group has.
fn groups_of(design: &Design, rows: &[usize]) -> Vec<u128> {
    let mut counts = vec![0; design.counts.len()];
    rows.iter().for_each(|&row| counts[design.groups[row]] += 1);
    counts
}

/// In how many orders so many of each kind can lie, or `None` when that is more than `most`.
fn orders(counts: &[u128], most: u128) -> Option<u128> {
    let (mut orders, mut placed) = (1_u128, 0_u128);
    for &count in counts {
        // Each factor makes a whole number of it that is no smaller.
        for i in 1..=count {
            placed += 1;
            orders = orders.checked_mul(placed)? / i;
            if orders > most {
                return None;
            }
        }
    }
    Some(orders)
}

/// Says the kind at each place of the order with this number, of `all` that there are.
fn order(mut number: u128, mut all: u128, left: &mut [u128], mut place: impl FnMut(usize, usize)) {
    let n: u128 = left.iter().sum();
    for i in 0..n {
        for (kind, count) in left.iter_mut().enumerate() {
            // So many have this kind next.
            let with = all * *count / (n - i);
            if number < with {
                place(i as usize, kind);
                *count -= 1;
                all = with;
                break;
            }
            number -= with;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_arrangement_occurs_once() {
        let design = Design::new(vec![0, 1, 1, 2, 0, 1, 0], 3, &[0, 0, 0, 0, 1, 1, 1]);
        // 4!/2! · 3!/2!
        let all = Arrangements::new(&design, 36);
        assert!(all.is_exact());
        assert_eq!(all.len(), 36);
        let found: BTreeSet<_> = (0..36).map(|i| all.arrangement(i, Seed::new(0))).collect();
        assert_eq!(found.len(), 36);
        for groups in found {
            let sorted = |range: std::ops::Range<usize>| {
                let mut groups = groups[range].to_vec();
                groups.sort_unstable();
                groups
            };
            assert_eq!(
                (sorted(0..4), sorted(4..7)),
                (vec![0, 1, 1, 2], vec![0, 0, 1])
            );
        }
        assert!(!Arrangements::new(&design, 35).is_exact());
    }

    #[test]
    fn groups_of_the_same_sizes_can_have_each_others_names() {
        let least = |groups: &[usize], blocks: &[usize], random| {
            let k = groups.iter().max().map_or(0, |most| most + 1);
            let design = Design::new(groups.to_vec(), k, blocks);
            Arrangements::new(&design, random).least_p_value()
        };
        assert_eq!(least(&[0, 0, 0, 1, 1, 1], &[0; 6], 20), 2.0 / 20.0);
        assert_eq!(least(&[0, 0, 0, 1, 1, 1], &[0; 6], 19), 1.0 / 20.0);
        assert_eq!(least(&[0, 0, 0, 1, 1, 1, 1], &[0; 7], 99), 1.0 / 35.0);
        assert_eq!(least(&[0, 0, 1, 1, 2, 2], &[0; 6], 99), 6.0 / 90.0);
        // A group without rows has no name to give.
        assert_eq!(least(&[0, 0, 0, 3, 3, 3], &[0; 6], 20), 2.0 / 20.0);
        let two = [0, 0, 1, 1, 0, 0, 1, 1];
        assert_eq!(least(&two, &[0, 0, 0, 0, 1, 1, 1, 1], 36), 2.0 / 36.0);
        let uneven = [0, 0, 1, 1, 0, 1, 1];
        assert_eq!(least(&uneven, &[0, 0, 0, 0, 1, 1, 1], 36), 1.0 / 18.0);
        // The second block compares nothing.
        let alone = [0, 0, 1, 1, 0, 0, 0];
        assert_eq!(least(&alone, &[0, 0, 0, 0, 1, 1, 1], 36), 2.0 / 6.0);
    }

    #[test]
    fn numbers_of_orders_are_multinomial_and_never_overflow() {
        assert_eq!(orders(&[5, 5], 1000), Some(252));
        assert_eq!(orders(&[2, 2, 2], 90), Some(90));
        assert_eq!(orders(&[2, 2, 2], 89), None);
        assert_eq!(orders(&[0, 7], 1), Some(1));
        assert_eq!(orders(&[200, 200], u128::MAX), None);
    }
}

//! The names of the columns, in the order in which [`super::unit`] makes the values.

use super::{Group, StatisticsConfig};
use crate::error::{ConfigError, Error, Result};

/// Columns of a table, all radii together: their names are of some two gigabytes.
const MOST: usize = 1 << 24;

/// What is measured of every hull.
pub(super) const HULL_MEASURES: [&str; 5] = ["volume", "area", "n", "distance_center", "density"];

pub(super) fn names(
    config: &StatisticsConfig,
    labels: &[String],
    features: &[String],
) -> Result<Vec<String>> {
    check_number(config, labels.len(), features.len())?;
    let mut names = Vec::new();
    for radius in &config.radii {
        // Adding 0 prints −0 as 0.
        let radius = radius + 0.0;
        for &group in &config.groups {
            for name in of_group(group, labels, features) {
                names.push(format!("radius:{radius}_stat:{}_{name}", group.name()));
            }
        }
    }
    let mut sorted: Vec<&String> = names.iter().collect();
    sorted.sort_unstable();
    if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(ConfigError::Twice {
            setting: "column names",
            entry: pair[0].clone(),
        }
        .into());
    }
    Ok(names)
}

/// Refuses more columns than can be named, and more labels than there is a matrix of pairs for.
fn check_number(config: &StatisticsConfig, labels: usize, features: usize) -> Result<()> {
    let of_groups = config
        .groups
        .iter()
        .map(|&group| number(group, labels, features));
    let found = of_groups
        .fold(0, usize::saturating_add)
        .saturating_mul(config.radii.len());
    if found > MOST {
        return Err(ConfigError::TooMany {
            setting: "columns",
            most: MOST,
            found,
        }
        .into());
    }
    // Few columns, but of all pairs of labels.
    let sums_up_pairs = |group| matches!(group, &Group::Assortativity | &Group::Entropy);
    match config.groups.iter().any(sums_up_pairs) {
        true => Error::check_categories(labels),
        false => Ok(()),
    }
}

/// How many columns [`of_group`] makes of so many labels and features.
fn number(group: Group, labels: usize, features: usize) -> usize {
    let times = |n: usize, of: usize| of.saturating_mul(n);
    match group {
        Group::Interactions => times(2, times(labels, labels)),
        Group::Centrality => times(3, labels),
        Group::Connectivity => times(2, labels + 1),
        Group::MoranFeatures => features,
        Group::MoranClusters => labels,
        Group::Chull => times(2 * HULL_MEASURES.len() + 1, labels + 1),
        Group::Enrichment => times(labels, labels + 1),
        Group::Assortativity => 1,
        Group::Entropy => 2,
        Group::LocalMoran => times(3, features),
    }
}

/// Every pair of labels once, in the order of the enrichment's columns.
pub(super) fn pairs(k: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..k).flat_map(move |a| (a..k).map(move |b| (a, b)))
}

fn of_group(group: Group, labels: &[String], features: &[String]) -> Vec<String> {
    let moran = |names: &[String]| names.iter().map(|name| format!("moranI_{name}")).collect();
    match group {
        Group::Interactions => ["interaction_norm", "interaction"]
            .into_iter()
            .flat_map(|kind| {
                let from = move |a: &'_ String| format!("{kind}_{a}");
                labels
                    .iter()
                    .map(from)
                    .flat_map(|from| labels.iter().map(move |b| format!("{from}_{b}")))
            })
            .collect(),
        Group::Centrality => labels
            .iter()
            .flat_map(|a| {
                [
                    "degree_centrality",
                    "average_clustering",
                    "closeness_centrality",
                ]
                .map(|score| format!("centrality_{a}_{score}"))
            })
            .collect(),
        Group::Connectivity => ["mean".to_owned(), "std".to_owned()]
            .into_iter()
            .chain(
                labels
                    .iter()
                    .flat_map(|a| ["mean", "std"].map(|s| format!("degree_{a}_{s}"))),
            )
            .collect(),
        Group::MoranFeatures => moran(features),
        Group::MoranClusters => moran(labels),
        Group::Chull => std::iter::once("all".to_owned())
            .chain(labels.iter().map(|a| format!("cluster:{a}")))
            .flat_map(|set| {
                let mut names = Vec::with_capacity(11);
                for moment in ["mean", "sd"] {
                    names.extend(HULL_MEASURES.map(|m| format!("{set}_{m}_chull_{moment}")));
                }
                names.push(format!("{set}_n_obs_chull"));
                names
            })
            .collect(),
        Group::Enrichment => ["enrichment", "enrichment_ratio"]
            .into_iter()
            .flat_map(|kind| {
                let name =
                    move |(a, b): (usize, usize)| format!("{kind}_{}_{}", labels[a], labels[b]);
                pairs(labels.len()).map(name)
            })
            .collect(),
        Group::Assortativity => vec!["labels".to_owned()],
        Group::Entropy => ["neighborhoods", "mutual_information"]
            .map(str::to_owned)
            .to_vec(),
        Group::LocalMoran => features
            .iter()
            .flat_map(|f| ["hot", "cold", "outliers"].map(|kind| format!("{kind}_{f}")))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_many_as_are_counted() {
        let names = |n: usize| -> Vec<String> { (0..n).map(|i| i.to_string()).collect() };
        for (labels, features) in [(0, 0), (1, 2), (5, 0), (7, 3)] {
            for group in Group::ALL {
                let made = of_group(group, &names(labels), &names(features)).len();
                assert_eq!(number(group, labels, features), made, "{group:?} {labels}");
            }
        }
    }
}

//! The names of the columns, in the order in which [`super::unit`] makes the values.

use super::{Group, StatisticsConfig};
use crate::error::{ConfigError, Result};

/// What is measured of every hull.
pub(super) const HULL_MEASURES: [&str; 5] = ["volume", "area", "n", "distance_center", "density"];

pub(super) fn names(
    config: &StatisticsConfig,
    labels: &[String],
    features: &[String],
) -> Result<Vec<String>> {
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

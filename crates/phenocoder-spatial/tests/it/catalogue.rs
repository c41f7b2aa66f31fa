//! Every statistic of the crate as named numbers, for tests of what must hold for all of them.

use ndarray::{Array2, ArrayBase, Axis, Data, Dimension};
use phenocoder_core::{Categorical, CsrGraph, NoProgress, Seed};
use phenocoder_spatial::Error;
use phenocoder_spatial::assortativity::{assortativity, numeric_assortativity};
use phenocoder_spatial::autocorrelation::{
    Assumption, Autocorrelation, LocalAutocorrelation, LocalConfig, LocalNull, Normalization,
    PermutationConfig, Permuted, PermutedAutocorrelation, SpatialWeights, Tail, TestConfig,
    bivariate_geary, bivariate_geary_permuted, bivariate_moran, bivariate_moran_permuted, geary_c,
    geary_permuted, geary_test, lee_l, local_bivariate_moran, local_geary, local_moran, moran_i,
    moran_permuted, moran_test,
};
use phenocoder_spatial::centrality::{
    BetweennessConfig, Closeness, NodeCloseness, betweenness_centrality, closeness_centrality,
    clustering_coefficients, degree_centrality, group_betweenness, group_centrality,
};
use phenocoder_spatial::co_occurrence::{Neighborhood, co_occurrence};
use phenocoder_spatial::composition::composition;
use phenocoder_spatial::connectivity::{connected_components, degree_statistics};
use phenocoder_spatial::enrichment::{
    Enrichment, EnrichmentConfig, enrichment_exact, enrichment_exact_within, enrichment_permuted,
};
use phenocoder_spatial::hull::{ComponentConfig, convex_hull, hull_components};
use phenocoder_spatial::interactions::{EdgeWeight, interaction_matrix, row_normalized};
use phenocoder_spatial::neighborhood::{
    Center, EntropyUnit, label_entropy, mixing_entropy, neighborhood_composition,
    neighborhood_entropy,
};
use phenocoder_spatial::neighbors::{
    PercentileOf, cosine, delaunay_graph, knn_graph, lattice_graph, mutual, rings, spectral,
    symmetrized, within_distances, within_percentile,
};
use phenocoder_spatial::ripley::{EdgeCorrection, RipleyConfig, RipleyFunction, ripley};
use phenocoder_spatial::sepal::{Lattice, SepalConfig, sepal};
use phenocoder_spatial::smooth::{Smoothing, message_passing};
use phenocoder_spatial::{radius_graph, radius_graph_within};

/// What the statistics are made of.
#[derive(Clone)]
pub(crate) struct Input {
    pub(crate) points: Array2<f64>,
    pub(crate) labels: Categorical,
    pub(crate) samples: Categorical,
    pub(crate) x: Array2<f64>,
    pub(crate) y: Array2<f64>,
    pub(crate) radius: f64,
}

impl Input {
    /// Clumps of cells with three types in two samples and two correlated features.
    pub(crate) fn clumps(n: usize, d: usize, seed: u64) -> Self {
        let mut stream = Seed::new(seed).stream("clumps", 0);
        let edge = (n as f64).powf(1.0 / d as f64);
        let centers = Array2::from_shape_simple_fn((8, d), || stream.uniform_in(0.0, edge));
        let points = Array2::from_shape_fn((n, d), |(i, axis)| {
            centers[[i % 8, axis]] + 0.2 * edge * stream.normal()
        });
        let x = Array2::from_shape_fn((n, 2), |(i, f)| {
            stream.normal() + 0.3 * points[[i, f]] * f as f64
        });
        let noise = Array2::from_shape_simple_fn((n, 2), || stream.normal());
        let kind = |i: usize| ["a", "b", "c"][(i % 8 / 3 + usize::from(stream.chance(0.3))) % 3];
        Self {
            labels: Categorical::from_labels((0..n).map(kind)),
            samples: Categorical::from_labels((0..n).map(|i| ["s", "t"][i % 3 % 2])),
            y: &noise + &(&x * 0.5),
            points,
            x,
            radius: 1.2,
        }
    }

    pub(crate) fn select(&self, rows: &[usize]) -> Self {
        Self {
            points: self.points.select(Axis(0), rows),
            labels: self.labels.select(rows),
            samples: self.samples.select(rows),
            x: self.x.select(Axis(0), rows),
            y: self.y.select(Axis(0), rows),
            radius: self.radius,
        }
    }
}

/// What the numbers of a statistic are of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Of {
    /// The whole, or categories and columns of features.
    All,
    /// The nodes, one row after the other.
    Nodes,
    /// Edges: triples of the two nodes and the value.
    Edges,
}

/// What a statistic is unchanged by, beside the number of threads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    /// The order of the cells and rigid motions.
    Exact,
    /// Rigid motions: draws are of rows.
    Drawn,
    /// Neither: locations are drawn, too.
    Placed,
}

/// A statistic.
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) of: Of,
    pub(crate) kind: Kind,
    pub(crate) values: Result<Vec<f64>, Error>,
}

#[derive(Default)]
pub(crate) struct Catalogue(pub(crate) Vec<Entry>);

impl Catalogue {
    fn add(&mut self, name: &str, of: Of, kind: Kind, values: Result<Vec<f64>, Error>) {
        self.0.push(Entry {
            name: name.to_owned(),
            of,
            kind,
            values,
        });
    }

    fn graph(&mut self, name: &str, graph: Result<CsrGraph, Error>) {
        let triples = graph.map(|graph| {
            let row = |node: usize| {
                let row = graph.row(node).collect::<Vec<_>>().into_iter();
                row.flat_map(move |(other, value)| [node as f64, other as f64, value])
            };
            (0..graph.n_nodes()).flat_map(row).collect()
        });
        self.add(name, Of::Edges, Kind::Exact, triples);
    }

    fn enrichment(&mut self, name: &str, kind: Kind, found: Result<Enrichment, Error>) {
        let values = found.map(|found| {
            [&found.count, &found.mean, &found.variance, &found.z]
                .into_iter()
                .flat_map(flat)
                .collect()
        });
        self.add(name, Of::All, kind, values);
    }

    fn tested(&mut self, name: &str, found: Result<Autocorrelation, Error>) {
        let values = found.map(|t| [t.statistic, t.expected, t.variance, t.z, t.p_value].concat());
        self.add(name, Of::All, Kind::Exact, values);
    }

    fn permuted(&mut self, name: &str, found: Result<PermutedAutocorrelation, Error>) {
        let values = found.map(|t| {
            [
                t.statistic,
                t.mean,
                t.variance,
                t.z,
                t.p_value_normal,
                t.p_value,
            ]
            .concat()
        });
        self.add(name, Of::All, Kind::Drawn, values);
    }

    fn local(&mut self, name: &str, kind: Kind, found: Result<LocalAutocorrelation, Error>) {
        let values = found.map(|found| {
            let mut matrices = vec![&found.statistic, &found.expected, &found.variance, &found.z];
            matrices.push(&found.p_value_normal);
            let adjusted = found.adjusted();
            matrices.push(&adjusted);
            matrices.extend(&found.p_value);
            let quadrants = found
                .quadrant
                .mapv(|q| q.map_or(0.0, |q| 1.0 + f64::from(q as u8)));
            matrices.push(&quadrants);
            let rows = 0..found.statistic.nrows();
            rows.flat_map(|i| matrices.iter().flat_map(move |m| m.row(i).to_vec()))
                .collect()
        });
        self.add(name, Of::Nodes, kind, values);
    }
}

fn flat<S: Data<Elem = f64>, D: Dimension>(values: &ArrayBase<S, D>) -> Vec<f64> {
    values.iter().copied().collect()
}

/// All statistics; those that cost more than O(n log n) of no more than 2,000 cells.
pub(crate) fn all(input: &Input) -> Catalogue {
    let mut out = Catalogue::default();
    let points = input.points.view();
    graphs(input, &mut out);
    let (labels, samples) = (&input.labels, &input.samples);
    let Ok(graph) = radius_graph(points, input.radius) else {
        return out;
    };
    of_labels(&graph, input, &mut out);
    centralities(&graph, input, &mut out);
    of_features(&graph, input, &mut out);
    for neighborhood in [Neighborhood::Disc, Neighborhood::Annulus] {
        let distances = [0.5 * input.radius, 2.0 * input.radius];
        let found = co_occurrence(points, labels, &distances, neighborhood, &NoProgress);
        let found = found.map(|found| flat(&found.ratio));
        out.add("co-occurrence", Of::All, Kind::Exact, found);
    }
    for function in [
        RipleyFunction::K,
        RipleyFunction::L,
        RipleyFunction::G,
        RipleyFunction::F,
    ] {
        for correction in [EdgeCorrection::None, EdgeCorrection::Border] {
            let config = RipleyConfig::new()
                .with_steps(7)
                .with_simulations(3)
                .with_correction(correction);
            let found = ripley(points, labels, function, &config, &NoProgress);
            let name = format!("Ripley's {function:?}");
            let kind = match function {
                RipleyFunction::F => Kind::Placed,
                _ => Kind::Exact,
            };
            let (values, drawn) = match found {
                Err(error) => (Err(error.clone()), Err(error)),
                Ok(found) => {
                    let comparison = found.comparison.unwrap();
                    (
                        Ok([flat(&found.values), flat(&found.expected)].concat()),
                        Ok([flat(&comparison.lower), comparison.p_value].concat()),
                    )
                }
            };
            out.add(&name, Of::All, kind, values);
            out.add(
                &format!("{name} of random patterns"),
                Of::All,
                Kind::Placed,
                drawn,
            );
        }
    }
    let hull = convex_hull(points).map(|hull| {
        let hull = hull.map_or([f64::NAN; 2], |hull| [hull.volume, hull.area]);
        hull.to_vec()
    });
    out.add("hull", Of::All, Kind::Exact, hull);
    let config = ComponentConfig::default()
        .with_min_degree(2)
        .with_min_nodes(5);
    let hulls = hull_components(points, &graph, None, &config).map(|found| {
        let volumes = found.components.iter().map(|c| c.hull.volume);
        let mut volumes: Vec<f64> = volumes.collect();
        volumes.sort_by(f64::total_cmp);
        volumes
    });
    // Nodes are dropped one after the other, in their order.
    out.add("hulls of components", Of::All, Kind::Drawn, hulls);
    let found = composition(samples, labels).map(|found| flat(&found.fractions));
    out.add("composition", Of::All, Kind::Exact, found);
    out
}

fn graphs(input: &Input, out: &mut Catalogue) {
    let points = input.points.view();
    let radius = radius_graph(points, input.radius);
    out.graph("radius graph", radius.clone());
    out.graph(
        "radius graph within",
        radius_graph_within(points, &input.samples, input.radius),
    );
    let nearest = knn_graph(points, 4);
    out.graph("nearest neighbors", nearest.clone());
    out.graph("mutual", nearest.clone().map(|graph| mutual(&graph)));
    out.graph(
        "symmetrized",
        nearest.clone().map(|graph| symmetrized(&graph)),
    );
    let half = nearest.and_then(|graph| within_percentile(&graph, 50.0, PercentileOf::Edges));
    out.graph("nearest half", half);
    let triangles = delaunay_graph(points);
    out.graph("triangles", triangles.clone());
    out.graph("rings", triangles.and_then(|graph| rings(&graph, 2)));
    out.graph("lattice", lattice_graph(points, None, 4, 2));
    let close = radius.clone();
    out.graph(
        "short",
        close.and_then(|graph| within_distances(&graph, 0.1, 0.9)),
    );
    out.graph("spectral", radius.clone().map(|graph| spectral(&graph)));
    out.graph("cosine", radius.map(|graph| cosine(&graph)));
}

fn of_labels(graph: &CsrGraph, input: &Input, out: &mut Catalogue) {
    let (labels, samples) = (&input.labels, &input.samples);
    let exact = Kind::Exact;
    for weight in [EdgeWeight::One, EdgeWeight::Value] {
        let found = interaction_matrix(graph, labels, weight);
        let found = found.map(|m| [flat(&m), flat(&row_normalized(&m))].concat());
        out.add("interactions", Of::All, exact, found);
    }
    out.enrichment("enrichment", exact, enrichment_exact(graph, labels));
    let apart = radius_graph_within(input.points.view(), samples, input.radius);
    let within = apart.and_then(|graph| enrichment_exact_within(&graph, labels, samples));
    out.enrichment("enrichment within samples", exact, within);
    for within in [None, Some(samples)] {
        let config = EnrichmentConfig::new().with_permutations(20);
        let found = enrichment_permuted(graph, labels, within, &config, &NoProgress);
        out.enrichment("enrichment, permuted", Kind::Drawn, found);
    }
    let found = assortativity(graph, labels).map(|r| vec![r]);
    out.add("assortativity", Of::All, exact, found);
    for center in [Center::Excluded, Center::Included] {
        let found = neighborhood_composition(graph, labels, center);
        let found = found.map(|found| flat(&found.fractions));
        out.add("composition of neighborhoods", Of::Nodes, exact, found);
        let found = neighborhood_entropy(graph, labels, center, EntropyUnit::Evenness);
        out.add("entropy of neighborhoods", Of::Nodes, exact, found);
    }
    let found = mixing_entropy(graph, labels).map(|found| {
        vec![
            found.joint,
            found.first,
            found.second,
            found.conditional,
            found.mutual_information,
        ]
    });
    out.add("mixing entropy", Of::All, exact, found);
    let found = label_entropy(labels, EntropyUnit::Nats);
    out.add("entropy of labels", Of::All, exact, Ok(vec![found]));
    let found = degree_statistics(graph, labels).map(|found| {
        let clusters = found.per_cluster.iter().flat_map(|m| [m.mean, m.std]);
        [found.overall.mean, found.overall.std]
            .into_iter()
            .chain(clusters)
            .collect()
    });
    out.add("degrees", Of::All, exact, found);
}

fn centralities(graph: &CsrGraph, input: &Input, out: &mut Catalogue) {
    let (labels, exact) = (&input.labels, Kind::Exact);
    for closeness in [Closeness::AllNodes, Closeness::ReachableOnly] {
        let found = group_centrality(graph, labels, closeness);
        let found = found.map(|found| [found.degree, found.clustering, found.closeness].concat());
        out.add("centrality of groups", Of::All, exact, found);
    }
    out.add(
        "clustering",
        Of::Nodes,
        exact,
        Ok(clustering_coefficients(graph)),
    );
    out.add(
        "degree centrality",
        Of::Nodes,
        exact,
        Ok(degree_centrality(graph)),
    );
    let pieces = connected_components(graph);
    let sizes = pieces
        .of_node
        .iter()
        .map(|&piece| pieces.sizes[piece as usize] as f64);
    out.add("sizes of pieces", Of::Nodes, exact, Ok(sizes.collect()));
    let mut all = vec![(BetweennessConfig::new().with_pivots(20), Kind::Drawn)];
    if graph.n_nodes() <= 2000 {
        all.push((BetweennessConfig::new(), exact));
        for definition in [NodeCloseness::Improved, NodeCloseness::ReachableOnly] {
            let found = closeness_centrality(graph, definition, &NoProgress);
            out.add("closeness", Of::Nodes, exact, found);
        }
    }
    for (config, kind) in all {
        let found = betweenness_centrality(graph, &config, &NoProgress);
        out.add("betweenness", Of::Nodes, kind, found);
        let found = group_betweenness(graph, labels, &config, &NoProgress);
        out.add("betweenness of groups", Of::All, kind, found);
    }
}

fn of_features(graph: &CsrGraph, input: &Input, out: &mut Catalogue) {
    let (x, y) = (input.x.view(), input.y.view());
    for smoothing in [Smoothing::Mean, Smoothing::Compat] {
        let found = message_passing(x, graph, smoothing).map(|found| flat(&found));
        out.add("smoothing", Of::Nodes, Kind::Exact, found);
    }
    let found = numeric_assortativity(graph, x);
    out.add("numeric assortativity", Of::All, Kind::Exact, found);
    for normalization in [Normalization::Row, Normalization::None] {
        let weights = SpatialWeights::default().with_normalization(normalization);
        out.add(
            "Moran's I",
            Of::All,
            Kind::Exact,
            moran_i(graph, x, &weights),
        );
        out.add(
            "Geary's C",
            Of::All,
            Kind::Exact,
            geary_c(graph, x, &weights),
        );
        out.add(
            "Lee's L",
            Of::All,
            Kind::Exact,
            lee_l(graph, x, y, &weights),
        );
        let test = TestConfig::new().with_weights(weights).with_tail(Tail::Two);
        for assumption in [
            Assumption::Normality,
            Assumption::Randomization,
            Assumption::RowPermutation,
        ] {
            out.tested(
                "Moran, tested",
                moran_test(graph, x, &test.with_assumption(assumption)),
            );
            out.tested(
                "Geary, tested",
                geary_test(graph, x, &test.with_assumption(assumption)),
            );
        }
        out.tested("bivariate Moran", bivariate_moran(graph, x, y, &test));
        out.tested("bivariate Geary", bivariate_geary(graph, x, y, &test));
        for permuted in [Permuted::Values, Permuted::Rows] {
            let config = PermutationConfig::new(20)
                .with_weights(weights)
                .with_permuted(permuted);
            out.permuted(
                "Moran, permuted",
                moran_permuted(graph, x, &config, &NoProgress),
            );
            out.permuted(
                "Geary, permuted",
                geary_permuted(graph, x, &config, &NoProgress),
            );
            let found = bivariate_moran_permuted(graph, x, y, &config, &NoProgress);
            out.permuted("bivariate Moran, permuted", found);
            let found = bivariate_geary_permuted(graph, x, y, &config, &NoProgress);
            out.permuted("bivariate Geary, permuted", found);
        }
        for (permutations, kind) in [(0, Kind::Exact), (20, Kind::Drawn)] {
            for moments in [LocalNull::Conditional, LocalNull::Total] {
                let config = LocalConfig::new()
                    .with_weights(weights.with_edges(EdgeWeight::Value))
                    .with_moments(moments)
                    .with_permutations(permutations);
                out.local(
                    "local Moran",
                    kind,
                    local_moran(graph, x, &config, &NoProgress),
                );
                out.local(
                    "local Geary",
                    kind,
                    local_geary(graph, x, &config, &NoProgress),
                );
                let found = local_bivariate_moran(graph, x, y, &config, &NoProgress);
                out.local("local bivariate Moran", kind, found);
            }
        }
    }
}

/// Sepal of a lattice with a feature that is a gradient and one that is noise.
pub(crate) fn sepal_of(points: &Array2<f64>, x: &Array2<f64>, lattice: Lattice) -> Vec<f64> {
    let graph = radius_graph(points.view(), 1.01).unwrap();
    let config = SepalConfig::new(lattice);
    sepal(&graph, points.view(), x.view(), &config, &NoProgress).unwrap()
}

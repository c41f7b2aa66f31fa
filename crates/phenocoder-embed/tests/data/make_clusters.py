"""Writes clusters.json: k-means and Gaussian mixtures of scikit-learn, communities of the constant Potts model of igraph
and leidenalg, and directed graphs without their directions by igraph, which phenocoder-embed must equal or reach.

pip install scikit-learn==1.9.1 igraph==1.0.0 leidenalg==0.12.0
usage: python make_clusters.py clusters.json
"""

import json
import random
import sys
from importlib.metadata import version

import igraph
import leidenalg
import numpy as np
from sklearn.cluster import KMeans
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import kneighbors_graph

rng = np.random.default_rng(17)
RESOLUTIONS = [0.01, 0.05, 0.2]


def blobs(rows, columns, groups, spread):
    centers = rng.normal(size=(groups, columns)) * spread
    sizes = rng.uniform(0.4, 1.6, groups)
    group = rng.integers(0, groups, rows)
    return np.round(centers[group] + rng.normal(size=(rows, columns)) * sizes[group][:, None], 3)


def inertias(x):
    def fit(k, seed):
        fitted = KMeans(k, n_init=10, tol=0, max_iter=300, random_state=seed).fit(x)
        return float(f"{fitted.inertia_:.10g}")

    return {str(k): [fit(k, seed) for seed in range(80)] for k in [2, 5, 12, 30]}


def from_start(x, k):
    """Where Lloyd's rounds lead from rows of the set, clusters numbered as phenocoder does: by falling size, then by
    first row."""
    start = x[:: len(x) // k][:k]
    fit = KMeans(k, init=start, n_init=1, tol=0, max_iter=300, algorithm="lloyd").fit(x)
    sizes = np.bincount(fit.labels_, minlength=k)
    # No cluster has lost its rows on the way.
    centers = start
    for _ in range(fit.n_iter_):
        nearest = ((x[:, None] - centers) ** 2).sum(2).argmin(1)
        assert len(set(nearest)) == k
        centers = np.stack([x[nearest == c].mean(0) for c in range(k)])
    assert np.abs(centers - fit.cluster_centers_).max() < 1e-12
    first = [int(np.flatnonzero(fit.labels_ == c)[0]) for c in range(k)]
    order = sorted(range(k), key=lambda c: (-sizes[c], first[c]))
    return {
        "clusters": k,
        "start": start.tolist(),
        "rounds": int(fit.n_iter_),
        "labels": np.argsort(order)[fit.labels_].tolist(),
        "centers": rounded(fit.cluster_centers_[order]),
        "inertia": float(fit.inertia_),
    }


def rounded(values):
    return np.vectorize(lambda v: float(f"{v:.12g}"))(values).tolist()


def inverse(covariances, kind):
    return np.linalg.inv(covariances) if kind in ["full", "tied"] else 1 / covariances


def stacked(covariances, kind, k, p):
    shape = {"full": (k * p, p), "tied": (p, p), "diag": (k, p), "spherical": (k, 1)}[kind]
    return rounded(np.reshape(covariances, shape))


def mixture(x, new, kind, k, iterations, tolerance):
    p = x.shape[1]
    weights = np.arange(1, k + 1) / (k * (k + 1) / 2)
    means = x[:: len(x) // k][:k]
    base = np.diag(np.round(x.var(0), 3)) + 0.1
    covariances = {
        "full": np.stack([base * (1 + i / 2) for i in range(k)]),
        "tied": base,
        "diag": np.stack([np.diag(base) * (1 + i / 2) for i in range(k)]),
        "spherical": np.diag(base).mean() * (1 + np.arange(k) / 2),
    }[kind]
    fit = GaussianMixture(
        k,
        covariance_type=kind,
        max_iter=iterations,
        tol=tolerance,
        weights_init=weights,
        means_init=means,
        precisions_init=inverse(covariances, kind),
    ).fit(x)
    # Numbered as phenocoder does: by falling size.
    sizes = np.bincount(fit.predict(x), minlength=k)
    order = np.argsort(-sizes)
    assert len(set(sizes)) == k
    found = fit.covariances_ if kind == "tied" else fit.covariances_[order]
    return {
        "kind": {"diag": "diagonal"}.get(kind, kind),
        "iterations": iterations,
        "tolerance": tolerance,
        "start": {
            "weights": rounded(weights),
            "means": means.tolist(),
            "covariances": stacked(covariances, kind, k, p),
        },
        "weights": rounded(fit.weights_[order]),
        "means": rounded(fit.means_[order]),
        "covariances": stacked(found, kind, k, p),
        "labels": np.argsort(order)[fit.predict(x)].tolist(),
        "score": float(fit.score(x)),
        "bic": float(fit.bic(x)),
        "aic": float(fit.aic(x)),
        "rounds": int(fit.n_iter_),
        "converged": bool(fit.converged_),
        "probabilities_of_new": rounded(fit.predict_proba(new)[:, order]),
    }


def single_runs(x, kind, k):
    """The mean log-likelihoods where single runs from starts of their own end."""
    fits = (GaussianMixture(k, covariance_type=kind, random_state=seed).fit(x) for seed in range(200))
    return [float(f"{fit.score(x):.10g}") for fit in fits]


def directions():
    """A graph of edges in one direction and in both, some from a node to itself, and what becomes of it."""
    rng = np.random.default_rng(31)
    weights = np.round(rng.uniform(0.1, 4, (25, 25)), 3) * (rng.random((25, 25)) < 0.2)
    edges = [(int(i), int(j), float(weights[i, j])) for i, j in np.argwhere(weights)]
    graph = igraph.Graph(n=25, edges=[edge[:2] for edge in edges], directed=True)
    graph.es["weight"] = [edge[2] for edge in edges]

    def joined(mode, how):
        found = graph.as_undirected(mode=mode, combine_edges=how)
        return sorted([min(e.tuple), max(e.tuple), round(e["weight"], 6)] for e in found.es)

    return {
        "nodes": 25,
        "edges": edges,
        "sum": joined("collapse", "sum"),
        "larger": joined("collapse", "max"),
        "smaller": joined("mutual", "min"),
        "mean_of_both": joined("mutual", "mean"),
    }


def graphs():
    club = igraph.Graph.Famous("Zachary")
    club.es["weight"] = [1.0] * club.ecount()
    x = blobs(220, 4, 9, 2.5)
    near = kneighbors_graph(x, 9, mode="distance")
    near.data = np.round(np.exp(-near.data / near.data.mean()), 4)
    near = near.maximum(near.T).tocoo()
    edges = [(i, j, w) for i, j, w in zip(near.row, near.col, near.data) if i < j]
    points = igraph.Graph(n=220, edges=[(int(i), int(j)) for i, j, _ in edges])
    points.es["weight"] = [float(w) for _, _, w in edges]
    return {"club": club, "points": points}


def communities(graph, resolution):
    best = None
    for seed in range(10):
        random.seed(seed)
        found = graph.community_leiden("CPM", weights="weight", resolution=resolution, n_iterations=-1)
        best = found if best is None or found.quality > best.quality else best
    other = max(
        (
            leidenalg.find_partition(
                graph,
                leidenalg.CPMVertexPartition,
                weights="weight",
                resolution_parameter=resolution,
                n_iterations=-1,
                seed=seed,
            )
            for seed in range(10)
        ),
        key=lambda partition: partition.quality(),
    )
    return {
        "resolution": resolution,
        "igraph": {"labels": best.membership, "quality": best.quality},
        "leidenalg": {"labels": other.membership, "quality": other.quality()},
    }


def described(graph):
    edges = [[e.source, e.target, e["weight"]] for e in graph.es]
    found = [communities(graph, resolution) for resolution in RESOLUTIONS]
    return {"nodes": graph.vcount(), "edges": edges, "communities": found}


sets = {
    "blobs": blobs(300, 3, 12, 3),
    "many_columns": blobs(90, 12, 5, 1),
    "square": np.round(rng.uniform(size=(400, 2)), 4),
}
x = blobs(160, 3, 4, 1.6)
new = np.round(x[:8] + rng.normal(size=(8, 3)) * 3, 3)
out = {
    "versions": {name: version(name) for name in ["scikit-learn", "igraph", "leidenalg", "numpy"]},
    "kmeans": [
        {"name": n, "x": x.tolist(), "inertias": inertias(x), "from_start": [from_start(x, k) for k in [5, 12]]}
        for n, x in sets.items()
    ],
    "mixture": {
        "x": x.tolist(),
        "new": new.tolist(),
        "fits": [
            mixture(x, new, kind, 3, iterations, tolerance)
            for kind in ["full", "tied", "diag", "spherical"]
            for iterations, tolerance in [(2, 0.0), (100, 1e-3)]
        ],
        "single_runs": [
            {
                "set": name,
                "kind": {"diag": "diagonal"}.get(kind, kind),
                "components": k,
                "scores": single_runs(rows, kind, k),
            }
            for name, rows in [("x", x), ("blobs", sets["blobs"])]
            for kind in ["full", "tied", "diag", "spherical"]
            for k in [2, 4, 7]
        ],
    },
    "graphs": {name: described(graph) for name, graph in graphs().items()},
    "directions": directions(),
}
with open(sys.argv[1], "w") as file:
    json.dump(out, file, separators=(",", ":"))
    file.write("\n")

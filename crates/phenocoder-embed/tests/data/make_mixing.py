"""Writes mixing.json: how batches mix and labels hold together by scib-metrics 0.5.10 in double precision, kBET by label
also from its definition by NumPy and SciPy, and tails of the chi-squared distribution by SciPy, which phenocoder-embed
must equal.

pip install scib-metrics==0.5.10
usage: python make_mixing.py mixing.json
"""

import json
import sys
from importlib.metadata import version

import jax
import numpy as np
import scipy.stats
from scipy.sparse.csgraph import connected_components

jax.config.update("jax_enable_x64", True)

import scib_metrics
from scib_metrics.nearest_neighbors import NeighborsResults

rng = np.random.default_rng(5)
n = 150
batch = np.repeat([0, 1, 2], [80, 45, 25])[rng.permutation(n)]
label = rng.integers(0, 4, n)
centers = rng.normal(size=(4, 3)) * 3
x = centers[label] + rng.normal(size=(n, 3)) * np.array([1.0, 1.0, 2.5])[batch][:, None]
x[batch == 1, 0] += 4
x[::15] = x[1::15]
x = np.round(x, 5)

distances = np.sqrt(((x[:, None] - x[None]) ** 2).sum(-1))
np.fill_diagonal(distances, -1)  # A row is its own first neighbour, before its double.
order = np.argsort(distances, axis=1, kind="stable")
sorted_distances = np.maximum(np.take_along_axis(distances, order, 1), 0)


def neighbors(count):
    gap = sorted_distances[:, count] - sorted_distances[:, count - 1]
    # Of two equal rows the first is the nearer one, here as there; nothing else may be left to rounding.
    assert ((gap == 0) | (gap > 1e-9)).all()
    return NeighborsResults(indices=order[:, :count], distances=sorted_distances[:, :count])


def rounded(values):
    return [float(f"{v:.13g}") for v in values]


sets = []
for count in [90, 30]:
    near = neighbors(count)
    acceptance, statistics, p_values = scib_metrics.kbet(near, batch)
    sets.append(
        {
            "neighbors": count,
            "batch_lisi": rounded(scib_metrics.lisi_knn(near, batch)),
            "label_lisi": rounded(scib_metrics.lisi_knn(near, label)),
            "lisi_of_perplexity_7": rounded(scib_metrics.lisi_knn(near, label, perplexity=7)[:40]),
            "integration_lisi": float(scib_metrics.ilisi_knn(near, batch)),
            "label_lisi_scaled": float(scib_metrics.clisi_knn(near, label)),
            "kbet": float(acceptance),
            "kbet_of_alpha_0.3": float(scib_metrics.kbet(near, batch, alpha=0.3)[0]),
            "kbet_statistics": rounded(statistics),
            "kbet_p_values": rounded(p_values),
        }
    )

corrected = x - np.array([x[batch == b].mean(0) for b in range(3)])[batch] * 0.8
regression = scib_metrics.utils.principal_component_regression
tails = [
    [dof, value, float(scipy.stats.chi2.sf(value, dof))]
    for dof in [1, 2, 3, 4, 7, 10, 25, 60, 301, 1000]
    for value in [0.0, 1e-8, 0.3, 1.0, 3.7, 12.0, 40.0, 310.0, 1045.0, 1390.0, 1600.0, 3000.0]
]


def by_label():
    """Labels with a shifted batch, in two pieces, well mixed, of one batch, of few rows, and in small pieces."""
    rng = np.random.default_rng(23)
    sizes = [150, 120, 90, 60, 8, 30]
    label = np.repeat(np.arange(6), sizes)
    batch = rng.integers(0, 3, len(label))
    corners = np.array([[0, 0, 0], [12, 0, 0], [0, 12, 0], [0, 0, 12], [12, 12, 0], [12, 0, 12]])
    x = corners[label] + rng.normal(size=(len(label), 3))
    x[(label == 0) & (batch == 1), 0] += 1.2
    x[np.flatnonzero(label == 1)[:70], 1] -= 15
    batch[label == 3] = 1
    x[label == 5, 2] += 14 * (np.arange(30) % 5)
    order = rng.permutation(len(label))
    x, label, batch = np.round(x[order], 3), label[order], batch[order]
    away = np.sqrt(((x[:, None] - x[None]) ** 2).sum(-1))
    np.fill_diagonal(away, -1)
    order = np.argsort(away, axis=1, kind="stable")[:, :15]
    near = NeighborsResults(indices=order, distances=np.maximum(np.take_along_axis(away, order, 1), 0))

    class Double:
        """The graph in double precision: else the eigenvalue 1 is 1 or 1 ± 1e-7, which weighs 1 or ten million."""

        indices = near.indices
        knn_graph_connectivities = near.knn_graph_connectivities.tocsr().astype(np.float64)

    def by_definition(count):
        """By diffusion maps (Coifman et al. 2005, doi:10.1073/pnas.0500334102) in double precision with exact neighbours
        in them, of the graph of `count` neighbours of either row, which weigh 1 / (1 + d²).

        Settings as in scib-metrics; what is 1 in single precision counts once.
        """
        weights = np.zeros_like(away)
        nearest = away.argsort(1, kind="stable")[:, 1:count]
        np.put_along_axis(weights, nearest, 1 / (1 + np.take_along_axis(away, nearest, 1) ** 2), 1)
        weights = np.maximum(weights, weights.T)
        return [share(weights, np.flatnonzero(label == value)) for value in np.unique(label)]

    def share(weights, rows):
        count = len(np.unique(batch[rows]))
        if count < 2 or len(rows) <= 10:
            return None
        k = min(max(len(rows) // (4 * count), 10), 70)
        parts, part = connected_components(weights[np.ix_(rows, rows)])
        kept = rows if parts == 1 else rows[np.bincount(part)[part] >= 3 * k]
        if len(kept) < 0.75 * len(rows):
            return 0.0
        kernel = weights[np.ix_(kept, kept)]
        kernel = kernel / np.outer(kernel.sum(0), kernel.sum(0))
        values, vectors = np.linalg.eigh(kernel / np.sqrt(np.outer(kernel.sum(0), kernel.sum(0))))
        order = np.argsort(-abs(values))
        dimensions = min(100, len(kept) - 1)
        sizes = abs(values[order])
        assert sizes[dimensions - 1] > sizes[dimensions] + 1e-6
        values, vectors = values[order[:dimensions]], vectors[:, order[:dimensions]]
        ones = values.astype(np.float32) >= 1
        shifted = np.where(ones, 0, values) + 1e-8
        places = vectors * np.where(ones, 1, shifted / (1 - shifted))
        gaps = np.sqrt(((places[:, None] - places[None]) ** 2).sum(-1))
        np.fill_diagonal(gaps, -1)
        order = gaps.argsort(1, kind="stable")
        gaps = np.take_along_axis(gaps, order, 1)
        # Rounding decides on no neighbour and on no test.
        assert (gaps[:, k + 1] > gaps[:, k] * (1 + 1e-7)).all()
        found = batch[kept][order[:, : k + 1]]
        expected = np.bincount(batch[kept]) / len(kept) * (k + 1)
        seen = np.stack([(found == value).sum(1) for value in range(3)], 1)
        tails = scipy.stats.chi2.sf(((seen - expected) ** 2 / expected).sum(1), count - 1)
        assert len(expected) == count == 3 and (abs(tails - 0.05) > 1e-9).all()
        return float((tails >= 0.05).mean())

    mean, labels = scib_metrics.kbet_per_label(Double, batch, label, return_df=True)
    return {
        "x": x.tolist(),
        "batch": batch.tolist(),
        "label": label.tolist(),
        "mean": float(mean),
        "per_label": [None if np.isnan(v) else float(v) for v in labels["kBET"]],
        "by_definition": {str(count): by_definition(count) for count in [5, 8, 15, 30]},
    }


out = {
    "versions": {name: version(name) for name in ["scib-metrics", "jax", "numpy", "scipy"]},
    "x": x.tolist(),
    "corrected": np.round(corrected, 9).tolist(),
    "batch": batch.tolist(),
    "label": label.tolist(),
    "sets": sets,
    "graph_connectivity": {
        str(count): float(scib_metrics.graph_connectivity(neighbors(count), label)) for count in [4, 5, 8, 15]
    },
    "batch_variance": regression(x, batch, categorical=True),
    "batch_variance_of_two_components": regression(x, batch, categorical=True, n_components=2),
    "batch_variance_removed": float(
        scib_metrics.pcr_comparison(x, np.round(corrected, 9), batch, categorical=True)
    ),
    "chi_squared_tails": tails,
    "by_label": by_label(),
}
with open(sys.argv[1], "w") as file:
    json.dump(out, file, separators=(",", ":"))
    file.write("\n")

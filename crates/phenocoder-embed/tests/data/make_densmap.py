"""Writes densmap.json: maps that keep densities, by umap-learn 0.5.12, which phenocoder-embed must come near.

pip install umap-learn==0.5.12
usage: python make_densmap.py densmap.json
"""

import json
import sys
import warnings
from importlib.metadata import version

import numpy as np
import umap
from umap.umap_ import fuzzy_simplicial_set

warnings.filterwarnings("ignore")
rng = np.random.default_rng(12)
n = 300
group = np.arange(n) % 4
spread = np.array([0.25, 0.5, 1.0, 2.0])
center = np.array([[0, 0, 0, 0, 0], [9, 0, 0, 0, 0], [0, 9, 0, 0, 0], [0, 0, 9, 0, 0]])
x = center[group] + spread[group][:, None] * rng.standard_t(4, size=(n, 5))
x = np.round(x * 1024).astype(int)


def correlation(a, b):
    return float(np.corrcoef(a, b)[0, 1])


def radii_in_graph(places):
    """Of squared distances, as those of the rows are; umap-learn's own radii of a map are not."""
    found = fuzzy_simplicial_set(places, 15, np.random.RandomState(0), "euclidean", return_dists=True)
    weights, distances = found[0].toarray().astype(float), found[3].toarray().astype(float)
    return np.log(1e-8 + (weights * distances**2).sum(axis=1) / weights.sum(axis=1))


def run(seed):
    model = umap.UMAP(n_neighbors=15, densmap=True, output_dens=True, random_state=seed, n_jobs=1)
    places, radii, map_radii = (part.astype(float) for part in model.fit_transform((x / 1024).astype(np.float32)))
    p = np.clip(model.graph_.toarray().astype(float), 0, 1)
    squares = ((places[:, None] - places[None]) ** 2).sum(axis=2)
    q = 1 / (1 + model._a * squares**model._b)
    near = np.where(p > 0, q, 0)
    of_edges = np.log(1e-8 + (near * squares).sum(axis=1) / near.sum(axis=1))
    pairs = np.triu_indices(n, 1)
    p, q = p[pairs], np.clip(q[pairs], 1e-12, 1 - 1e-12)
    together = p * np.log(np.where(p > 0, p, 1) / q)
    apart = (1 - p) * np.log(np.where(p < 1, 1 - p, 1) / (1 - q))
    return radii, {
        "correlation": correlation(radii, map_radii),
        "correlation_of_edges": correlation(radii, of_edges),
        "correlation_in_graph": correlation(radii, radii_in_graph(places)),
        "objective": float((together + apart).sum()),
    }


runs = [run(seed) for seed in range(5)]
with open(sys.argv[1], "w", encoding="utf-8") as file:
    json.dump(
        {
            "versions": {name: version(name) for name in ["umap-learn", "numpy", "scipy", "numba", "scikit-learn"]},
            "x_times_1024": x.tolist(),
            "group": group.tolist(),
            "radii": [round(float(radius), 6) for radius in runs[0][0]],
            "runs": [measures for _, measures in runs],
        },
        file,
        separators=(",", ":"),
    )
    file.write("\n")
for _, measures in runs:
    print(measures)

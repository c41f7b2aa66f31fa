"""Writes spectral.json: spectral starts of a connected graph and of one of two parts by umap-learn 0.5.12, which
phenocoder-embed must equal up to the signs of axes and, of parts, the turn within the plane.

Asked for as precisely as can be: by itself umap-learn stops at a residual of 1e-4, with which it misses the eigenvalue 0
of both parts here and so leaves out the leading eigenvector.

pip install umap-learn==0.5.12
usage: python make_spectral.py spectral.json
"""

import json
import sys
import warnings
from importlib.metadata import version

import numpy as np
import scipy.sparse
from scipy.sparse.csgraph import connected_components
from umap.spectral import multi_component_layout, spectral_layout
from umap.umap_ import fuzzy_simplicial_set

warnings.filterwarnings("ignore")
rng = np.random.default_rng(31)
PRECISE = {"tol": 1e-13, "maxiter": 100_000}


def graph_of(x):
    """Memberships in units of 1/1024, so that both have the same graph."""
    graph = fuzzy_simplicial_set(x, 6, np.random.RandomState(0), "euclidean")[0]
    graph.data = np.maximum(np.round(graph.data * 1024), 1) / 1024
    return graph.astype(float)


def groups(sizes, apart):
    """Rows around centers, so that the eigenvalues after the first two of a part lie lower."""
    return np.vstack([center + rng.normal(size=(size, 4)) for center, size in zip(apart * np.eye(4), sizes)])


def values(graph, nodes):
    """The two eigenvalues below 1 of a part, and the one after them."""
    part = graph[nodes][:, nodes].toarray()
    root = np.sqrt(part.sum(0))
    return np.linalg.eigvalsh(part / np.outer(root, root))[::-1][1:4].tolist()


def case(x):
    graph = graph_of(x)
    count, part = connected_components(graph)
    upper = scipy.sparse.triu(graph).tocoo()
    chance = np.random.RandomState(0)
    if count == 1:
        places = spectral_layout(x, graph, 2, chance, **PRECISE)
    else:
        places = multi_component_layout(x, graph, count, part, 2, chance, **PRECISE)
    return {
        "rows": upper.row.tolist(),
        "columns": upper.col.tolist(),
        "weights_times_1024": (upper.data * 1024).astype(int).tolist(),
        "part": part.tolist(),
        "values": [values(graph, part == index) for index in range(count)],
        "places": [[float(f"{v:.12g}") for v in row] for row in places],
    }


connected = case(groups([80, 60, 50], 4))
apart = case(np.vstack([groups([25, 20, 20], 3), 100 + groups([55, 50, 45], 3)]))
assert max(connected["part"]) == 0 and max(apart["part"]) == 1
for found in (connected, apart):
    print(np.bincount(found["part"]), found["values"])
with open(sys.argv[1], "w", encoding="utf-8") as file:
    json.dump(
        {
            "versions": {name: version(name) for name in ["umap-learn", "numpy", "scipy", "scikit-learn"]},
            "connected": connected,
            "two_parts": apart,
        },
        file,
        separators=(",", ":"),
    )
    file.write("\n")

"""Writes organoid_maps.json: how good three maps of umap-learn 0.5.12 are of each of the two runs of the reference
`organoid/golden/embedding_*`, which phenocoder-embed must reach; the first is the map that the reference holds.

pip install umap-learn==0.5.12
usage: python make_organoid_maps.py FOLDER organoid_maps.json
where FOLDER holds embedding_plain and embedding_bbknn
"""

import json
import pathlib
import sys
import warnings
from importlib.metadata import version

import numpy as np
import scipy.sparse
from sklearn.manifold import trustworthiness
from umap.umap_ import find_ab_params, simplicial_set_embedding

warnings.filterwarnings("ignore")
SEEDS, EPOCHS, TRUSTED = 3, 500, 15
A, B = find_ab_params(1.0, 0.1)


def objective(graph, places):
    p = np.clip(graph.toarray(), 0, 1)
    squares = ((places[:, None] - places[None]) ** 2).sum(axis=2)
    pairs = np.triu_indices(len(p), 1)
    p, q = p[pairs], np.clip(1 / (1 + A * squares[pairs] ** B), 1e-12, 1 - 1e-12)
    together = p * np.log(np.where(p > 0, p, 1) / q)
    apart = (1 - p) * np.log(np.where(p < 1, 1 - p, 1) / (1 - q))
    return float((together + apart).sum())


def maps(folder):
    scores, reference = np.load(folder / "X_pca.npy"), np.load(folder / "X_umap.npy")
    edges = np.genfromtxt(folder / "connectivities_coo.csv", delimiter=",", names=True)
    ends = edges["row"].astype(int), edges["col"].astype(int)
    graph = scipy.sparse.coo_matrix((edges["value"], ends), shape=(len(scores), len(scores))).tocsr()
    for seed in range(SEEDS):
        chance = np.random.RandomState(seed)
        # Components, step, curve, repulsion, its samples, epochs, start; no densities.
        settings = 2, 1.0, A, B, 1.0, 5, EPOCHS, "spectral", chance, "euclidean", {}, False, {}, False
        places = simplicial_set_embedding(scores, graph.astype("f4").tocoo(), *settings)[0].astype(float)
        assert seed > 0 or (places == reference).all()
        trusted = trustworthiness(scores, places, n_neighbors=TRUSTED)
        yield {"seed": seed, "objective": objective(graph, places), "trustworthiness": float(trusted)}


folder, out = pathlib.Path(sys.argv[1]), sys.argv[2]
found = {name: list(maps(folder / f"embedding_{name}")) for name in ["plain", "bbknn"]}
print(found)
versions = {name: version(name) for name in ["umap-learn", "numpy", "scipy", "numba", "scikit-learn"]}
with open(out, "w", encoding="utf-8") as file:
    json.dump({"versions": versions, **found}, file, indent=1)
    file.write("\n")

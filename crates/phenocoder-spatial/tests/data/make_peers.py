"""Writes peers.json: statistics of small sets by squidpy 1.8.3, networkx 3.7 and esda 2.10.0, which phenocoder-spatial must equal.

pip install squidpy==1.8.3 networkx==3.7 esda==2.10.0 libpysal==4.15.1
usage: python make_peers.py peers.json
"""

import json
import sys

import anndata
import esda
import networkx as nx
import numpy as np
import scipy
import squidpy as sq
from libpysal.weights import W
from scipy.spatial import cKDTree

rng = np.random.default_rng(7)
out = {
    "versions": {
        "squidpy": sq.__version__,
        "networkx": nx.__version__,
        "esda": esda.__version__,
        "scipy": scipy.__version__,
        "numpy": np.__version__,
    }
}


def csr(matrix):
    matrix = scipy.sparse.csr_matrix(matrix)
    matrix.sort_indices()
    return {"indptr": matrix.indptr.tolist(), "indices": matrix.indices.tolist()}


# Sepal on a hexagonal lattice with a hole, so that some spots have no neighbor with all six.
rows, columns = 9, 10
lattice = np.array([[c + 0.5 * (r % 2), r * np.sqrt(3) / 2] for r in range(rows) for c in range(columns)])
keep = np.ones(len(lattice), bool)
keep[[23, 24, 34, 45, 46, 57, 68]] = False
lattice = lattice[keep] * 10.0
x = np.abs(rng.normal(size=(len(lattice), 4)))
x[:, 1] *= lattice[:, 0]
x[:, 2] = np.where(lattice[:, 1] > 40, 5.0, 0.0) + 0.1 * x[:, 2]
table = anndata.AnnData(x.copy())
table.obsm["spatial"] = lattice
sq.gr.spatial_neighbors(table, coord_type="grid", n_neighs=6)
scores = sq.gr.sepal(table, max_neighs=6, copy=True)
out["sepal_hexagonal"] = {
    "points": lattice.tolist(),
    "graph": csr(table.obsp["spatial_connectivities"]),
    "x": x.tolist(),
    "scores": scores.loc[table.var_names].iloc[:, 0].tolist(),
}

# A graph in two pieces with an isolated point.
n = 50
points = rng.uniform(0, 10, size=(n, 2))
points[32:] += [40, 0]
points[n - 1] = [100, 100]
labels = rng.integers(0, 3, n)
x, y = rng.normal(size=(n, 2)), rng.normal(size=(n, 2))
x[:, 0] += 0.3 * points[:, 1]
y[:, 0] += 0.5 * x[:, 0]
pairs = cKDTree(points).query_pairs(2.3, output_type="ndarray")
radius = np.zeros((n, n))
radius[pairs[:, 0], pairs[:, 1]] = radius[pairs[:, 1], pairs[:, 0]] = 1
nearest = np.zeros((n, n))
for row, others in enumerate(cKDTree(points).query(points, 6)[1]):
    nearest[row, [other for other in others if other != row][:5]] = 1
out["set"] = {"x": x.tolist(), "y": y.tolist(), "labels": labels.tolist()}

for name, matrix in (("radius", radius), ("nearest", nearest)):
    golden = {"graph": csr(matrix)}
    undirected = nx.from_numpy_array(((matrix + matrix.T) > 0).astype(float))
    values = lambda scores: [scores[node] for node in range(n)]
    golden["degree"] = values(nx.degree_centrality(undirected))
    golden["closeness"] = values(nx.closeness_centrality(undirected))
    golden["closeness_reachable"] = values(nx.closeness_centrality(undirected, wf_improved=False))
    golden["betweenness"] = values(nx.betweenness_centrality(undirected))
    golden["betweenness_pairs"] = values(nx.betweenness_centrality(undirected, normalized=False))
    directed = nx.from_numpy_array(matrix, create_using=nx.DiGraph)
    nx.set_node_attributes(directed, dict(enumerate(labels.tolist())), "label")
    golden["assortativity"] = nx.attribute_assortativity_coefficient(directed, "label")
    golden["numeric_assortativity"] = []
    for column in range(2):
        nx.set_node_attributes(directed, dict(enumerate(x[:, column].tolist())), "x")
        golden["numeric_assortativity"].append(nx.numeric_assortativity_coefficient(directed, "x"))

    # esda's local Geary fails where a point has no neighbors.
    linked = np.flatnonzero(matrix.sum(1))
    part = matrix[np.ix_(linked, linked)]
    golden["linked"] = linked.tolist()
    for kind in ("r", "b"):
        neighbors = {i: np.flatnonzero(row).tolist() for i, row in enumerate(part)}
        weights = W(neighbors, silence_warnings=True)
        weights.transform = kind
        found = {}
        for column in range(2):
            u, v = x[linked, column], y[linked, column]
            np.random.seed(1)
            local = esda.Moran_Local(u, weights, transformation=kind, permutations=9999, n_jobs=1, seed=1)
            both = esda.Moran_Local_BV(u, v, weights, transformation=kind, permutations=0, n_jobs=1)
            bivariate = esda.Moran_BV(u, v, weights, transformation=kind, permutations=0)
            geary = esda.Geary_Local(connectivity=weights, permutations=9999, n_jobs=1, seed=1).fit(u)
            lee = None
            if kind == "r":
                lee = esda.Spatial_Pearson(connectivity=weights.sparse, permutations=0).fit(u[:, None], v[:, None])
                lee = lee.association_[0, 1]
            found[f"x{column}"] = {
                "moran": np.asarray(local.Is).tolist(),
                "moran_expected": np.asarray(local.EI).tolist(),
                "moran_variance": np.asarray(local.VI).tolist(),
                "moran_conditional_expected": np.asarray(local.EIc).tolist(),
                "moran_conditional_variance": np.asarray(local.VIc).tolist(),
                "moran_quadrant": np.asarray(local.q).tolist(),
                "moran_p_9999": np.asarray(local.p_sim).tolist(),
                "geary": np.asarray(geary.localG).tolist(),
                "geary_p_9999": np.asarray(geary.p_sim).tolist(),
                "bivariate": np.asarray(both.Is).tolist(),
                "global_bivariate": float(bivariate.I),
                "lee": lee,
            }
        golden[f"esda_{kind}"] = found
    out[name] = golden

# Betweenness of groups is defined by networkx for one piece only.
piece = nx.from_numpy_array(radius[:32, :32])
piece = piece.subgraph(max(nx.connected_components(piece), key=len))
order = sorted(piece)
piece = nx.relabel_nodes(piece, {node: i for i, node in enumerate(order)})
matrix = nx.to_numpy_array(piece, nodelist=range(len(order)))
out["groups"] = {
    "graph": csr(matrix),
    "labels": labels[order].tolist(),
    "betweenness": [
        nx.group_betweenness_centrality(piece, [i for i, node in enumerate(order) if labels[node] == label])
        for label in range(3)
    ],
}


def plain(value):
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [plain(entry) for entry in value]
    if isinstance(value, float) and np.isfinite(value):
        return float(f"{value:.15g}")
    if isinstance(value, float) and not np.isfinite(value):
        return "NaN" if np.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    return value


with open(sys.argv[1], "w") as file:
    json.dump(plain(out), file, separators=(",", ":"))
    file.write("\n")

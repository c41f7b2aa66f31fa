"""Writes chain.json: the stages of an embedding by scikit-learn 1.9.1, umap-learn 0.5.12, scanpy 1.12.4 and pandas, on
points in space and on a set with columns of one value, a gap, rows that repeat one another, rows far away and a batch
of four rows, which phenocoder-embed must equal; and chain_maps.json: how good maps of umap-learn are of larger sets of
both kinds, which it must reach.

Rows come first among their own neighbours and ties are ordered by index, so that rows that repeat one another have one
answer; the weights are umap-learn's. bbknn's search and trimming are written out: it searches each batch as is done here.

pip install scanpy==1.12.4 scikit-learn==1.9.1 umap-learn==0.5.12
usage: python make_chain.py chain.json chain_maps.json
"""

import json
import sys
import warnings
from importlib.metadata import version

import anndata
import numpy as np
import pandas as pd
import scanpy
from scipy.sparse import coo_matrix
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.manifold import trustworthiness
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from umap.umap_ import find_ab_params, fuzzy_simplicial_set, simplicial_set_embedding

warnings.filterwarnings("ignore")
rng = np.random.default_rng(29)
COLUMNS, COMPONENTS, NEIGHBORS, WITHIN, KEEP = 8, 4, 10, 3, 5
ROWS, ROWS_OF_MAPS, SEEDS = 60, 300, 5
CURVE = find_ab_params(1.0, 0.1)


def rounded(values):
    return np.vectorize(lambda v: float(f"{v:.12g}"))(np.asarray(values, float)).tolist()


def in_space(n):
    points = rng.normal(size=(4, 3))[rng.integers(0, 4, n)] * 3 + rng.normal(size=(n, 3))
    x = points @ rng.normal(size=(3, COLUMNS)) + 0.3 * rng.normal(size=(n, COLUMNS))
    batch = rng.integers(0, 3, n)
    return x + rng.normal(size=(3, COLUMNS))[batch], batch


def degenerate(n):
    x = rng.normal(size=(n, COLUMNS))
    x[:, 5], x[:, 6] = 2.5, 0
    x[17, 7] = np.nan
    x[40:48] = x[40]
    for column in range(4):
        x[n - 4 + column, column] = 30
    batch = np.arange(n) % 2
    batch[[3, 20, 31, 50]] = 2
    # Rows that repeat one another do so within a batch.
    batch[40:48] = 0
    return x, batch


def scaled(x):
    table = anndata.AnnData(x.copy())
    scanpy.pp.scale(table)
    return np.nan_to_num(table.X)


def without_batch(x, batch, kind):
    hot = np.hstack([np.eye(3)[batch], np.eye(2)[kind]])
    beta = Ridge(alpha=1.0, fit_intercept=False, solver="cholesky").fit(hot, x).coef_.T
    return x - hot[:, :3] @ beta[:3]


def distances(x):
    # One order of additions for every row, so that equal rows are at distance 0.
    return np.sqrt(((x[:, None] - x[None]) ** 2).sum(-1))


def nearest(x):
    gaps = distances(x)
    np.fill_diagonal(gaps, -1)
    indices = gaps.argsort(1, kind="stable")[:, :NEIGHBORS]
    return indices, np.maximum(np.take_along_axis(gaps, indices, 1), 0)


def balanced(x, batch):
    gaps = distances(x)
    np.fill_diagonal(gaps, -1)
    indices = []
    for value in range(3):
        members = np.flatnonzero(batch == value)
        indices.append(members[gaps[:, members].argsort(1, kind="stable")[:, :WITHIN]])
    indices = np.sort(np.hstack(indices), 1)
    order = np.take_along_axis(gaps, indices, 1).argsort(1, kind="stable")
    indices = np.take_along_axis(indices, order, 1)
    return indices, np.maximum(np.take_along_axis(gaps, indices, 1), 0)


def fuzzy(indices, gaps):
    found = fuzzy_simplicial_set(
        coo_matrix((len(indices), 1)), indices.shape[1], None, None, knn_indices=indices, knn_dists=gaps.astype(np.float32)
    )
    return found[0].tocsr()


def trimmed(graph, keep):
    weights = graph.toarray()
    threshold = np.array([np.sort(row)[-keep] for row in weights])
    return coo_matrix(np.where((weights >= threshold[:, None]) & (weights >= threshold), weights, 0)).tocsr()


def edges(graph):
    graph = graph.tocoo()
    flat = sorted(zip(graph.row.tolist(), graph.col.tolist(), graph.data.tolist()))
    return [[i, j, float(f"{w:.7g}")] for i, j, w in flat if i < j and w > 0]


def map_of(graph, seed):
    # The places of parts that no edge joins come from the global generator.
    np.random.seed(seed)
    found, _ = simplicial_set_embedding(
        None, graph.copy(), 2, 1.0, *CURVE, 1.0, 5, 500, "spectral", np.random.RandomState(seed), "euclidean", {},
        False, {}, False,
    )
    return found.astype(float)


def cross_entropy(graph, places):
    above = np.triu_indices(len(places), 1)
    q = 1 / (1 + CURVE[0] * (distances(places) ** 2)[above] ** CURVE[1])
    p, q = np.minimum(graph.toarray()[above], 1), np.clip(q, 1e-12, 1 - 1e-12)
    with np.errstate(all="ignore"):
        terms = np.nan_to_num(p * np.log(p / q)) + np.nan_to_num((1 - p) * np.log((1 - p) / (1 - q)))
    return float(terms.sum())


def inputs(x, batch):
    x = np.round(x, 3)
    kind = rng.integers(0, 2, len(x))
    out = {"x": [[None if np.isnan(v) else v for v in row] for row in x.tolist()]}
    out["batch"], out["kind"] = batch.tolist(), kind.tolist()
    return out, x, kind


def scores_of(z, pca):
    # Equal rows have equal scores in this order of additions.
    return ((z - pca.mean_)[:, None] * pca.components_[None]).sum(-1)


def stages(x, batch):
    out, x, kind = inputs(x, batch)
    z = scaled(x)
    out["scaled"] = rounded(z)
    z = without_batch(z, batch, kind)
    out["residual"] = rounded(z)
    pca = PCA(COMPONENTS, svd_solver="full").fit(z)
    new = np.round(rng.normal(size=(5, COLUMNS)), 3)
    out["components"], out["variance"] = rounded(pca.components_), rounded(pca.explained_variance_)
    out["ratio"], out["new"] = rounded(pca.explained_variance_ratio_), new.tolist()
    out["scores_of_new"] = rounded(pca.transform(new))
    scores = scores_of(z, pca)
    for metric in ["euclidean", "cosine"]:
        search = NearestNeighbors(n_neighbors=5, metric=metric, algorithm="brute").fit(scores)
        out[f"{metric}_distances"] = rounded(np.sort(search.kneighbors()[0], 1))
    graph = fuzzy(*nearest(scores))
    out["graph"] = edges(graph)
    of_batches = fuzzy(*balanced(scores, batch))
    out["balanced"], out["trimmed"] = edges(of_batches), edges(trimmed(of_batches, KEEP))
    places = np.round(map_of(graph, 0), 5)
    out["map"] = rounded(places)
    out["trust_of_map"] = [float(trustworthiness(scores, places, n_neighbors=k)) for k in [1, 5, 20]]
    out["cross_entropy_of_map"] = cross_entropy(graph, places)
    return out, z, scores


def maps(x, batch):
    out, x, kind = inputs(x, batch)
    z = without_batch(scaled(x), batch, kind)
    scores = scores_of(z, PCA(COMPONENTS, svd_solver="full").fit(z))
    graph = fuzzy(*nearest(scores))
    drawn = [map_of(graph, seed) for seed in range(SEEDS)]
    out["cross_entropies"] = [cross_entropy(graph, places) for places in drawn]
    out["trust"] = [float(trustworthiness(scores, places, n_neighbors=15)) for places in drawn]
    return out


def of_batches(x, batch):
    frame = pd.DataFrame(x)
    groups = frame.groupby(batch)
    squares = groups.var() * (groups.count() - 1)
    pooled = np.sqrt(squares.sum() / (len(x) - 3))
    return ((frame - groups.transform("mean")) / groups.transform("std") * pooled + frame.mean()).to_numpy()


def predictable(x, y, penalty):
    model = make_pipeline(StandardScaler(), Ridge(alpha=penalty * (len(x) - 1), solver="cholesky"))
    told = cross_val_predict(model, x, y, cv=LeaveOneOut())
    return 1 - ((y - told) ** 2).sum() / ((y - y.mean(0)) ** 2).sum()


space, z, scores = stages(*in_space(ROWS))
x = np.array(space["x"], float)
space["of_one_spread"] = rounded(of_batches(x, np.array(space["batch"])))
space["predictable"] = [
    {"penalty": penalty, "value": float(predictable(scores[:, :2], x[:, 2:5], penalty))} for penalty in [1e-6, 0.1]
]
single, _, _ = stages(*degenerate(ROWS))
gap = pd.Series([np.nan if row[7] is None else row[7] for row in single["x"]])
single["filled"] = rounded(((gap - gap.mean()) / gap.std()).fillna(0))
names = ["scanpy", "scikit-learn", "umap-learn", "pandas", "numpy", "scipy"]
versions = {"versions": {name: version(name) for name in names}}
for path, sets in [
    (sys.argv[1], {"space": space, "degenerate": single}),
    (sys.argv[2], {"space": maps(*in_space(ROWS_OF_MAPS)), "degenerate": maps(*degenerate(ROWS_OF_MAPS))}),
]:
    with open(path, "w", encoding="utf-8") as file:
        json.dump(versions | sets, file, separators=(",", ":"))
        file.write("\n")

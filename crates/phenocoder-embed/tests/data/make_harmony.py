"""Writes harmony.json: single steps of harmonypy 0.0.10 and whole runs of 0.0.10 and 2.1.0, which phenocoder-embed must
equal or come as far as.

Each version needs an environment of its own and adds what is its to the file.

pip install harmonypy==0.0.10 pandas scipy; python make_harmony.py harmony.json
pip install harmonypy==2.1.0 pandas scipy; python make_harmony.py harmony.json
"""

import json
import logging
import os
import sys
from importlib.metadata import version

import harmonypy
import numpy as np
import pandas as pd

logging.disable(logging.CRITICAL)
VERSION = version("harmonypy")
SEEDS = range(9)
rng = np.random.default_rng(11)


def planted(n, d, kinds, shares, effect):
    """Kinds of rows in batches; the effect of a batch differs a little between kinds, and kinds between batches."""
    batch = rng.choice(len(shares), n, p=shares)
    kind = rng.integers(0, kinds, n) * np.where(batch == 0, 1, rng.random(n) < 0.8)
    centers = rng.normal(size=(kinds, d)) * 4
    shift = rng.normal(size=(len(shares), d)) * effect
    own = rng.normal(size=(kinds, len(shares), d)) * effect * 0.3
    x = centers[kind] + shift[batch] + own[kind, batch] + rng.normal(size=(n, d))
    # A positive entry in every row: harmonypy 0.0.10 turns the others round.
    x[:, 0] = np.abs(x[:, 0]) + 2
    return np.round(x, 2), batch, kind


def rounded(values, digits=12):
    return [[float(f"{v:.{digits}g}") for v in row] for row in np.asarray(values)]


def lisi(x, labels, count, perplexity):
    """The median local inverse Simpson index, brought to 0 ... 1."""
    distances = np.sqrt(((x[:, None] - x[None]) ** 2).sum(-1))
    np.fill_diagonal(distances, np.inf)
    order = np.argsort(distances, axis=1, kind="stable")[:, :count]
    near = np.take_along_axis(distances, order, 1)
    near -= near[:, :1]
    low, high, beta = np.zeros(len(x)), np.full(len(x), np.inf), np.ones(len(x))
    for _ in range(100):
        weights = np.exp(-beta[:, None] * near)
        weights /= weights.sum(1, keepdims=True)
        entropy = -np.sum(weights * np.log(np.maximum(weights, 1e-300)), axis=1)
        soft = entropy > np.log(perplexity)
        low, high = np.where(soft, beta, low), np.where(soft, high, beta)
        beta = np.where(np.isinf(high), beta * 2, (low + high) / 2)
    groups = np.unique(labels)
    simpson = sum((weights * (labels[order] == group)).sum(1) ** 2 for group in groups)
    return float((np.median(1 / simpson) - 1) / (len(groups) - 1))


def run(x, columns, seed, **settings):
    frame = pd.DataFrame({name: [f"{name}{v}" for v in values] for name, values in columns.items()})
    return harmonypy.run_harmony(x, frame, list(columns), random_state=seed, verbose=False, **settings)


def steps(x, columns):
    """The end of a short run of 0.0.10, its objective, and one more round of updates in a recorded order."""
    ho = run(x, columns, 3, theta=2, nclust=5, max_iter_harmony=3)
    assert np.abs(ho.Z_cos - ho.Z_corr / np.linalg.norm(ho.Z_corr, axis=0)).max() < 1e-12
    out = {name: list(map(int, values)) for name, values in columns.items()} | {
        "x": x.tolist(),
        "centers": rounded(ho.Y.T),
        "memberships": rounded(ho.R.T),
        "corrected": rounded(ho.Z_corr.T),
    }
    ho.R, ho.Y = np.array(out["memberships"]).T, np.array(out["centers"]).T
    ho.O, ho.E = ho.R @ ho.Phi.T, np.outer(ho.R.sum(1), ho.Pr_b)
    ho.dist_mat = 2 * (1 - ho.Y.T @ ho.Z_cos)
    ho.compute_objective()
    out["objective"] = [
        float(part[-1])
        for part in [ho.objective_kmeans_dist, ho.objective_kmeans_entropy, ho.objective_kmeans_cross]
    ]
    drawn = []
    shuffle = np.random.shuffle
    np.random.shuffle = lambda order: (shuffle(order), drawn.append(np.array(order)))[0]
    ho.update_R()
    np.random.shuffle = shuffle
    (order,) = drawn
    blocks = np.array_split(order, int(np.ceil(1 / ho.block_size)))
    out["blocks"] = [sorted(map(int, block)) for block in blocks]
    out["updated"] = rounded(ho.R.T)
    return out


path = sys.argv[1]
out = json.load(open(path)) if os.path.exists(path) else {"versions": {}, "runs": {}}
out["versions"][VERSION] = {name: version(name) for name in ["harmonypy", "numpy", "pandas"]}

x, batch, _ = planted(110, 4, 3, [0.5, 0.3, 0.2], 1.0)
plate = rng.integers(0, 2, len(x))
whole, whole_batch, whole_kind = planted(600, 5, 4, [0.5, 0.3, 0.2], 1.5)
if VERSION.startswith("0."):
    out["one_variable"] = steps(x, {"batch": batch})
    out["two_variables"] = steps(x[:70], {"batch": batch[:70], "plate": plate[:70]})
    settings = {"theta": 2}
else:
    # Of the second version the last correction from its memberships; it computes in single precision.
    ho = run(x[:70], {"batch": batch[:70], "plate": plate[:70]}, 3, nclust=5)
    out["second_form"] = {
        "memberships": rounded(ho.R, 8),
        "corrected": rounded(ho.Z_corr, 8),
    }
    settings = {}

count, perplexity = 60, 20
if "x" not in out:
    out |= {"x": whole.tolist(), "batch": whole_batch.tolist(), "kind": whole_kind.tolist()}
    out |= {"neighbors": count, "perplexity": perplexity}
    out["integration_lisi"] = lisi(whole, whole_batch, count, perplexity)
    out["kind_lisi"] = lisi(whole, whole_kind, count, perplexity)
assert out["x"] == whole.tolist()
runs = []
for seed in SEEDS:
    ho = run(whole, {"batch": whole_batch}, seed, **settings)
    corrected = np.asarray(ho.Z_corr)
    corrected = corrected if corrected.shape == whole.shape else corrected.T
    runs.append(
        {
            "seed": seed,
            "objective": [float(v) for v in ho.objective_harmony],
            "integration_lisi": lisi(corrected, whole_batch, count, perplexity),
            "kind_lisi": lisi(corrected, whole_kind, count, perplexity),
        }
    )
out["runs"][VERSION] = runs
with open(path, "w") as file:
    json.dump(out, file, separators=(",", ":"))
    file.write("\n")

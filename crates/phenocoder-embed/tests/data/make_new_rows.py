"""Writes new_rows.json: what corrections fitted on some rows make of others, which phenocoder-embed must equal.

Ridge removal by scikit-learn 1.9.1, centring by pandas, ComBat by its definition in NumPy, which must equal scanpy
1.12.4 on the rows of the fit.

pip install scanpy==1.12.4 scikit-learn==1.9.1
usage: python make_new_rows.py new_rows.json
"""

import json
import sys
from importlib.metadata import version

import anndata
import numpy as np
import pandas as pd
import scanpy as sc
from sklearn.linear_model import Ridge

rng = np.random.default_rng(23)
n, fitted, p = 90, 60, 7
batch = np.array(["b1", "b2", "b3"])[rng.choice(3, n, p=[0.5, 0.3, 0.2])]
kind = np.array(["k", "l"])[rng.integers(0, 2, n)]
age = np.round(rng.uniform(20, 80, n), 1)
gain = {"b1": 1.0, "b2": 1.9, "b3": 0.6}
x = rng.normal(size=(n, p)) * np.array([gain[b] for b in batch])[:, None] * rng.uniform(0.5, 3, p)
for name in gain:
    x[batch == name] += rng.normal(size=p) * 2
x += np.outer(kind == "l", rng.normal(size=p)) + np.outer(age / 20, rng.normal(size=p)) + rng.uniform(-9, 9, p)
x = np.round(x, 6)
old, new = slice(None, fitted), slice(fitted, None)


def one_hot(labels):
    return np.stack([labels == name for name in sorted(set(labels))], axis=1).astype(float)


def ridge(alpha):
    hot = np.hstack([one_hot(batch), one_hot(kind)])
    model = Ridge(alpha=alpha, fit_intercept=False, solver="cholesky").fit(hot[old], x[old])
    width = one_hot(batch).shape[1]
    return (x[new] - hot[new, :width] @ model.coef_.T[:width]).tolist()


def centered(spread):
    frame = pd.DataFrame(x[old]).groupby(batch[old])
    own, factor = frame.mean().loc[batch[new]].to_numpy(), 1.0
    if spread:
        free = frame.count() - 1
        pooled = (frame.var() * free).sum() / free.sum()
        factor = np.sqrt(pooled.to_numpy() / frame.var().loc[batch[new]].to_numpy())
    return ((x[new] - own) * factor + x[old].mean(0)).tolist()


def combat(known):
    """The definition in the documentation of `Combat`, of all rows by the fit of the old ones."""
    names = sorted(gain)
    design = np.hstack([one_hot(batch)[old], known[old]])
    beta = np.linalg.lstsq(design, x[old], rcond=None)[0]
    rows = np.array([(batch[old] == name).sum() for name in names])
    grand = rows / fitted @ beta[:3]
    variance = ((x[old] - design @ beta) ** 2).mean(0)
    stand = grand + known @ beta[3:]
    scaled = (x - stand) / np.sqrt(variance)
    result = x.copy()
    for name, m in zip(names, rows):
        own = scaled[old][batch[old] == name]
        mean, spread = own.mean(0), own.var(0, ddof=1)
        center, t2 = mean.mean(), mean.var()
        typical, width = spread.mean(), spread.var(ddof=1)
        a, b = (2 * width + typical**2) / width, (typical * width + typical**3) / width
        g, d, change = mean, spread, 1.0
        # As in the original, where the share of a negative mean counts as settled.
        while change > 1e-4:
            before = g, d
            g = (t2 * m * mean + d * center) / (t2 * m + d)
            d = (0.5 * ((own - g) ** 2).sum(0) + b) / (m / 2 + a - 1)
            change = max((abs(g - before[0]) / before[0]).max(), (abs(d - before[1]) / before[1]).max())
        at = batch == name
        result[at] = (scaled[at] - g) / np.sqrt(d) * np.sqrt(variance) + stand[at]
    return result


def corrected(known, names):
    obs = pd.DataFrame(known[old], columns=names, index=[str(i) for i in range(fitted)])
    obs["batch"] = pd.Categorical(batch[old])
    table = anndata.AnnData(x[old].copy(), obs=obs)
    peer = sc.pp.combat(table, key="batch", covariates=names or None, inplace=False)
    ours = combat(known)
    assert abs(ours[old] - peer).max() < 1e-10, abs(ours[old] - peer).max()
    return ours[new].tolist()


is_l = (kind == "l").astype(float)
out = {
    "versions": {name: version(name) for name in ["scanpy", "scikit-learn", "pandas", "numpy"]},
    "fitted": fitted,
    "x": x.tolist(),
    "batch": batch.tolist(),
    "kind": kind.tolist(),
    "age": age.tolist(),
    "ridge": [{"alpha": alpha, "residual": ridge(alpha)} for alpha in [1.0, 0.01]],
    "means": centered(False),
    "spreads": centered(True),
    "combat": corrected(np.zeros((n, 0)), []),
    "combat_with_covariates": corrected(np.stack([is_l, age], axis=1), ["is_l", "age"]),
}
with open(sys.argv[1], "w") as file:
    json.dump(out, file, separators=(",", ":"))
    file.write("\n")

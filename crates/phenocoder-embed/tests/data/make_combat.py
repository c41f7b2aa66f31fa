"""Writes combat.json: batch effects removed by scanpy 1.12.4, which phenocoder-embed must equal.

Categorical covariates are passed as columns of 0 and 1 without the first category: scanpy itself makes a column of
every category, and its equations then have no unique solution.

pip install scanpy==1.12.4
usage: python make_combat.py combat.json
"""

import json
import sys
from importlib.metadata import version

import anndata
import numpy as np
import pandas as pd
import scanpy as sc

rng = np.random.default_rng(11)
n, p = 70, 11
batch = np.array(["b1"] * 30 + ["b2"] * 25 + ["b3"] * 9 + ["b4"] * 6)[rng.permutation(n)]
kind = np.array(["k", "l", "m"])[rng.integers(0, 3, n)]
age = np.round(rng.uniform(20, 80, n), 1)
gain = {"b1": 1.0, "b2": 1.8, "b3": 0.6, "b4": 1.2}
x = rng.normal(size=(n, p)) * np.array([gain[b] for b in batch])[:, None] * rng.uniform(0.5, 3, p)
for name in gain:
    x[batch == name] += rng.normal(size=p) * 2
for name in "lm":
    x[kind == name] += rng.normal(size=p)
x += np.outer(age / 20, rng.normal(size=p)) + rng.uniform(-20, 20, p)
x = np.round(x, 6)

obs = pd.DataFrame({"batch": pd.Categorical(batch), "age": age})
for name in "lm":
    obs[f"is_{name}"] = (kind == name).astype(float)
obs.index = [str(i) for i in range(n)]


def corrected(covariates, rows=slice(None), columns=slice(None)):
    table = anndata.AnnData(x[rows, columns].copy(), obs=obs.iloc[rows].copy())
    table.obs["batch"] = table.obs["batch"].cat.remove_unused_categories()
    return sc.pp.combat(table, key="batch", covariates=covariates, inplace=False).tolist()


def centered():
    frame = pd.DataFrame(x)
    return (frame - frame.groupby(batch).transform("mean") + frame.mean()).to_numpy().tolist()


pair = np.flatnonzero(np.isin(batch, ["b3", "b4"]))
out = {
    "versions": {"scanpy": version("scanpy"), "numpy": np.__version__, "pandas": pd.__version__},
    "x": x.tolist(),
    "batch": batch.tolist(),
    "kind": kind.tolist(),
    "age": age.tolist(),
    "pair": pair.tolist(),
    "plain": corrected(None),
    "kinds": corrected(["is_l", "is_m"]),
    "kinds_and_age": corrected(["is_l", "is_m", "age"]),
    "two_small_batches": corrected(None, pair),
    "two_columns": corrected(["age"], columns=slice(2)),
    "centered": centered(),
}
with open(sys.argv[1], "w") as file:
    json.dump(out, file, separators=(",", ":"))
    file.write("\n")

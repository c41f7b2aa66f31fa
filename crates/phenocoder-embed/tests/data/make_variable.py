"""Writes variable.json: variable columns by scanpy 1.12.4, which phenocoder-embed must equal.

pip install scanpy==1.12.4
usage: python make_variable.py variable.json
"""

import json
import sys
from importlib.metadata import version

import anndata
import numpy as np
import scanpy

rng = np.random.default_rng(3)
n, p = 60, 40
rate = np.geomspace(0.05, 12, p)
shape = rng.choice([0.4, 2.0, 20.0], p)
counts = rng.poisson(rng.gamma(shape, rate / shape, (n, p))).astype(float)
x = np.log1p(counts)
x[:, 7] = 0  # No count at all.
x[:, 21] = x[:, 20]  # Two columns of the same dispersion.
x[:, 30] *= -1  # A mean below 0 has no dispersion.
x[0, 3] = 1.2  # Columns 3 and 4 would hold the same values in another order, and rounding would tell them apart.
x = np.round(x, 5)


def plain(values):
    return [None if np.isnan(v) else float(v) for v in values]


runs = []
for keywords in [
    {},
    {"n_bins": 5},
    {"n_bins": 1},
    {"n_bins": 200},
    {"n_top_genes": 7},
    {"n_bins": 5, "n_top_genes": 12},
    {"n_top_genes": 40},
    {"n_bins": 8, "min_mean": 0.3, "max_mean": 2.0, "min_disp": -0.5, "max_disp": 1.2},
]:
    found = scanpy.pp.highly_variable_genes(anndata.AnnData(x.copy()), inplace=False, **keywords)
    runs.append(
        {
            "keywords": keywords,
            "selected": found["highly_variable"].astype(bool).tolist(),
            "normalized": plain(found["dispersions_norm"]),
        }
    )
out = {
    "versions": {name: version(name) for name in ["scanpy", "anndata", "pandas", "numpy"]},
    "x": x.tolist(),
    "means": plain(found["means"]),
    "dispersions": plain(found["dispersions"]),
    "runs": runs,
}
with open(sys.argv[1], "w") as file:
    json.dump(out, file, separators=(",", ":"))
    file.write("\n")

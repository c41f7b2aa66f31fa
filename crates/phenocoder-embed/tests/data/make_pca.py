"""Writes pca.json: components by scikit-learn 1.9.1 of all rows, of a random subspace and of rows in blocks, which
phenocoder-embed must equal.

pip install scikit-learn==1.9.1
usage: python make_pca.py pca.json
"""

import json
import sys
from importlib.metadata import version

import numpy as np
from sklearn.decomposition import PCA, IncrementalPCA

rng = np.random.default_rng(11)
n, p, k = 120, 24, 5
spread = np.r_[6.0, 4.5, 3.3, 2.4, 1.7, np.geomspace(0.6, 0.05, p - 5)]
turn = np.linalg.qr(rng.normal(size=(p, p)))[0]
x = np.round((rng.normal(size=(n, p)) * spread) @ turn + rng.normal(size=p) * 3, 3)


def fitted(pca):
    return {
        "mean": pca.mean_.tolist(),
        "components": pca.components_.tolist(),
        "variance": pca.explained_variance_.tolist(),
        "ratio": pca.explained_variance_ratio_.tolist(),
    }


def in_blocks(ends):
    pca = IncrementalPCA(k)
    for start, end in zip([0, *ends], [*ends, n]):
        pca.partial_fit(x[start:end])
    return {"ends": ends, **fitted(pca)}


out = {
    "versions": {name: version(name) for name in ["scikit-learn", "numpy", "scipy"]},
    "x": x.tolist(),
    "full": fitted(PCA(k, svd_solver="full").fit(x)),
    "randomized": fitted(PCA(k, svd_solver="randomized", iterated_power=7, random_state=0).fit(x)),
    # Blocks of 40, of 17 (the last one of 1 row), and of sizes from fewer rows than columns to more.
    "incremental": [
        in_blocks([40, 80]),
        in_blocks(list(range(17, n, 17))),
        in_blocks([5, 6, 36, 39]),
    ],
}
with open(sys.argv[1], "w") as file:
    json.dump(out, file, separators=(",", ":"))
    file.write("\n")

"""Writes umap.json: graphs that ask for both directions of an edge, supervised graphs, weights of new rows and where
they land, by umap-learn 0.5.12, which phenocoder-embed must equal or come near.

pip install umap-learn==0.5.12
usage: python make_umap.py umap.json
"""

import json
import sys
import warnings
from importlib.metadata import version

import numpy as np
import umap

warnings.filterwarnings("ignore")
rng = np.random.default_rng(8)
n, held_out, supervised = 300, 60, 80
group = rng.integers(0, 4, n)
x = rng.normal(size=(4, 5))[group] * 2.5 + rng.normal(size=(n, 5))
x = np.round(x * 1024).astype(int)
x[240] = x[5]
x[241] *= 9
values = (x / 1024).astype(np.float32)
known, new = values[:-held_out], values[-held_out:]

label = np.where(rng.random(supervised) < 0.1, rng.integers(0, 4, supervised), group[:supervised])
label[rng.random(supervised) < 0.15] = -1
number = np.round(x[:supervised, 0] / 1024 + rng.normal(size=supervised), 4)
assert len(set(number)) == supervised


def graph(weight, y=None, **settings):
    model = umap.UMAP(n_neighbors=8, transform_mode="graph", random_state=0, **settings)
    found = model.fit(values[:supervised], y).graph_.tocoo()
    edges = zip(found.row.tolist(), found.col.tolist(), found.data.tolist())
    flat = sorted((i, j, round(w, 6)) for i, j, w in edges if i < j and w > 0)
    return {"weight": weight, "rows": [e[0] for e in flat], "columns": [e[1] for e in flat], "values": [e[2] for e in flat]}


def of_target(y, weight, metric):
    return graph(weight, y, target_weight=weight, target_metric=metric)


model = umap.UMAP(n_neighbors=10, random_state=0, transform_mode="graph")
model.fit(known)
weights = model.transform(new)
assert (weights.row == np.repeat(np.arange(held_out), 10)).all()

model = umap.UMAP(n_neighbors=10, random_state=0).fit(known)
places = np.round(model.embedding_, 5)
model.embedding_ = places.astype(np.float32)
neighbors = weights.col.reshape(held_out, 10)
distances, purities = [], []
for seed in range(10):
    model.transform_seed = seed
    found = model.transform(new)
    gaps = np.linalg.norm(found[:, None] - places[neighbors], axis=2)
    distances.append(float(gaps.mean()))
    nearest = np.linalg.norm(found[:, None] - places[None], axis=2).argsort(1)[:, :10]
    purities.append(float((group[:-held_out][nearest] == group[-held_out:, None]).mean()))

with open(sys.argv[1], "w", encoding="utf-8") as file:
    json.dump(
        {
            "versions": {name: version(name) for name in ["umap-learn", "numpy", "scipy", "numba", "scikit-learn"]},
            "x_times_1024": x.tolist(),
            "group": group.tolist(),
            "label": label.tolist(),
            "number": number.tolist(),
            "of_categories": [of_target(label, w, "categorical") for w in [0.0, 0.5, 0.9, 1.0]],
            "of_numbers": [of_target(number, w, "euclidean") for w in [0.0, 0.3, 0.5, 0.8]],
            "of_both_directions": [graph(ratio, set_op_mix_ratio=ratio) for ratio in [0.0, 0.4]],
            "new_neighbors": neighbors.tolist(),
            "new_weights": [[float(f"{w:.7g}") for w in row] for row in weights.data.reshape(held_out, 10)],
            "places": [[float(f"{v:.7g}") for v in row] for row in places],
            "new_rows": [{"distance_to_neighbors": d, "purity": p} for d, p in zip(distances, purities)],
        },
        file,
        separators=(",", ":"),
    )
    file.write("\n")
print(distances, purities)

"""Writes evaluation.json: measures of groups by scikit-learn 1.9.1 and scib-metrics 0.5.10, which
phenocoder-embed's `evaluate` must equal.

pip install scikit-learn==1.9.1 scib-metrics==0.5.10
usage: python make_evaluation.py evaluation.json
"""

import json
import sys

import jax

jax.config.update("jax_enable_x64", True)

import numpy as np
import scib_metrics
import sklearn
from sklearn import metrics

rng = np.random.default_rng(11)
out = {
    "versions": {
        "scikit-learn": sklearn.__version__,
        "scib-metrics": scib_metrics.__version__,
        "jax": jax.__version__,
        "numpy": np.__version__,
    }
}

# Four labels and three batches of unlike sizes, with an effect of each; values are multiples of 1/1024, kept as integers.
UNIT = 1024
n, columns = 90, 5
labels = rng.choice(4, n, p=[0.4, 0.3, 0.2, 0.1])
batches = rng.choice(3, n, p=[0.5, 0.3, 0.2])
clusters = np.where(rng.random(n) < 0.8, labels, rng.integers(0, 5, n))
# Label 3 lies in one batch; label 4 is a single row, and label 5 one row in each of two batches.
batches[labels == 3] = 1
labels[0], labels[1:3], batches[1:3] = 4, 5, [0, 2]
x = rng.normal(size=(n, columns)) + 2.0 * rng.normal(size=(6, columns))[labels] + 0.7 * rng.normal(size=(3, columns))[batches]
x[:, 4] = 3.0
scaled = np.round(x * UNIT).astype(int)
x = scaled / UNIT
out["set"] = {
    "unit": UNIT,
    "x": scaled.tolist(),
    "labels": labels.tolist(),
    "clusters": clusters.tolist(),
    "batches": batches.tolist(),
}


def whole(values):
    return [int(value) for value in values]


out["agreement"] = []
pairs = [
    (labels, clusters),
    (clusters, labels),
    (labels, batches),
    (labels, labels),
    (np.arange(7), np.arange(7) % 3),
    (np.zeros(7, int), np.arange(7) % 3),
    (np.arange(7) % 3, np.zeros(7, int)),
    (np.repeat([0, 1, 2], 3), np.tile([0, 1, 2], 3)),
    (np.zeros(3, int), np.ones(3, int)),
]
for a, b in pairs:
    for beta in (1.0, 0.25):
        h, c, v = metrics.homogeneity_completeness_v_measure(a, b, beta=beta)
        out["agreement"].append(
            {
                "a": whole(a),
                "b": whole(b),
                "beta": beta,
                "homogeneity": h,
                "completeness": c,
                "v": v,
                "ari": metrics.adjusted_rand_score(a, b),
                "nmi": metrics.normalized_mutual_info_score(a, b),
            }
        )

# The set itself, and sets without width or without distance.
line = np.array([[0, 4], [0, 4], [2, 4], [2, 4], [6, 4], [6, 4]])
out["dispersion"] = []
for name, points, groups in [
    ("labels", scaled, labels),
    ("clusters", scaled, clusters),
    ("batches", scaled, batches),
    ("a group per two rows", scaled, np.arange(n) // 2),
    ("no width", line, np.arange(6) // 2),
    ("one centre", np.array([[-1, 1], [1, 1], [-3, 1], [3, 1]]), np.arange(4) // 2),
    ("two of three centres equal", np.array([[-1, 1], [1, 1], [-3, 1], [3, 1], [8, 0], [9, 0]]), np.arange(6) // 2),
    ("one point", np.full((6, 2), 5), np.arange(6) // 2),
]:
    entry = {"name": name, "groups": whole(groups)}
    if points is not scaled:
        entry["x"] = points.tolist()
    entry["davies_bouldin"] = metrics.davies_bouldin_score(points / UNIT, groups)
    entry["calinski_harabasz"] = metrics.calinski_harabasz_score(points / UNIT, groups)
    out["dispersion"].append(entry)

out["silhouette"] = []
for metric in ("euclidean", "cosine"):
    out["silhouette"].append(
        {
            "metric": metric,
            "samples": metrics.silhouette_samples(x, labels, metric=metric).tolist(),
            "mean": metrics.silhouette_score(x, labels, metric=metric),
        }
    )
out["scib"] = []
for metric in ("euclidean", "cosine"):
    by_label = float(scib_metrics.silhouette_label(x, labels, metric=metric))
    for others in ("nearest", "mean_other", "furthest"):
        by_batch = scib_metrics.silhouette_batch(x, labels, batches, metric=metric, between_cluster_distances=others)
        out["scib"].append({"metric": metric, "others": others, "by_label": by_label, "by_batch": float(by_batch)})

with open(sys.argv[1], "w") as file:
    json.dump(out, file, separators=(",", ":"))
    file.write("\n")

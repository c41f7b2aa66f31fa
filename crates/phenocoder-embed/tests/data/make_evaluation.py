"""Writes evaluation.json: measures, folds, reports and predictions by scikit-learn 1.9.1 and scib-metrics 0.5.10, which
phenocoder-embed's `evaluate` must equal.

pip install scikit-learn==1.9.1 scib-metrics==0.5.10
usage: python make_evaluation.py evaluation.json
"""

import json
import sys
import warnings

import jax

jax.config.update("jax_enable_x64", True)

import numpy as np
import scib_metrics
import sklearn
from sklearn import metrics
from sklearn.model_selection import GroupKFold, LeaveOneOut, StratifiedGroupKFold, StratifiedKFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

warnings.simplefilter("ignore")
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

# Small random sets, among them sets of one label, of more than eight labels and of more than eight folds.
out["folds"] = []
for case in range(75):
    rows = int(rng.integers(20, 70))
    kinds = int([1, 2, 3, 5, 9, 12][case % 6])
    wells = int([6, 12, 18, rows][case % 4])
    count = int([2, 3, 5, 9][case % 4] if case % 5 else 10)
    y = rng.choice(kinds, rows, p=rng.dirichlet(np.full(kinds, 3.0))) if case % 3 else rng.integers(0, kinds, rows)
    groups = rng.integers(0, wells, rows)
    entry = {"labels": whole(y), "groups": whole(groups), "count": count}
    for name, folds in [
        ("stratified_folds", StratifiedKFold(count)),
        ("group_folds", GroupKFold(count)),
        ("stratified_group_folds", StratifiedGroupKFold(count)),
    ]:
        of_row = np.full(rows, -1)
        try:
            for fold, (_, test) in enumerate(folds.split(np.zeros(rows), y, groups)):
                of_row[test] = fold
        except ValueError:
            entry[name] = None
            continue
        entry[name] = whole(of_row)
    out["folds"].append(entry)

out["reports"] = []
for case in range(6):
    rows = [5, 30, 60, 60, 40, 1][case]
    truth = rng.choice([2, 3, 5, 7], rows, p=[0.5, 0.3, 0.15, 0.05])
    predicted = np.where(rng.random(rows) < 0.6, truth, rng.choice([3, 5, 8], rows))
    report = metrics.classification_report(truth, predicted, output_dict=True, zero_division=0)
    classes = sorted(set(truth.tolist()) | set(predicted.tolist()))
    keys = ("precision", "recall", "f1-score")
    out["reports"].append(
        {
            "truth": whole(truth),
            "predicted": whole(predicted),
            "classes": [[c, *(report[str(c)][key] for key in keys), int(report[str(c)]["support"])] for c in classes],
            "confusion": metrics.confusion_matrix(truth, predicted).tolist(),
            "accuracy": metrics.accuracy_score(truth, predicted),
            "balanced_accuracy": metrics.balanced_accuracy_score(truth, predicted),
            "macro": [report["macro avg"][key] for key in keys],
            "weighted": [report["weighted avg"][key] for key in keys],
        }
    )

out["probabilities"] = []
for kinds in (2, 3, 5):
    truth = np.concatenate([np.arange(kinds), rng.integers(0, kinds, 30)])
    votes = rng.integers(0, 6, (len(truth), kinds)) + 3 * (truth[:, None] == np.arange(kinds))
    votes[0, 0] = 0
    votes[:, -1] += votes.sum(axis=1) == 0
    p = votes / votes.sum(axis=1, keepdims=True)
    one_against_others = [metrics.roc_auc_score(truth == c, p[:, c]) for c in range(kinds)]
    auc = metrics.roc_auc_score(truth, p if kinds > 2 else p[:, 1], multi_class="ovr")
    out["probabilities"].append(
        {
            "truth": whole(truth),
            "votes": votes.tolist(),
            "log_loss": metrics.log_loss(truth, p),
            "auc_per_class": one_against_others,
            "auc": auc,
        }
    )

# The first 30 rows are predicted from the others, which hold no two equal distances to one of them.
out["knn"] = []
for metric in ("euclidean", "cosine"):
    distances = metrics.pairwise_distances(x[:30], x[30:], metric=metric)
    assert all(np.diff(np.sort(row)).min() > 1e-9 for row in distances)
    for weights in ("uniform", "distance"):
        for k in (1, 4, 15):
            knn = KNeighborsClassifier(k, metric=metric, weights=weights).fit(x[30:], clusters[30:])
            out["knn"].append(
                {
                    "metric": metric,
                    "weights": weights,
                    "k": k,
                    "classes": whole(knn.classes_),
                    "predicted": whole(knn.predict(x[:30])),
                    "probabilities": np.round(knn.predict_proba(x[:30]), 12).tolist(),
                }
            )

# How many of the nearest other rows have the label of the row; no two of them are equally far.
out["local"] = []
for metric in ("euclidean", "cosine"):
    distances = metrics.pairwise_distances(x, metric=metric)
    assert all(np.diff(np.sort(row)).min() > 1e-9 for row in distances + np.diag(np.full(n, -1.0)))
    for name, groups in (("labels", labels), ("clusters", clusters), ("batches", batches)):
        near = {k: NearestNeighbors(n_neighbors=k, metric=metric).fit(x).kneighbors()[1] for k in (1, 4, 15)}
        one = KNeighborsClassifier(1, metric=metric, algorithm="brute")
        out["local"].append(
            {
                "metric": metric,
                "of": name,
                "purity": {str(k): float(np.mean(groups[rows] == groups[:, None])) for k, rows in near.items()},
                "leave_one_out": float(cross_val_score(one, x, groups, cv=LeaveOneOut()).mean()),
            }
        )

with open(sys.argv[1], "w") as file:
    json.dump(out, file, separators=(",", ":"))
    file.write("\n")

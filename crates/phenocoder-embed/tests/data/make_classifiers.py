"""Writes classifiers.json: what logistic regressions, random forests and cross-validated predictions of scikit-learn
1.9.1 find, which phenocoder-embed's classifiers must find too.

pip install scikit-learn==1.9.1
usage: python make_classifiers.py classifiers.json
"""

import json
import sys
import warnings
from importlib.metadata import version

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

UNIT = 64
rng = np.random.default_rng(5)
warnings.filterwarnings("ignore", "The groups parameter is ignored")


class SampleScaler(StandardScaler):
    """Divides by the deviation of a sample, n - 1 in the denominator."""

    def fit(self, x, y=None, sample_weight=None):
        super().fit(x, y)
        self.scale_ = np.where(self.scale_ == 1, 1, self.scale_ * np.sqrt(len(x) / (len(x) - 1)))
        return self


def whole(values):
    return np.asarray(values).astype(int).tolist()


# 160 rows in 20 wells, four labels of unlike sizes that overlap, or two of them joined; wells differ.
n, p = 160, 5
groups = rng.permutation(n) // 8
four = np.array([0] * 60 + [1] * 50 + [2] * 30 + [3] * 20)
centers = rng.normal(size=(4, p)) * 0.9
x = centers[four] + rng.normal(size=(n, p)) + rng.normal(size=(20, p))[groups] * 0.4
order = rng.permutation(n)
x, four, groups = np.round(x[order] * UNIT), four[order], groups[order]
# Names with gaps, not in the order of first appearance.
four = np.array([7, 2, 11, 4])[four]
two = np.where(np.isin(four, [2, 4]), 9, 3)
labels = {"four": four, "two": two}
# Columns in odd units; a constant one comes last.
stretch = np.array([1000.0, 0.001, 1.0, 30.0, 0.5])
shift = np.array([50_000.0, 1.0, -8.0, 0.0, 3.0])
plain = x / UNIT
odd = np.column_stack([plain * stretch + shift, np.full(n, 0.1)])

out = {
    "versions": {"scikit-learn": version("scikit-learn"), "numpy": np.__version__},
    "set": {
        "unit": UNIT,
        "x": whole(x),
        "four": whole(four),
        "two": whole(two),
        "groups": whole(groups),
        "stretch": stretch.tolist(),
        "shift": shift.tolist(),
        "constant": 0.1,
    },
    "logistic": [],
    "probe": [],
    "forest": [],
}

for units, data in [("plain", plain), ("odd", odd)]:
    for name, y in labels.items():
        for c in (0.01, 1.0, 100.0):
            # L-BFGS does not come to rest in odd units.
            solver = "lbfgs" if units == "plain" else "newton-cholesky"
            model = LogisticRegression(C=c, tol=1e-12, max_iter=10_000, solver=solver).fit(data, y)
            other = LogisticRegression(C=c, tol=1e-12, max_iter=10_000, solver="newton-cholesky").fit(data, y)
            spread = data.std(axis=0)
            apart = np.abs((model.coef_ - other.coef_) * spread).max()
            assert apart < 1e-6, (units, name, c, apart)
            if len(other.classes_) > 2:
                # One function added to all of them changes the penalty alone, which is least where they sum to 0;
                # scikit-learn's sum to rounding, which columns in large units hardly feel.
                other.coef_ -= other.coef_.mean(axis=0)
                other.intercept_ -= other.intercept_.mean()
            out["logistic"].append(
                {
                    "units": units,
                    "labels": name,
                    "c": c,
                    "coefficients": other.coef_.tolist(),
                    "intercepts": other.intercept_.tolist(),
                    "predicted": whole(other.predict(data)),
                    "probabilities": np.round(other.predict_proba(data[:20]), 12).tolist(),
                }
            )
            print(units, name, c, model.n_iter_, apart, np.abs(other.coef_[:, -1]).max(), file=sys.stderr)

for scaled in (True, False):
    for name, y in labels.items():
        for grouped in (False, True):
            folds = StratifiedGroupKFold(5) if grouped else StratifiedKFold(5)
            for kind, model in [
                ("knn", KNeighborsClassifier(15)),
                ("logistic", LogisticRegression(C=1, tol=1e-12, max_iter=10_000)),
            ]:
                model = make_pipeline(SampleScaler(), model) if scaled else model
                data = odd[:, :-1] if scaled else plain
                args = dict(cv=folds, groups=groups if grouped else None)
                p_test = cross_val_predict(model, data, y, method="predict_proba", **args)
                predicted = cross_val_predict(model, data, y, **args)
                out["probe"].append(
                    {
                        "scaled": scaled,
                        "labels": name,
                        "grouped": grouped,
                        "classifier": kind,
                        "predicted": whole(predicted),
                        "probabilities": np.round(p_test[::8], 9).tolist(),
                        "folds": [
                            [len(test), balanced_accuracy_score(y[test], predicted[test])]
                            for _, test in folds.split(data, y, groups)
                        ],
                    }
                )
                print(scaled, name, grouped, kind, np.mean(predicted == y), file=sys.stderr)


def checkerboard():
    """Two columns decide together, four are noise: nothing for a line."""
    x = np.floor(rng.uniform(-64, 64, size=(600, 6)))
    return x, ((x[:, 0] < 0) ^ (x[:, 1] < 0)).astype(int)


def clouds():
    """Four overlapping clouds of unlike sizes in twelve columns."""
    y = np.repeat(np.arange(4), [170, 140, 110, 80])[rng.permutation(500)]
    centers = rng.normal(size=(4, 12)) * 1.1
    return np.round((centers[y] + rng.normal(size=(500, 12))) * 32), y


def scores():
    """Whole numbers from 0 to 4, full of ties, whose sum makes three classes with some noise."""
    x = rng.integers(0, 5, size=(600, 6))
    noisy = x[:, 0] + x[:, 1] + 2 * x[:, 2] + rng.normal(size=600)
    return x, np.digitize(noisy, [5, 9])


def probed(data, y, grouped):
    """The accuracies of cross-validated predictions of forests, of twenty seeds; ten rows side by side are a group."""
    folds = StratifiedGroupKFold(5) if grouped else StratifiedKFold(5)
    found = []
    for seed in range(20):
        forest = RandomForestClassifier(100, random_state=seed)
        told = cross_val_predict(forest, data, y, cv=folds, groups=np.arange(len(y)) // 10)
        found.append([float(np.mean(told == y)), float(balanced_accuracy_score(y, told))])
    print(grouped, np.mean(found, axis=0), np.std(found, axis=0), file=sys.stderr)
    accuracies, balanced = zip(*found)
    return {"grouped": grouped, "accuracies": accuracies, "balanced_accuracies": balanced}


for name, made in [("checkerboard", checkerboard()), ("clouds", clouds()), ("scores", scores())]:
    data, y = made
    held = 250
    train, test = slice(held, None), slice(held)
    found = []
    for seed in range(20):
        forest = RandomForestClassifier(100, random_state=seed, oob_score=True).fit(data[train], y[train])
        score = balanced_accuracy_score(y[test], forest.predict(data[test]))
        found.append([score, forest.oob_score_, *forest.feature_importances_])
    mean = np.mean(found, axis=0)
    print(name, mean, np.std(found, axis=0)[:2], file=sys.stderr)
    out["forest"].append(
        {
            "name": name,
            "held_out": held,
            "x": whole(data),
            "labels": whole(y),
            "balanced_accuracy": mean[0],
            "out_of_bag": mean[1],
            "importances": mean[2:].tolist(),
            "probe": [probed(data, y, grouped) for grouped in (False, True)] if name != "checkerboard" else [],
        }
    )

with open(sys.argv[1], "w") as file:
    json.dump(out, file, separators=(",", ":"))
    file.write("\n")

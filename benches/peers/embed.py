"""Components, neighbours, maps and clusters beside scikit-learn, pynndescent, bbknn, umap-learn, leidenalg and igraph.

    cargo xtask bench-embed

calls `embed.py run FOLDER WORKER ROUNDS` with the environment of requirements_embed.txt; the first call makes the data in
FOLDER: 20,000 rows with 32 and with 300 columns, of 10 clusters and 3 batches, with their 14 nearest other rows. A fourth
argument is another number of rows, for a look that takes seconds and says nothing about speed.
Each contender does each task in a process of its own, in turns: once before it is measured (what compiles on its first call
does it then), and then again until two seconds of CPU time have gone; the table has the least CPU and wall time of one call
and the most resident memory. Everybody works on one thread: two threads of one core slow each other down, which CPU time
would count.
Where both have to compute the same numbers, they are compared, and a difference ends the run; where chance has a part,
ours must be as good, which is a bar as those of speed are. Maps are judged here, ours and theirs by the same code.
The exit status is 3 when a bar is missed.
"""

import math
import os
import random
import sys
import warnings

from contest import best_of, contest, judge, main

ROWS, COLUMNS, CLUSTERS, BATCHES, NEIGHBORS = 20_000, (32, 300), 10, 3, 14
THREADS = ["RAYON_NUM_THREADS", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"]
ONE_THREAD = dict.fromkeys(THREADS, "1")
# Tasks, the peers of each, and how many times as much CPU time as we each shall take at least.
SOLVERS = ["covariance_eigh", "full", "arpack", "randomized"]
TASKS = {
    "PCA": {f"scikit-learn, {solver}": 1 for solver in SOLVERS},
    "neighbours": {"scikit-learn": 1},
    "approximate neighbours": {"pynndescent": None},
    "batch-balanced neighbours": {"bbknn, cKDTree": 2, "bbknn, annoy": 2},
    "UMAP": {"umap-learn": 3},
    # Every edge draws its nodes twice, as umap-learn's do.
    "UMAP, two pulls": {"umap-learn": 3},
    "UMAP, layout alone": {"umap-learn": 3},
    "Leiden": {"leidenalg": 1, "igraph": None},
}
MAPS = {task for task in TASKS if task.startswith("UMAP")}
# How far the numbers of a task may lie apart, relatively (scikit-learn takes distances from products), or how much lower
# ours may be where more is better.
SAME = {"PCA": 1e-6, "neighbours": 1e-5, "batch-balanced neighbours": 1e-5}
AS_GOOD = {
    "approximate neighbours": ("share of the neighbours found", 0.05),
    **dict.fromkeys(MAPS, ("trustworthiness", 0.01)),
    "Leiden": ("modularity", 0.005),
}
# Their answers are approximate, and nothing measures how near they come.
NOT_COMPARED = {"bbknn, annoy", "scikit-learn, randomized"}
# The first rows, in random order as all are, judge a map, by as many neighbours of each among them.
JUDGED, TRUSTED = 2000, 15


def file_of(folder, rows, columns):
    return folder / f"rows_{rows}_{columns}.npz"


def make(file, rows, columns):
    import numpy as np
    from sklearn.neighbors import NearestNeighbors

    rng = np.random.default_rng(columns)
    centers = rng.normal(scale=3, size=(CLUSTERS, columns))
    shifts = rng.normal(scale=0.3, size=(BATCHES, columns))
    batch = rng.choice(BATCHES, size=rows, p=[0.5, 0.3, 0.2])
    # Columns differ in spread, so that components do.
    spread = np.linspace(2, 0.5, columns)
    x = centers[rng.integers(0, CLUSTERS, rows)] + shifts[batch] + rng.normal(size=(rows, columns)) * spread
    distances, indices = NearestNeighbors(n_neighbors=NEIGHBORS, algorithm="brute").fit(x).kneighbors()
    np.savez(file, x=x, batch=batch.astype("i8"), indices=indices.astype("u4"), distances=distances)


def kept(found, indices):
    """The share of `indices` among those found."""
    return sum(len(set(a) & set(b)) for a, b in zip(found, indices)) / indices.size


class Rows:
    """The data, and what several tasks make of it."""

    def __init__(self, file):
        import numpy as np

        data = np.load(file)
        self.x, self.batch, self.indices, self.distances = (data[name] for name in ("x", "batch", "indices", "distances"))

    def fuzzy(self):
        import numpy as np
        import umap.umap_

        n, chance = len(self.x), np.random.RandomState(0)
        indices = np.hstack([np.arange(n)[:, None], self.indices])
        distances = np.hstack([np.zeros((n, 1)), self.distances])
        known = {"knn_indices": indices, "knn_dists": distances}
        return umap.umap_.fuzzy_simplicial_set(self.x, NEIGHBORS + 1, chance, "euclidean", **known)[0]

    def trusted(self, places):
        """How far neighbours on a map can be trusted, by the places of the judged rows, one after the other."""
        import numpy as np
        from sklearn.manifold import trustworthiness

        x = self.x[:JUDGED]
        return float(trustworthiness(x, np.reshape(places, (len(x), -1)), n_neighbors=TRUSTED))


def places(found):
    """What is compared of a map; who compares judges it."""
    return found[:JUDGED].ravel()


# What the peers do for each task, and what of the answer is compared.


def pca(rows, peer):
    from sklearn.decomposition import PCA

    solver = peer.split(", ")[1]
    return lambda: PCA(30, svd_solver=solver, random_state=0).fit(rows.x), lambda found: found.explained_variance_


def neighbors(rows, _):
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=NEIGHBORS, algorithm="brute")
    return lambda: search.fit(rows.x).kneighbors(), lambda found: [found[0].sum()]


def approximate(rows, _):
    from pynndescent import NNDescent

    def search():
        return NNDescent(rows.x, n_neighbors=NEIGHBORS + 1, random_state=0, n_jobs=1).neighbor_graph[0][:, 1:]

    return search, lambda found: [kept(found, rows.indices)]


def balanced(rows, peer):
    import bbknn.matrix

    way = peer.split(", ")[1]

    def search():
        return bbknn.matrix.bbknn(rows.x, rows.batch, n_pcs=rows.x.shape[1], computation=way)

    return search, lambda found: [found[0].sum()]


def map_of_rows(rows, _):
    import umap

    return lambda: umap.UMAP(n_neighbors=NEIGHBORS + 1, random_state=0, n_jobs=1).fit_transform(rows.x), places


def map_of_graph(rows, _):
    import numpy as np
    import umap.umap_

    graph, (a, b), x = rows.fuzzy(), umap.umap_.find_ab_params(1.0, 0.1), rows.x.astype("f4")
    epochs = 200 if len(x) > 10_000 else 500

    def place():
        chance = np.random.RandomState(0)
        # Components, step, curve, repulsion, its samples, epochs, start; no densities.
        settings = 2, 1.0, a, b, 1.0, 5, epochs, "spectral", chance, "euclidean", {}, False, {}, False
        return umap.umap_.simplicial_set_embedding(x, graph.copy(), *settings)[0]

    return place, places


def leiden(rows, peer):
    import igraph
    import leidenalg
    import scipy.sparse

    half = scipy.sparse.triu(rows.fuzzy()).tocoo()
    graph = igraph.Graph(len(rows.x), list(zip(half.row.tolist(), half.col.tolist())))
    graph.es["weight"] = half.data.tolist()
    random.seed(0)
    igraph.set_random_number_generator(random)

    def find():
        if peer == "igraph":
            return graph.community_leiden("modularity", weights="weight", n_iterations=-1)
        kind = leidenalg.RBConfigurationVertexPartition
        return leidenalg.find_partition(graph, kind, weights="weight", n_iterations=-1, seed=0)

    return find, lambda found: [graph.modularity(found.membership, weights="weight")]


WORK = {
    "PCA": pca,
    "neighbours": neighbors,
    "approximate neighbours": approximate,
    "batch-balanced neighbours": balanced,
    "UMAP": map_of_rows,
    "UMAP, two pulls": map_of_rows,
    "UMAP, layout alone": map_of_graph,
    "Leiden": leiden,
}


def work(task, peer, file):
    """Does a task and returns seconds, CPU seconds and what came out."""
    warnings.simplefilter("ignore")
    do, compared = WORK[task](Rows(file), peer)
    answer = compared(do())
    return [*best_of(do), [float(value) for value in answer]]


def agree(task, ours, theirs):
    """Ends the run where numbers that both define alike lie apart."""
    assert len(ours) == len(theirs), f"{task}: {len(ours)} and {len(theirs)} numbers"
    for a, b in zip(ours, theirs):
        assert math.isfinite(a) and math.isfinite(b), f"{task}: {a} and {b}"
        assert abs(a - b) <= SAME[task] * abs(b), f"{task}: {a} and {b}"


def as_good(task, columns, peer, ours, theirs):
    """The verdict on the round in which ours is least good beside theirs."""
    a, b = min(zip(ours, theirs), key=lambda pair: pair[0] - pair[1])
    what, allowed = AS_GOOD[task]
    return a >= b - allowed, f"{a:.3f}, at least {b - allowed:.3f}: {task}, {columns} columns, {what}, beside {peer}"


def run(folder, worker, rounds, rows=ROWS):
    for columns in COLUMNS:
        file = file_of(folder, rows, columns)
        if not file.exists():
            folder.mkdir(parents=True, exist_ok=True)
            make(file, rows, columns)
    print(f"{rows:,} rows.\n")
    print("| task | columns | ours: CPU s | wall s | MB | peer | CPU s | wall s | MB | CPU time, × ours | quality |")
    print("|---|---:|---:|---:|---:|---|---:|---:|---:|---:|---|")
    verdicts = []
    for task, peers in TASKS.items():
        for columns in COLUMNS:
            file = file_of(folder, rows, columns)
            commands = {"ours": [worker, task, file]}
            commands.update({peer: [sys.executable, __file__, "work", task, peer, file] for peer in peers})
            best = contest(commands, rounds, {**os.environ, **ONE_THREAD})
            cpu, wall, resident, answers = best.pop("ours")
            assert all(answer == answers[0] for answer in answers), f"{task}: ours differs between rounds"
            told = Rows(file).trusted if task in MAPS else lambda answer: answer[0]
            ours = [told(answers[0])] * rounds if task in AS_GOOD else []
            for peer, (cpu_peer, wall_peer, resident_peer, answers_peer) in best.items():
                ratio, bar, quality = cpu_peer / cpu, peers[peer], ""
                if task in AS_GOOD:
                    theirs = [told(answer) for answer in answers_peer]
                    quality = f"{ours[0]:.3f}, theirs {theirs[0]:.3f}"
                    verdicts.append(as_good(task, columns, peer, ours, theirs))
                elif peer not in NOT_COMPARED:
                    for answer, answer_peer in zip(answers, answers_peer):
                        agree(task, answer, answer_peer)
                numbers = f"{cpu_peer:.3f} | {wall_peer:.3f} | {resident_peer:.0f} | {ratio:,.1f} | {quality}"
                print(f"| {task} | {columns} | {cpu:.3f} | {wall:.3f} | {resident:.0f} | {peer} | {numbers} |", flush=True)
                if bar:
                    what = f"{task}, {columns} columns, CPU time, times as fast as {peer}"
                    verdicts.append((ratio >= bar, f"{ratio:,.2f}, at least {bar}: {what}"))
    return judge(verdicts)


if __name__ == "__main__":
    main(work, run)

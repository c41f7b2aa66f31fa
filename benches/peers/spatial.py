"""Statistics of the neighbourhood graph beside squidpy.

    cargo xtask bench-spatial

calls `spatial.py run FOLDER WORKER ROUNDS` with the environment of requirements_spatial.txt; the first call makes the data
in FOLDER: cells strewn evenly over a square, of 10 types that lie in patches, with 50 features, of which half follow the
patches; about 10 neighbours each.
Each contender does each task in a process of its own, in turns: once before it is measured (squidpy imports and compiles
then), and then again until two seconds of CPU time have gone; the table has the least CPU and wall time of one call and the
most resident memory.
Where both have to compute the same numbers, they are compared.
The exit status is 3 when a bar is missed.
"""

import math
import sys
import warnings

from contest import best_of, contest, judge, main

# Cells by task, and how much less CPU time than squidpy we want to take.
TASKS = {
    "radius graph": (100_000, 5),
    "centralities": (10_000, 50),
    "enrichment, 1,000 permutations": (100_000, 2),
    "enrichment, exact": (100_000, 1000),
    "Moran's I": (20_000, None),
    "Moran's I, 100 permutations": (20_000, 10),
    "co-occurrence": (10_000, 50),
    "Ripley L": (10_000, 50),
    "Ripley G": (10_000, 50),
    "Ripley F": (10_000, 50),
}
TYPES, FEATURES, DISTANCES, RADIUS = 10, 50, 50, 20.0
# Between numbers of the two: squidpy has weights of 32 bits, and distances, so that it counts some pairs at another one.
TOLERANCE, CO_OCCURRENCE = 1e-5, 1e-4


def file_of(folder, cells):
    return folder / f"cells_{cells}.npz"


def make(folder):
    import numpy as np
    from scipy.spatial import cKDTree

    for cells in sorted({cells for cells, _ in TASKS.values()}):
        rng = np.random.default_rng(cells)
        side = np.sqrt(cells * np.pi * RADIUS**2 / 10)
        points = rng.uniform(0, side, (cells, 2))
        patches = rng.uniform(0, side, (200, 2))
        patch = cKDTree(patches).query(points)[1]
        # Four of five cells have the type of their patch.
        labels = np.where(rng.random(cells) < 0.8, patch % TYPES, rng.integers(0, TYPES, cells))
        features = rng.normal(size=(cells, FEATURES))
        features[:, : FEATURES // 2] += rng.normal(size=(200, FEATURES // 2))[patch]
        np.savez(
            file_of(folder, cells),
            points=points,
            labels=labels.astype("i8"),
            features=features,
            distances=np.linspace(RADIUS, side / 2, DISTANCES),
            radius=np.array([RADIUS]),
        )


def work(task, file):
    """Does a task with squidpy and returns seconds, CPU seconds and what came out."""
    import anndata
    import numpy as np
    import pandas as pd
    import squidpy as sq

    warnings.simplefilter("ignore")
    data = np.load(file)
    names = pd.Categorical([f"type {label}" for label in data["labels"]])
    cells = anndata.AnnData(data["features"], obs=pd.DataFrame({"type": names}), obsm={"spatial": data["points"]})
    cells.obs_names = cells.obs_names.astype(str)

    def graph():
        sq.gr.spatial_neighbors(cells, coord_type="generic", radius=float(data["radius"][0]))
        return [cells.obsp["spatial_connectivities"].nnz]

    def centralities():
        found = sq.gr.centrality_scores(cells, "type", copy=True)
        columns = ["closeness_centrality", "average_clustering", "degree_centrality"]
        return np.concatenate([found[column] for column in columns])

    def enrichment():
        found = sq.gr.nhood_enrichment(cells, "type", n_perms=1000, seed=0, copy=True, show_progress_bar=False)
        return np.concatenate([np.asarray(found[1], "f8").ravel(), found[0].ravel()])

    def moran(permutations):
        found = sq.gr.spatial_autocorr(
            cells, mode="moran", n_perms=permutations, seed=0, corr_method=None, copy=True, show_progress_bar=False
        )
        return found.loc[cells.var_names, "I"].to_numpy()

    def co_occurrence():
        # The first distance is not used.
        interval = np.concatenate([[0.0], data["distances"]]).astype("f4")
        return sq.gr.co_occurrence(cells, "type", interval=interval, copy=True)[0].ravel()

    def ripley(mode):
        found = sq.gr.ripley(cells, "type", mode=mode, n_simulations=100, seed=0, copy=True)
        return [len(found[f"{mode}_stat"])]

    each = {
        "radius graph": graph,
        "centralities": centralities,
        "enrichment, 1,000 permutations": enrichment,
        "enrichment, exact": enrichment,
        "Moran's I": lambda: moran(None),
        "Moran's I, 100 permutations": lambda: moran(100),
        "co-occurrence": co_occurrence,
        "Ripley L": lambda: ripley("L"),
        "Ripley G": lambda: ripley("G"),
        "Ripley F": lambda: ripley("F"),
    }
    if task != "radius graph":
        graph()
    answer = each[task]()
    return [*best_of(each[task]), [float(value) for value in answer]]


def agree(task, ours, theirs):
    """Numbers that both define alike; Ripley's functions are compared in the crate's tests, in compat mode."""
    if task.startswith("Ripley"):
        return
    assert len(ours) == len(theirs), f"{task}: {len(ours)} and {len(theirs)} numbers"
    tolerance = CO_OCCURRENCE if task == "co-occurrence" else TOLERANCE
    allowed = [tolerance * max(1, abs(b)) for b in theirs]
    if task.startswith("enrichment"):
        # Counts are exact; z are those of 1,000 permutations, which both may draw.
        half = len(theirs) // 2
        spread = [6 * (1 / math.sqrt(1000) + abs(z) / math.sqrt(2000)) for z in theirs[half:]]
        allowed = [0] * half + spread
    for a, b, most in zip(ours, theirs, allowed):
        assert math.isfinite(a) and math.isfinite(b) and abs(a - b) <= most, f"{task}: {a} and {b}"


def run(folder, worker, rounds):
    if not all(file_of(folder, cells).exists() for cells, _ in TASKS.values()):
        folder.mkdir(parents=True, exist_ok=True)
        make(folder)
    print("| task | cells | ours: CPU s | wall s | MB | squidpy: CPU s | wall s | MB | CPU time, × ours |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    verdicts = []
    for task, (cells, bar) in TASKS.items():
        file = file_of(folder, cells)
        commands = {"ours": [worker, task, file], "squidpy": [sys.executable, __file__, "work", task, file]}
        best = contest(commands, rounds)
        cpu, wall, resident, answers = best["ours"]
        cpu_peer, wall_peer, resident_peer, answers_peer = best["squidpy"]
        for answer, answer_peer in zip(answers, answers_peer):
            agree(task, answer, answer_peer)
        ratio = cpu_peer / cpu
        numbers = f"{cpu:.4f} | {wall:.4f} | {resident:.0f} | {cpu_peer:.2f} | {wall_peer:.2f} | {resident_peer:.0f}"
        print(f"| {task} | {cells:,} | {numbers} | {ratio:,.1f} |", flush=True)
        if bar:
            verdicts.append((ratio >= bar, f"{ratio:,.1f}, at least {bar}: {task}"))
    return judge(verdicts)


if __name__ == "__main__":
    main(work, run)

"""Reading images and opening stores beside zarr-python, tensorstore and spatialdata with dask.

    cargo xtask bench-io

calls `io.py run FOLDER WORKER ROUNDS` with the environment of requirements_io.txt; the first call makes the data in FOLDER
(600 MB, two minutes): an image of 8192 x 8192 pixels, 4 channels, uint16, in chunks of 1024 x 1024 (zstd, as spatialdata
writes), and a store of 1,000 small elements.
Every contender does every task in a process of its own, in turns; the table has the smallest CPU and wall time of the
rounds and the most resident memory.
Contenders check what they read by its sum.
The exit status is 3 when a bar is missed.
"""

import pathlib
import sys

from contest import contest, judge, main, timed

SIDE, CHANNELS, WINDOW, WINDOWS = 8192, 4, 64, 2000
CACHE_BYTES = 256_000_000
TASKS = ["full", "windows-at-once", "windows-one-by-one", "open"]


def windows():
    """Corners of windows, as in io_worker.rs: a linear congruential generator."""
    state, found = 1, []
    for _ in range(WINDOWS):
        corner = []
        for _ in range(2):
            state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
            corner.append((state >> 33) % (SIDE - WINDOW + 1))
        found.append(tuple(corner))
    return found


def make(folder):
    import dask.array as da
    import numpy as np
    import spatialdata as sd
    from spatialdata.models import Image2DModel, Labels2DModel

    def tile(block_info=None):
        """A smooth background, round cells and the noise of a camera."""
        (c, c_end), (y0, y1), (x0, x1) = block_info[None]["array-location"]
        rng = np.random.default_rng([c, y0, x0])
        y, x = np.mgrid[y0:y1, x0:x1].astype("f4")
        field = 400 + 150 * np.sin(y / 1700 + c) * np.cos(x / 2300)
        cells = np.maximum(0, np.sin(y / 9 + c) * np.sin(x / 11) - 0.5) * 900
        noise = rng.normal(0, 12, (y1 - y0, x1 - x0))
        return np.clip(field + cells + noise, 0, 65535).astype("u2")[None]

    chunks = ((1,) * CHANNELS, (1024,) * (SIDE // 1024), (1024,) * (SIDE // 1024))
    image = da.map_blocks(tile, chunks=chunks, dtype="u2")
    image = Image2DModel.parse(image, dims=("c", "y", "x"), c_coords=["a", "b", "c", "d"])
    sd.SpatialData(images={"image": image}).write(folder / "image.zarr")
    small = np.zeros((1, 64, 64), "u2")
    images = {f"image_{i}": Image2DModel.parse(small, dims=("c", "y", "x")) for i in range(500)}
    labels = {f"labels_{i}": Labels2DModel.parse(small[0], dims=("y", "x")) for i in range(500)}
    sd.SpatialData(images=images, labels=labels).write(folder / "many.zarr")


def level(folder):
    return folder / "image.zarr" / "images" / "image" / "s0"


def work(contender, task, folder):
    """Does a task and returns seconds, CPU seconds and what it read as a sum."""
    import numpy as np

    found = windows()
    if task == "open":
        import spatialdata as sd

        wall, cpu, store = timed(lambda: sd.read_zarr(folder / "many.zarr"))
        return [wall, cpu, len(store.images) + len(store.labels)]
    # Windows that are read one by one are not kept.
    slices = [np.s_[:, y : y + WINDOW, x : x + WINDOW] for y, x in found]
    if contender == "zarr":
        import zarr

        array = zarr.open_array(level(folder), mode="r")
        read_all = lambda: (array[slice] for slice in slices)
        each = {"full": lambda: [array[:]], "windows-at-once": read_all, "windows-one-by-one": read_all}
    elif contender.startswith("tensorstore"):
        import tensorstore as ts

        # The limit of our own cache.
        context = ts.Context({"cache_pool": {"total_bytes_limit": CACHE_BYTES}})
        spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{level(folder)}/"}}
        array = ts.open(spec, context=context, open=True).result()

        def batch():
            with ts.Batch() as batch:
                futures = [array[slice].read(batch=batch) for slice in slices]
            return [future.result() for future in futures]

        def futures():
            return [future.result() for future in [array[slice].read() for slice in slices]]

        each = {
            "full": lambda: [array.read().result()],
            "windows-at-once": batch if contender == "tensorstore Batch" else futures,
            "windows-one-by-one": lambda: (array[slice].read().result() for slice in slices),
        }
    else:
        import dask
        import spatialdata as sd

        array = sd.read_zarr(folder / "image.zarr")["image"].data
        each = {
            "full": lambda: [array.compute()],
            "windows-at-once": lambda: dask.compute(*[array[slice] for slice in slices]),
            "windows-one-by-one": lambda: (array[slice].compute() for slice in slices),
        }
    return timed(lambda: sum(int(part.sum(dtype="u8")) for part in each[task]()))


def contenders(ours):
    """Name, command and tasks of every contender; the name of a task for our own program where it differs."""
    this = pathlib.Path(__file__)
    peer = lambda name: [sys.executable, this, "work", name]
    images = TASKS[:3]
    return {
        "bare zstd": ([ours], {"full": "floor"}),
        "bare zstd, all kept": ([ours], {"full": "floor-kept"}),
        "phenocoder-io": ([ours], dict(zip(TASKS, TASKS))),
        "tensorstore": (peer("tensorstore"), dict(zip(images, images))),
        "tensorstore Batch": (peer("tensorstore Batch"), {"windows-at-once": "windows-at-once"}),
        "zarr": (peer("zarr"), dict(zip(images, images))),
        "spatialdata": (peer("spatialdata"), dict(zip(TASKS, TASKS))),
    }


def measure(folder, ours, rounds):
    """CPU seconds, wall seconds, resident megabytes and the sums of what was read, by task and contender."""
    table = {}
    for task in TASKS:
        all_of_them = contenders(ours).items()
        commands = {name: [*command, tasks[task], folder] for name, (command, tasks) in all_of_them if task in tasks}
        best = contest(commands, rounds)
        sums = {read for name, (*_, rounds_of) in best.items() if name != "bare zstd" for read in rounds_of}
        assert len(sums) == 1, f"contenders read different things: {sums}"
        table[task] = best
    return table


def verdicts(table):
    """(met, text) of every bar."""
    ours = {task: best["phenocoder-io"] for task, best in table.items()}

    def peers(task):
        names = [name for name in table[task] if name != "phenocoder-io" and not name.startswith("bare")]
        return min(names, key=lambda name: table[task][name][0])

    def at_least(task, peer, bar):
        ratio = table[task][peer][0] / ours[task][0]
        return ratio >= bar, f"{ratio:.2f}, at least {bar}: {task}, CPU time, times as fast as {peer}"

    kept = ours["full"][0] / table["full"]["bare zstd, all kept"][0]
    resident = ours["windows-one-by-one"][2] - CACHE_BYTES / 1e6
    return [
        at_least("full", peers("full"), 1),
        (kept <= 1.25, f"{kept:.2f}, at most 1.25: full, CPU time, part of bare zstd, all kept"),
        at_least("windows-at-once", peers("windows-at-once"), 1.3),
        at_least("windows-at-once", "zarr", 20),
        at_least("windows-one-by-one", peers("windows-one-by-one"), 2),
        at_least("open", "spatialdata", 20),
        (resident <= 64, f"{resident:.0f}, at most 64: MB above the limit of the cache, windows-one-by-one"),
    ]


def run(folder, ours, rounds):
    if not (folder / "many.zarr" / "zarr.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        make(folder)
    table = measure(folder, ours, rounds)
    print("| task | contender | CPU s | wall s | resident MB | × ours, CPU |\n|---|---|---:|---:|---:|---:|")
    for task, best in table.items():
        for name, (cpu, wall, resident, _) in best.items():
            ratio = cpu / best["phenocoder-io"][0]
            print(f"| {task} | {name} | {cpu:.2f} | {wall:.2f} | {resident:.0f} | {ratio:.2f} |")
    return judge(verdicts(table))


if __name__ == "__main__":
    main(work, run)

"""Reading images and opening stores beside zarr-python, tensorstore and spatialdata with dask.

    pip install spatialdata==0.8.0 tensorstore==0.1.86
    cargo build --release -p phenocoder-benches --bin io_worker
    python benches/peers/io.py make FOLDER                       about 600 MB and two minutes
    python benches/peers/io.py run FOLDER target/release/io_worker [ROUNDS]

`make` writes an image of 8192 x 8192 pixels, 4 channels, uint16, in chunks of 1024 x 1024 (zstd, as spatialdata writes),
and a store of 1,000 small elements.
`run` lets every contender do every task in a process of its own, in turns, and prints the smallest CPU and wall time of
the rounds and the most resident memory.
Contenders check what they read by its sum.
"""

import json
import pathlib
import resource
import subprocess
import sys
import time

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

        begin = time.perf_counter(), time.process_time()
        store = sd.read_zarr(folder / "many.zarr")
        return [*since(begin), len(store.images) + len(store.labels)]
    # Windows that are read one by one are not kept.
    slices = [np.s_[:, y : y + WINDOW, x : x + WINDOW] for y, x in found]
    if contender == "zarr":
        import zarr

        array = zarr.open_array(level(folder), mode="r")
        read_all = lambda: (array[slice] for slice in slices)
        each = {"full": lambda: [array[:]], "windows-at-once": read_all, "windows-one-by-one": read_all}
    elif contender == "tensorstore":
        import tensorstore as ts

        context = ts.Context({"cache_pool": {"total_bytes_limit": CACHE_BYTES}})
        spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{level(folder)}/"}}
        array = ts.open(spec, context=context, open=True).result()

        def at_once():
            with ts.Batch() as batch:
                futures = [array[slice].read(batch=batch) for slice in slices]
            return [future.result() for future in futures]

        each = {
            "full": lambda: [array.read().result()],
            "windows-at-once": at_once,
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
    begin = time.perf_counter(), time.process_time()
    total = sum(int(part.sum(dtype="u8")) for part in each[task]())
    return [*since(begin), total]


def since(begin):
    return time.perf_counter() - begin[0], time.process_time() - begin[1]


def run(folder, ours, rounds):
    this = pathlib.Path(__file__)
    contenders = {
        "bare zstd": [ours],
        "phenocoder-io": [ours],
        "tensorstore": [sys.executable, this, "work", "tensorstore"],
        "zarr": [sys.executable, this, "work", "zarr"],
        "spatialdata": [sys.executable, this, "work", "spatialdata"],
    }
    print("| task | contender | CPU s | wall s | resident MB |\n|---|---|---:|---:|---:|")
    for task in TASKS:
        best, sums = {}, set()
        for _ in range(rounds):
            for name, command in contenders.items():
                if (task == "open") and name in ("zarr", "tensorstore", "bare zstd"):
                    continue
                if name == "bare zstd" and task != "full":
                    continue
                asked = "floor" if name == "bare zstd" else task
                out = subprocess.run([*command, asked, folder], check=True, capture_output=True, text=True)
                wall, cpu, total, resident = json.loads(out.stdout.splitlines()[-1])
                if name != "bare zstd":
                    sums.add(total)
                old = best.get(name, (wall, cpu, resident))
                best[name] = min(old[0], wall), min(old[1], cpu), max(old[2], resident)
        assert len(sums) == 1, f"contenders read different things: {sums}"
        for name, (wall, cpu, resident) in best.items():
            print(f"| {task} | {name} | {cpu:.3f} | {wall:.3f} | {resident:.0f} |", flush=True)


if __name__ == "__main__":
    command, *rest = sys.argv[1:]
    if command == "make":
        make(pathlib.Path(rest[0]))
    elif command == "work":
        contender, task, folder = rest
        result = work(contender, task, pathlib.Path(folder))
        resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps([*result, resident]))
    else:
        run(rest[0], rest[1], int(rest[2]) if len(rest) > 2 else 3)

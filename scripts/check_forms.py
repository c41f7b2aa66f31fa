"""Rewrites stores that zarr-python, pandas and pyarrow made in unusual forms, and has Python say what became of them.

    python scripts/check_forms.py REWRITE_PROGRAM WORK_FOLDER [CONFORMANCE_FOLDER]

REWRITE_PROGRAM is the built example `rewrite`; the forms of chunks are those of
crates/phenocoder-io/tests/data/make_forms.py, beside points with categories of numbers and a table with such.

1. Copies in containers 0.2 and 0.1 hold what zarr-python reads from the arrays, and the same columns.
2. With CONFORMANCE_FOLDER, its `check_written.py` accepts the copies.
3. pyarrow reads our Parquet files with `page_checksum_verification`, and finds a flipped bit in every column.

Exit code: 0 when all of it holds.
"""

import contextlib
import io
import json
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

warnings.filterwarnings("ignore")
DATA = Path(__file__).parents[1] / "crates/phenocoder-io/tests/data"
CONTAINERS = ("0.2", "0.1")


def same(ours, theirs, what):
    if not np.array_equal(np.asarray(ours), np.asarray(theirs)):
        raise SystemExit(f"{what}: other values")


def level(element):
    """The values of an image or mask of one scale."""
    return element.compute().data


def categories():
    """Columns with categories of numbers; of points, no unused ones, as dask keeps none."""
    return {
        "number": pd.Categorical([9, -2, 9, -2, 5, 9]),
        "small": pd.Categorical(np.array([3, 1, 3, 1, 1, 1], np.int8), ordered=True),
        "half": pd.Categorical([0.5, None, 0.25, 0.5, 0.5, 0.25]),
        "truth": pd.Categorical([True, False, True, True, None, False]),
        "text": pd.Categorical(list("abcabc")),
    }


def vectors(path):
    """Points and a table, written by spatialdata."""
    import anndata
    import spatialdata
    from spatialdata.models import PointsModel, TableModel

    place = np.arange(6.0)
    points = PointsModel.parse(pd.DataFrame({"x": place, "y": place[::-1], **categories()}))
    names = [f"cell_{i}" for i in range(6)]
    table = anndata.AnnData(np.ones((6, 1), np.float32), pd.DataFrame(categories(), names), pd.DataFrame(index=["v"]))
    table.obs["unused"] = pd.Categorical([7, 7, 8, 8, 7, 7], categories=[8, 9, 7], ordered=True)
    spatialdata.SpatialData(points={"p": points}, tables={"t": TableModel.parse(table)}).write(path)


def check_vectors(original, copy):
    import spatialdata

    before, after = spatialdata.read_zarr(original), spatialdata.read_zarr(copy)
    ours, theirs = after.points["p"].compute(), before.points["p"].compute()
    for name, values in categories().items():
        if not isinstance(ours[name].dtype, pd.CategoricalDtype):
            raise SystemExit(f"{copy}: points column {name} is {ours[name].dtype}, not categorical")
        pd.testing.assert_series_equal(ours[name].astype(object), theirs[name].astype(object), check_names=False)
        same(ours[name].astype(object).fillna("-"), pd.Series(values).astype(object).fillna("-"), f"{copy}: {name}")
    pd.testing.assert_frame_equal(after.tables["t"].obs, before.tables["t"].obs)


def check_pages(store):
    """Every column of every row group: sound as it is, and found out when a bit of its last page is flipped."""
    columns = 0
    for path in sorted(Path(store).rglob("*.parquet")):
        if path.is_dir():
            continue
        read = lambda source: pq.ParquetFile(source, page_checksum_verification=True).read()
        whole, metadata = path.read_bytes(), pq.read_metadata(path)
        read(io.BytesIO(whole))
        hidden = [name for name in pd.read_parquet(path).columns if name.startswith("__")]
        if hidden:
            raise SystemExit(f"{path}: pandas takes the index {hidden} for a column")
        for group in range(metadata.num_row_groups):
            for at in range(metadata.num_columns):
                column = metadata.row_group(group).column(at)
                starts = [column.data_page_offset, column.dictionary_page_offset]
                end = min(s for s in starts if s is not None) + column.total_compressed_size
                flipped = bytearray(whole)
                flipped[end - 1] ^= 1
                try:
                    read(io.BytesIO(bytes(flipped)))
                except OSError as error:
                    if "CRC" not in str(error):
                        raise SystemExit(f"{path}: {error}") from error
                else:
                    raise SystemExit(f"{path}: pyarrow does not find a flipped bit of {column.path_in_schema}")
                columns += 1
    return columns


def accepted(conformance, original, copy, container):
    sys.path.insert(0, str(conformance))
    import check_written
    import sdexpect

    expected = copy.with_suffix(".json")
    expected.write_text(json.dumps(sdexpect.describe(str(original))))
    sys.argv = ["check_written.py", str(copy), str(expected), "--container", container]
    said = io.StringIO()
    code = 0
    with contextlib.redirect_stdout(said):
        try:
            check_written.main()
        except SystemExit as end:
            code = end.code
    if code != 0:
        raise SystemExit(f"{copy} is not accepted: {said.getvalue()}")


def main():
    rewrite, work = (Path(argument).resolve() for argument in sys.argv[1:3])
    conformance = Path(sys.argv[3]).resolve() if len(sys.argv) > 3 else None
    work.mkdir(parents=True)
    sys.path.insert(0, str(DATA))
    import make_forms
    import spatialdata

    originals = {f"forms_v{version}": make_forms.make(str(work / f"forms_v{version}.zarr"), version) for version in (2, 3)}
    vectors(work / "vectors.zarr")
    arrays = columns = copies = 0
    for name in [*originals, "vectors"]:
        original = work / f"{name}.zarr"
        for container in CONTAINERS:
            copy = work / f"{name}_{container}.zarr"
            written = subprocess.run([rewrite, original, copy, container], capture_output=True, text=True)
            if written.returncode != 0 or written.stdout:
                raise SystemExit(f"{copy} is not rewritten: {written.stdout}{written.stderr}")
            if name == "vectors":
                check_vectors(original, copy)
                columns += check_pages(copy)
            else:
                read = spatialdata.read_zarr(copy)
                for (kind, element), values in originals[name].items():
                    found = level(getattr(read, kind)[element])
                    same(found, values, f"{copy}: {kind}/{element}")
                    if found.dtype != values.dtype.newbyteorder("="):
                        raise SystemExit(f"{copy}: {kind}/{element} is {found.dtype}, not {values.dtype}")
                    arrays += 1
            if conformance is not None:
                accepted(conformance, original, copy, container)
            copies += 1
    checked = "and accepted" if conformance is not None else "but not checked by check_written.py"
    print(f"{copies} rewritten stores {checked}: {arrays} arrays as zarr-python reads them, "
          f"{columns} columns whose flipped bit pyarrow finds")


if __name__ == "__main__":
    main()

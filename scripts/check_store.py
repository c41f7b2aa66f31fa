#!/usr/bin/env python3
"""Asks Python whether a store that phenocoder wrote is a good SpatialData store.

    python check_store.py STORE [--table phenocoder] [--input-table nuclei_features]
                          [--statistics-table NAME]... [--sample-key well] [--cluster-key cluster]
                          [--spatial-key spatial] [--figures FOLDER]

1. spatialdata opens the store; warnings about our elements are errors.
2. The table is a valid SpatialData table: it annotates what the input's table annotated, `X` is float and
   finite, the variables are `phc_latent_*`, and `obs`, `obsm` and the instance keys of the input are carried over.
3. squidpy and scanpy work with it: spatial neighbors, neighborhood enrichment, plots of UMAP coordinates.

Needs Python 3.12 and scripts/requirements.txt.  Exit code: 0 accepted, 1 rejected, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import traceback
import warnings
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pandas as pd

# Warnings that say nothing about our elements.  Everything else that is raised while reading is an error.
ALLOWED = [
    # The parts of the input that we carry over were written by an older spatialdata; that is the input's business.
    ("", "not stored in the most current format"),
    # The organoid data's `region` column names no element; spatialdata repeats it for each table that keeps it.
    # `annotations` below checks that ours says the same as the input's.
    ("", "The table is annotating"),
    # Inside of the readers: their use of their own dependencies.
    ("ImportWarning", ""),
    ("DeprecationWarning", ""),
    ("PendingDeprecationWarning", ""),
    ("ResourceWarning", ""),
    # zarr-python warns of every data type without an agreed Zarr v3 name, as are the fixed-length strings of others.
    ("", "does not have a Zarr V3 specification"),
    ("UnstableSpecificationWarning", ""),
]
# A deprecation of the format that we wrote is ours, although it is among the categories above.
REFUSED = ["OldFormatWarning"]


class Rejected(Exception):
    """A check did not hold."""


class Checks:
    """Runs named checks and remembers which failed."""

    def __init__(self) -> None:
        self.passed = 0
        self.failed: list[str] = []

    def run(self, name, function, *arguments):
        """Returns what the function returns, or None when it failed."""
        try:
            result = function(*arguments)
        except Exception as error:  # every failure of a reader is a finding
            self.failed.append(name)
            detail = str(error) if isinstance(error, Rejected) else traceback.format_exc()
            print(f"FAILED  {name}: {detail}")
            return None
        said = result if isinstance(result, str) else ""
        print(f"ok      {name}{': ' if said else ''}{said}")
        self.passed += 1
        return True if result is None else result

    def verdict(self) -> int:
        print(f"{'REJECTED' if self.failed else 'accepted'}: {self.passed} checks passed, {len(self.failed)} failed")
        return 1 if self.failed else 0


def require(condition, message: str) -> None:
    if not condition:
        raise Rejected(message)


def is_allowed(warning: warnings.WarningMessage) -> bool:
    categories, text = [c.__name__ for c in warning.category.__mro__], str(warning.message)
    if any(c in categories for c in REFUSED):
        return False
    return any((not c or c in categories) and t in text for c, t in ALLOWED)


def open_store(path: Path):
    """Opens the store and reads all of every table and one value of every image and label."""
    import spatialdata

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        sdata = spatialdata.read_zarr(path)
        for group in (sdata.images, sdata.labels):
            for element in group.values():
                first_value(element)
    refused = [w for w in caught if not is_allowed(w)]
    for kept in {str(w.message).splitlines()[0] for w in caught if is_allowed(w)}:
        print(f"        not counted: {kept[:150]}")
    require(not refused, "; ".join(sorted({f"{w.category.__name__}: {w.message}" for w in refused})))
    return sdata


def first_value(element):
    """Reads the first pixel of an image or label of any number of scales."""
    if hasattr(element, "data_vars") or not hasattr(element, "isel"):
        element = next(iter(element["scale0"].values()))
    return element.isel({axis: 0 for axis in element.dims}).compute()


def annotation(table) -> dict:
    """What the table annotates, in a form that can be compared."""
    attrs = table.uns.get("spatialdata_attrs")
    require(attrs is not None, "no `spatialdata_attrs` in uns: the table annotates nothing")
    region = attrs["region"]
    regions = sorted([region] if isinstance(region, str) else [str(r) for r in region])
    return {"region": regions, "region_key": str(attrs["region_key"]), "instance_key": str(attrs["instance_key"])}


def annotations(sdata, table, source) -> str:
    """The table annotates the elements that the input's table annotates, row for row."""
    from spatialdata.models import TableModel

    TableModel().validate(table)
    ours = annotation(table)
    present = sorted(table.obs[ours["region_key"]].astype(str).unique())
    require(set(present) <= set(ours["region"]), f"rows annotate {present}, the attributes say {ours['region']}")
    if source is not None and "spatialdata_attrs" in source.uns:
        theirs = annotation(source)
        require(ours == theirs, f"annotates {ours}, the input's table {theirs}")
        for key in (ours["region_key"], ours["instance_key"]):
            same_column(table.obs[key], source.obs[key].reindex(table.obs.index), f"obs `{key}`")
    elements = {name for _, name, _ in sdata.gen_spatial_elements()}
    missing = [region for region in ours["region"] if region not in elements]
    if source is None:
        require(not missing, f"annotates {missing}, which are no elements of the store")
    return f"region {ours['region']}, instance key `{ours['instance_key']}`" + (
        f" (as in the input, {missing} is no element)" if missing else ""
    )


def values(table, prefix: str) -> str:
    """X is a finite float matrix with our variable names."""
    x = table.X.toarray() if hasattr(table.X, "toarray") else np.asarray(table.X)
    require(x.dtype.kind == "f", f"X is {x.dtype}, expected a float type")
    require(x.ndim == 2 and x.shape[1] > 0, f"X has shape {x.shape}")
    bad = int((~np.isfinite(x)).any(axis=1).sum())
    require(bad == 0, f"{bad} rows of X are not finite")
    require((x.std(axis=0) > 0).any(), "every column of X is constant")
    expected = [f"{prefix}{i + 1}" for i in range(x.shape[1])]
    require(list(table.var_names) == expected, f"variables {list(table.var_names)[:3]}…, expected {expected[:3]}…")
    require(table.obs_names.is_unique, "the names of the rows are not unique")
    return f"{x.shape[0]} × {x.shape[1]}, {x.dtype}"


def same_column(a: pd.Series, b: pd.Series, what: str) -> None:
    require(len(a) == len(b), f"{what}: {len(a)} rows, the input has {len(b)}")
    if isinstance(a.dtype, pd.CategoricalDtype) or isinstance(b.dtype, pd.CategoricalDtype):
        require(a.dtype.name == b.dtype.name, f"{what}: {a.dtype}, in the input {b.dtype}")
        require(list(a.cat.categories) == list(b.cat.categories), f"{what}: other categories")
        a, b = a.astype(object), b.astype(object)
    same = (a.to_numpy() == b.to_numpy()) | (a.isna().to_numpy() & b.isna().to_numpy())
    require(bool(np.all(same)), f"{what}: {int((~same).sum())} rows differ from the input")


def carried_over(table, source) -> str:
    """Every row, column of obs and matrix of obsm is the input's."""
    require(set(table.obs_names) <= set(source.obs_names), "rows that the input does not have")
    rows = source.obs_names.get_indexer(table.obs_names)
    require(bool(np.all(np.diff(rows) > 0)), "the rows are not in the order of the input")
    missing = [c for c in source.obs.columns if c not in table.obs.columns]
    require(not missing, f"columns {missing} of obs are missing")
    for column in source.obs.columns:
        same_column(table.obs[column], source.obs[column].iloc[rows], f"obs `{column}`")
    missing = [key for key in source.obsm if key not in table.obsm]
    require(not missing, f"matrices {missing} of obsm are missing")
    for key in source.obsm:
        ours, theirs = np.asarray(table.obsm[key]), np.asarray(source.obsm[key])[rows]
        require(np.array_equal(ours, theirs, equal_nan=theirs.dtype.kind == "f"), f"obsm `{key}` differs")
    return f"{len(rows)} of {source.n_obs} rows, {len(source.obs.columns)} columns, {len(source.obsm)} matrices"


def neighbors(table, options) -> str:
    """squidpy builds its graph on our coordinates."""
    import squidpy

    require(options.spatial_key in table.obsm, f"no obsm `{options.spatial_key}`")
    library = options.sample_key if options.sample_key in table.obs else None
    if library is not None and not isinstance(table.obs[library].dtype, pd.CategoricalDtype):
        table.obs[library] = table.obs[library].astype(str).astype("category")
    squidpy.gr.spatial_neighbors(
        table, spatial_key=options.spatial_key, library_key=library, coord_type="generic", n_neighs=6
    )
    edges = table.obsp["spatial_connectivities"].nnz
    require(edges > 0, "no edge between any two cells")
    return f"{edges} edges"


def enrichment(table, options) -> str:
    """squidpy counts neighboring clusters with our labels."""
    import squidpy

    key = options.cluster_key
    require(key in table.obs, f"no column `{key}` in obs")
    if not isinstance(table.obs[key].dtype, pd.CategoricalDtype):
        table.obs[key] = table.obs[key].astype(str).astype("category")
    table.obs[key] = table.obs[key].cat.remove_unused_categories()
    n = len(table.obs[key].cat.categories)
    require(n > 1, f"`{key}` has {n} category; enrichment needs two")
    squidpy.gr.nhood_enrichment(table, cluster_key=key, n_perms=20, seed=0, show_progress_bar=False, n_jobs=1)
    counts = np.asarray(table.uns[f"{key}_nhood_enrichment"]["count"])
    require(counts.shape == (n, n) and counts.sum() > 0, f"counts have shape {counts.shape}")
    return f"{n} × {n} clusters, {int(counts.sum())} pairs"


def umap_plot(table, options, color, path: Path) -> str:
    """scanpy draws our UMAP coordinates; on the input's table alone it computes them first."""
    import matplotlib.pyplot as plt
    import scanpy

    made = ""
    if "X_umap" not in table.obsm:
        require(options.compute_umap, "no obsm `X_umap` (`--compute-umap` lets scanpy make it)")
        made = ", coordinates by scanpy"
        scanpy.pp.neighbors(table, use_rep="X", n_neighbors=min(15, table.n_obs - 1), random_state=0)
        scanpy.tl.umap(table, random_state=0)
    coordinates = np.asarray(table.obsm["X_umap"])
    require(coordinates.shape == (table.n_obs, 2), f"X_umap has shape {coordinates.shape}")
    require(bool(np.isfinite(coordinates).all()), "X_umap has values that are not finite")
    colors = [c for c in color if c in table.obs]
    scanpy.pl.umap(table, color=colors or None, show=False)
    plt.savefig(path)
    plt.close("all")
    require(path.stat().st_size > 5000, f"{path} is empty")
    return f"{path}, colored by {colors}{made}"


def statistics(table) -> str:
    """A table of samples or subunits: float, named, one row each; missing values are allowed."""
    x = table.X.toarray() if hasattr(table.X, "toarray") else np.asarray(table.X)
    require(x.dtype.kind == "f", f"X is {x.dtype}, expected a float type")
    require(x.shape[0] > 0 and x.shape[1] > 0, f"X has shape {x.shape}")
    require(table.obs_names.is_unique and table.var_names.is_unique, "names are not unique")
    require(not np.isinf(x).any(), "X has infinite values")
    require(not np.isnan(x).all(axis=1).any(), "a row without any value")
    return f"{x.shape[0]} rows × {x.shape[1]} statistics, {int(np.isnan(x).sum())} missing"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("--table", default="phenocoder", help="the table of latents")
    parser.add_argument("--input-table", help="the table that the latents were computed for, in the same store")
    parser.add_argument("--input-store", type=Path, help="where the input's table lies, if in another store")
    parser.add_argument("--statistics-table", action="append", default=[], help="may be repeated")
    parser.add_argument("--prefix", default="phc_latent_", help="how variables start; empty: any names")
    parser.add_argument("--sample-key", default="sample")
    parser.add_argument("--cluster-key", default="cluster")
    parser.add_argument("--spatial-key", default="spatial")
    parser.add_argument("--compute-umap", action="store_true", help="let scanpy make UMAP coordinates where absent")
    parser.add_argument("--figures", type=Path, help="where plots go (default: a temporary folder)")
    options = parser.parse_args()
    if not options.store.exists():
        parser.error(f"{options.store} does not exist")

    import spatialdata
    import squidpy

    print(f"{options.store}: spatialdata {spatialdata.__version__}, squidpy {squidpy.__version__}")
    checks = Checks()
    sdata = checks.run("opens without warnings of ours", open_store, options.store)
    if sdata is None:
        return checks.verdict()

    def table_named(name, among):
        def find():
            require(name in among.tables, f"tables are {sorted(among.tables)}")
            return among.tables[name]

        return checks.run(f"has table `{name}`", find)

    source = None
    if options.input_table:
        among = spatialdata.read_zarr(options.input_store) if options.input_store else sdata
        source = table_named(options.input_table, among)
    table = table_named(options.table, sdata)
    with tempfile.TemporaryDirectory() as scratch:
        figures = options.figures or Path(scratch)
        figures.mkdir(parents=True, exist_ok=True)
        if table is not None:
            name = f"`{options.table}`"
            checks.run(f"{name} annotates what the input does", annotations, sdata, table, source)
            if options.prefix:
                checks.run(f"{name} holds latents", values, table, options.prefix)
            if source is not None and source is not table:
                checks.run(f"{name} carries the input over", carried_over, table, source)
            table = table.copy()
            checks.run(f"squidpy.gr.spatial_neighbors on {name}", neighbors, table, options)
            checks.run(f"squidpy.gr.nhood_enrichment on {name}", enrichment, table, options)
            figure = figures / f"umap_{options.table}.png"
            colors = [options.cluster_key, options.sample_key]
            checks.run(f"scanpy.pl.umap on {name}", umap_plot, table, options, colors, figure)
        for statistics_name in options.statistics_table:
            table = table_named(statistics_name, sdata)
            if table is None:
                continue
            checks.run(f"`{statistics_name}` holds statistics", statistics, table)
            # Fewer rows than UMAP can place have no coordinates; nothing to draw then.
            if "X_umap" in table.obsm:
                figure = figures / f"umap_{statistics_name}.png"
                color = [options.sample_key, "condition"]
                checks.run(
                    f"scanpy.pl.umap on `{statistics_name}`", umap_plot, table.copy(), options, color, figure
                )
            if options.spatial_key in table.obsm and table.n_obs > 6:
                checks.run(f"squidpy.gr.spatial_neighbors on `{statistics_name}`", neighbors, table.copy(), options)
    return checks.verdict()


if __name__ == "__main__":
    sys.exit(main())

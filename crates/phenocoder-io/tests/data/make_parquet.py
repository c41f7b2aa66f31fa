"""Points as other programs write them: pip install pyarrow==26.0.1 fastparquet==2026.9.0 polars==2.1.0 duckdb==2.0.0."""

import pathlib

import duckdb
import fastparquet
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

here = pathlib.Path(__file__).parent / "parquet"
n = 300
frame = pd.DataFrame({
    "x": np.arange(n) * 0.5,
    "y": np.arange(n, dtype=np.int64) - 100,
    "gene": np.where(np.arange(n) % 3 == 0, "alpha", "beta"),
    "note": [None if i % 5 == 0 else f"note {i // 7}" for i in range(n)],
})
table = pa.Table.from_pandas(frame, preserve_index=False)
for name, options in {
    "pyarrow": {},
    "pyarrow_v2_checksums": {"data_page_version": "2.0", "compression": "zstd", "write_page_checksum": True},
    "pyarrow_delta": {
        "use_dictionary": False,
        "column_encoding": {
            "x": "BYTE_STREAM_SPLIT", "y": "DELTA_BINARY_PACKED", "gene": "DELTA_LENGTH_BYTE_ARRAY",
            "note": "DELTA_BYTE_ARRAY",
        },
    },
    "pyarrow_small_pages": {"data_page_size": 64, "write_batch_size": 16, "compression": "none", "row_group_size": 100},
}.items():
    pq.write_table(table, here / f"{name}.parquet", **options)
for codec in ["SNAPPY", "GZIP", "ZSTD"]:
    fastparquet.write(str(here / f"fastparquet_{codec.lower()}.parquet"), frame, compression=codec)
for codec in ["zstd", "lz4", "uncompressed"]:
    pl.from_pandas(frame).write_parquet(here / f"polars_{codec}.parquet", compression=codec)
duckdb.from_df(frame).write_parquet(str(here / "duckdb.parquet"))
duckdb.sql(f"copy frame to '{here}/duckdb_v2.parquet' (format parquet, parquet_version v2, compression zstd)")

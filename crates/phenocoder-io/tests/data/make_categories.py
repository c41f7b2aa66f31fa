"""Points with categories of numbers as pandas writes them: pip install pandas==3.1.1 pyarrow==26.0.1."""

import pathlib

import numpy as np
import pandas as pd

frame = pd.DataFrame({
    "x": [1.0, 2.0, 3.0],
    "y": [1.0, 2.0, 3.0],
    "number": pd.Categorical([3, 1, 3], categories=[7, 3, 1]),
    "half": pd.Categorical([0.5, None, 0.25]),
    "truth": pd.Categorical([True, False, True]),
    "text": pd.Categorical(["a", "b", "a"]),
    "small": pd.Categorical(np.array([3, 1, 3], np.int8), categories=np.array([3, 1], np.int8), ordered=True),
})
frame.to_parquet(pathlib.Path(__file__).parent / "categories.parquet", index=False)

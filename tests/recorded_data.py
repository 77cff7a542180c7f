"""Where the recorded outputs of the original lie, and how to read them to the last bit."""

import os
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parent.parent


def data_folder():
    """The data beside the project: it must be there in CI, and is a skip elsewhere."""
    folder = Path(os.environ.get("AMICI_XR_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"there is no data in {folder}")
    return folder


def read_recorded(path, **options):
    """Read a table to the last bit; from 3.1 on pandas does so by itself and warns when asked."""
    exact = {} if pd.__version__ >= "3.1" else {"float_precision": "round_trip"}
    return pd.read_csv(path, **exact, **options)

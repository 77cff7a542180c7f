"""Files that are whole or absent, and the long table of the original."""

from amici_xr.io.long_table import from_dataframe, read_csv, to_dataframe
from amici_xr.io.opening import open_dataset, open_study
from amici_xr.io.storage import save

__all__ = ["from_dataframe", "open_dataset", "open_study", "read_csv", "save", "to_dataframe"]

"""Name what is not an AnnData but often passed for one, with the call that makes one of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from amici_xr.errors import listed
from amici_xr.tissue.spatial_data import choose_table

_A_TISSUE = "a tissue is the .h5ad or .zarr that AnnData has written"
_OUTPUT_OF_INSTRUMENTS = {
    *("cell_feature_matrix", "cell_feature_matrix.h5", "cells.parquet", "transcripts.parquet"),
    *("matrix.mtx", "matrix.mtx.gz", "filtered_feature_bc_matrix", "filtered_feature_bc_matrix.h5"),
    *("cell_by_gene.csv", "cell_metadata.csv"),
}


def find_element(path: Path, root: Any) -> str:
    """Return the group of a file that holds the AnnData, ``""`` for the file itself.

    A SpatialData store with one table gives that table. What holds no AnnData, or several, raises
    an error that names them and what to pass.
    """
    if "mod" in root and "obs" in root:
        names = list(root["mod"])
        raise ValueError(
            f"it is a MuData file with the modalities {listed(names)}; pass one of them, e.g. "
            f"mudata.read({str(path)!r})[{names[0]!r}]"
        )
    missing = [name for name in ("obs", "var") if name not in root]
    if not missing:
        return ""
    if "tables" in root or "table" in root:
        group = "tables" if "tables" in root else "table"
        tables = [name for name in root[group] if "obs" in root[group][name]]
        return f"{group}/{choose_table(tables, folder=path / group)}"
    if "matrix" in root and "barcodes" in root["matrix"]:
        raise ValueError(
            "it is a 10x matrix without cell types and coordinates; read it with "
            f"scanpy.read_10x_h5({str(path)!r}), add obs and obsm, and pass the AnnData"
        )
    raise ValueError(f"it is not an AnnData: it has no {listed(missing)}")


def check_is_file_of_cells(path: Path) -> None:
    """Refuse what is neither HDF5 nor a Zarr store, with what to pass or do instead."""
    if path.is_dir():
        _check_is_store(path)
        return
    import h5py

    if h5py.is_hdf5(path):
        return
    with path.open("rb") as file:
        start = file.read(8)
    if start.startswith(b"\x1f\x8b"):
        raise ValueError(f"it is compressed with gzip; unpack it first: gunzip {path.name}")
    if start.startswith(b"PK"):
        raise ValueError(f"it is a zip archive; unpack it first: unzip {path.name}")
    what = "is not an HDF5 file" if start else "is empty"
    raise ValueError(f"it {what}; {_A_TISSUE}")


def _check_is_store(folder: Path) -> None:
    """Refuse a folder that is not a Zarr store."""
    if any((folder / name).exists() for name in (".zgroup", ".zmetadata", "zarr.json")):
        return
    names = sorted(entry.name for entry in folder.iterdir())
    tissues = [name for name in names if name.endswith((".h5ad", ".zarr"))]
    if tissues:
        remedy = f"pass one of these, e.g. adata={str(folder / tissues[0])!r}"
    elif any(name in _OUTPUT_OF_INSTRUMENTS for name in names):
        remedy = (
            "read these files with scanpy or spatialdata-io, add cell types and coordinates, and "
            "pass the AnnData"
        )
    else:
        remedy = _A_TISSUE
    raise ValueError(f"it is a folder that holds {listed(tissues or names, 5)}; {remedy}")


def check_is_anndata(adata: Any) -> None:
    """Raise `TypeError` unless `adata` is an AnnData in memory or backed."""
    kind = type(adata).__name__
    if kind == "MuData":
        raise TypeError(
            f"adata is a MuData with the modalities {listed(adata.mod)}; pass one of them, e.g. "
            f"mdata[{next(iter(adata.mod), 'rna')!r}]"
        )
    if not all(hasattr(adata, name) for name in ("obs", "obsm", "var_names", "layers")):
        raise TypeError(f"adata must be an AnnData or a path, not {kind}")
    if not isinstance(adata.obs, pd.DataFrame):
        raise TypeError(
            "adata was read lazily, so that its tables are not in memory; pass the path of its "
            "file, whose expression is read a batch at a time, or adata.to_memory()"
        )

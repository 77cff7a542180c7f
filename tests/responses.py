"""A distance response of any size without a tissue: what figures and files are tried on."""

import numpy as np
import xarray as xr

from amici_xr.dataset.response_schema import RESPONSE_SCHEMA, describe_response

BIN_START = np.array([0.0, 9.6, 13.8, 19.9, 28.7, 41.3])


def simulate_response(n_types=5, n_genes=8, seed=0):
    """Make a response in which the last gene was not tested, and no type responds to itself."""
    rng = np.random.default_rng(seed)
    sizes = {"query": n_types, "label": n_types, "gene": n_genes, "distance_bin": BIN_START.size}
    coords = {
        "query": [f"type_{number}" for number in range(n_types)],
        "label": [f"type_{number}" for number in range(n_types)],
        "gene": [f"gene_{number}" for number in range(n_genes)],
        "bin_start": ("distance_bin", BIN_START),
        "bin_end": ("distance_bin", np.append(BIN_START[1:], np.inf)),
    }
    ds = xr.Dataset(coords=coords, attrs={"dataset_kind": "distance_response", "correction": "bh"})
    for name, row in RESPONSE_SCHEMA.items():
        if row.is_coordinate or "sample" in row.dims or name.endswith("over_samples"):
            continue
        values = rng.normal(size=tuple(sizes[dim] for dim in row.dims))
        if row.kind == "int64":
            values = np.abs(100 * values).astype(np.int64)
        elif row.kind == "bool":
            values = values > 0.5
        elif row.kind == "string":
            values = np.full(values.shape, "")
        elif "value" in name:
            values = 10.0 ** (-4 * np.abs(values))
        elif name in ("radius", "mean_distance") or name.endswith("_se"):
            values = 0.1 + np.abs(values) / 10
        ds[name] = (row.dims, values)
    status = np.full((n_types, n_types), "tested", dtype="<U17")
    np.fill_diagonal(status, "same_type")
    status[-1, 0], status[0, -1] = "absent", "no_contrast"
    ds["status"] = (("query", "label"), status)
    middle = BIN_START + 3.0
    ds["mean_distance"] = ds["mean_distance"] + xr.DataArray(middle, dims="distance_bin")
    ds["radius"] = 100 * ds["radius"]
    is_tested = ds["status"] == "tested"
    for name in ds.data_vars:
        if ds[name].dtype.kind == "f" and "label" in ds[name].dims:
            ds[name] = ds[name].where(is_tested)
        if name in ("effect", "effect_se", "response", "response_se"):
            ds[name] = ds[name].where(ds["gene"] != f"gene_{n_genes - 1}")
    ds["gene_q_value"] = ds["gene_q_value"].where(ds["gene"] != f"gene_{n_genes - 1}", 1.0)
    return describe_response(ds.transpose(*sizes))

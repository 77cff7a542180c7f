"""One number for each sample, label and head, and for each independent unit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from amici_xr.dataset.reduction import STATISTICS, by_query, groups, rechunked
from amici_xr.dataset.schema import scores
from amici_xr.kernels import attention
from amici_xr.kernels.rarefaction import rarefied_groups
from amici_xr.uncertainty.study_design import StudyDesign


def summarize_samples(
    ds: xr.Dataset,
    design: StudyDesign,
    threshold: float,
    statistic: str,
    head_summary: str,
    random_state: int | None,
) -> xr.Dataset:
    """Reduce the neighbors of each sample, to (…, sample, label, head), NaN without neighbors.

    ``length_scale`` is their summary, ``farthest`` the largest length scale among them;
    ``fewest_neighbors`` (…, label) their number in the sample that has the fewest.
    """
    samples = pd.Index(design.unit_of_sample)
    position = np.argsort(ds["neighbor"].values, kind="stable")  # so that their order is irrelevant
    takes_part = np.isin(ds["neighbor_sample"].values[position], samples)
    ds = ds.isel(neighbor=position[takes_part])
    largest_head = head_summary == "max" and "head" in ds["base_attention_score"].dims
    depends_on_count = largest_head or statistic != "mean"

    def of_query(one_query: xr.Dataset) -> xr.Dataset:
        names, label_code = groups(one_query, "label")
        sample_code = samples.get_indexer(pd.Index(one_query["neighbor_sample"].values))
        codes = sample_code * names.size + label_code
        shape = (samples.size, names.size)
        counts = np.bincount(codes, minlength=samples.size * names.size).reshape(shape)
        fewest = np.where(counts > 0, counts, counts.max(axis=0)).min(axis=0)
        sizes = np.broadcast_to(fewest, shape) if depends_on_count else counts
        reduced = {
            name: _reduce_groups(
                one_query["_length"],
                shape,
                statistic=reduce,
                codes=codes,
                sizes=group_sizes.ravel(),
                largest_head=largest_head,
                random_state=random_state,
            )
            for name, reduce, group_sizes in (
                ("length_scale", STATISTICS[statistic], sizes),
                ("farthest", np.max, counts),
            )
        }
        return xr.Dataset(reduced | {"fewest_neighbors": ("label", fewest)}, {"label": names})

    lengths = xr.apply_ufunc(
        attention.signed_length_scale,
        *scores(ds),
        threshold,
        dask="parallelized",
        output_dtypes=[np.float64],
    )
    # Computed here, once for all queries: what follows asks for every value several times.
    summaries = by_query(of_query, ds.assign(_length=lengths)).compute()
    if head_summary == "max":
        summaries = summaries.drop_vars(["head", "is_matched"], errors="ignore")
    fewest = summaries["fewest_neighbors"].fillna(0).astype(np.int64)
    return summaries.assign(fewest_neighbors=fewest)


def _reduce_groups(
    lengths: xr.DataArray, shape: tuple[int, int], *, largest_head: bool, **options: Any
) -> xr.DataArray:
    """Apply `rarefied_groups`: (…, neighbor, head) → (…, sample, label, head)."""
    core = ["head", "neighbor"] if largest_head else ["neighbor"]
    whole = {"head": -1 if largest_head else 1, "neighbor": -1}
    whole = {dim: size for dim, size in whole.items() if dim in lengths.dims}
    reduced: xr.DataArray = xr.apply_ufunc(
        rarefied_groups,
        rechunked(lengths, whole),
        input_core_dims=[core],
        output_core_dims=[["_group"]],
        kwargs={"largest_head": largest_head} | options,
        dask="parallelized",
        output_dtypes=[np.float64],
        dask_gufunc_kwargs={"output_sizes": {"_group": shape[0] * shape[1]}},
    )
    return reduced.coarsen(_group=shape[1]).construct(_group=("sample", "label"))


def average_units(summaries: xr.Dataset, design: StudyDesign) -> xr.Dataset:
    """Average runs and the samples of each unit: (…, label, head, unit)."""
    summaries = summaries.drop_vars("fewest_neighbors")
    if "is_matched" in summaries.coords:
        summaries = summaries.where(summaries["is_matched"])  # others share no more than a number
    lengths, farthest = summaries["length_scale"], summaries["farthest"]
    if "run" in summaries.dims:
        lengths, farthest = lengths.mean("run"), farthest.max("run")
    units = []
    for unit in design.group_of_unit:
        samples = {"sample": design.samples_of(unit)}
        units.append(
            xr.Dataset(
                {
                    "length_scale": lengths.isel(samples).mean("sample"),
                    "farthest": farthest.isel(samples).max("sample"),
                }
            )
        )
    return xr.concat(units, dim="unit").transpose(..., "unit")

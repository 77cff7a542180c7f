"""Design of a comparison of samples: their groups and independent units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from amici_xr.dataset.selection import read_sample_names
from amici_xr.errors import NotFoundError, SchemaError, listed
from amici_xr.kernels.permutation import FEWEST_UNITS


@dataclass(frozen=True)
class StudyDesign:
    """Unit of each sample that takes part, and group of each unit."""

    unit_of_sample: dict[str, str]
    group_of_unit: dict[str, str]
    groups: list[str]

    @property
    def group_of_sample(self) -> dict[str, str]:
        """Return the group of each sample that takes part."""
        return {sample: self.group_of_unit[unit] for sample, unit in self.unit_of_sample.items()}

    def samples_of(self, unit: str) -> list[int]:
        """Return the positions of the samples of a unit."""
        return _positions(self.unit_of_sample, unit)

    def units_of(self, group: str) -> list[int]:
        """Return the positions of the units of a group."""
        return _positions(self.group_of_unit, group)

    def note(self, first: str, second: str) -> str:
        """Explain why the comparison of two groups has no p; an empty text if it has one."""
        n_units = {group: len(self.units_of(group)) for group in (first, second)}
        few = [group for group, count in n_units.items() if count < FEWEST_UNITS]
        if not few:
            return ""
        return (
            f"no p for {second!r} against {first!r}: {' and '.join(map(repr, few))} "
            f"{'has' if len(few) == 1 else 'have each'} 1 biological sample of the "
            f"{FEWEST_UNITS} needed, and its cells are not replicates of it"
        )


def read_design(ds: xr.Dataset, by: Any, biological_sample: Any) -> StudyDesign:
    """Read the design from a Dataset; `by` and `biological_sample` are as in `contrast`."""
    if "neighbor_sample" not in ds.coords:
        raise SchemaError(
            "this Dataset has no neighbor_sample, so it can't tell samples apart; extract it with "
            "sample_key=…, or assign_coords(neighbor_sample=('neighbor', names))"
        )
    by, biological_sample = (
        given.to_dict() if isinstance(given, pd.Series) else given
        for given in (by, biological_sample)
    )
    samples = np.unique(read_sample_names(ds)["neighbor"]).tolist()
    groups_given = _values_of_samples("by", by, ds, samples)
    present = {sample: group for sample, group in groups_given.items() if not pd.isna(group)}
    in_order = by.values() if isinstance(by, Mapping) else sorted(set(present.values()))
    group_of_sample = {sample: str(group) for sample, group in present.items()}
    names = set(group_of_sample.values())
    groups = [group for group in dict.fromkeys(map(str, in_order)) if group in names]
    if len(groups) < 2:
        raise ValueError(
            f"by gives the groups {listed(groups)}; a comparison needs at least two, so name "
            "another for some of the samples"
        )
    units = {sample: sample for sample in present}
    if biological_sample is not None:
        units = _units(biological_sample, ds, list(present))
    return StudyDesign(units, _group_of_unit(units, group_of_sample), groups)


def status_of_comparison(
    n_first: NDArray[np.integer[Any]],
    n_second: NDArray[np.integer[Any]],
    has_reach: NDArray[np.bool_],
    is_constant: NDArray[np.bool_],
) -> NDArray[np.str_]:
    """Name the first reason why there is no p, or "tested"."""
    fewest = np.minimum(n_first, n_second)
    status = {
        "absent": fewest == 0,
        "too_few_units": fewest < FEWEST_UNITS,
        "no_reach": ~has_reach,
        "constant": is_constant,
    }
    return np.select(list(status.values()), list(status), "tested").astype("<U13")


def _units(biological_sample: Any, ds: xr.Dataset, samples: list[str]) -> dict[str, str]:
    """Return the independent unit of each sample."""
    units = _values_of_samples("biological_sample", biological_sample, ds, samples)
    missing = [sample for sample, unit in units.items() if pd.isna(unit)]
    if missing:
        raise ValueError(
            f"biological_sample gives none for {listed(missing)}; name the animal or donor of "
            "each, or leave the sample out in by, with None as its group"
        )
    return {sample: str(unit) for sample, unit in units.items()}


def _group_of_unit(units: dict[str, str], group_of_sample: dict[str, str]) -> dict[str, str]:
    """Return the group of each unit, which all its samples have to share."""
    group_of_unit: dict[str, str] = {}
    for sample, unit in units.items():
        group = group_of_sample[sample]
        if group_of_unit.setdefault(unit, group) != group:
            raise ValueError(
                f"biological_sample: {unit!r} has samples in the groups "
                f"{listed([group_of_unit[unit], group])}; an independent unit belongs to one group"
            )
    return group_of_unit


def _positions(values: Mapping[str, str], value: str) -> list[int]:
    return [position for position, other in enumerate(values.values()) if other == value]


def _values_of_samples(
    argument: str, source: Any, ds: xr.Dataset, samples: list[str]
) -> dict[str, Any]:
    """Look up each sample in a mapping, or in a coordinate on ``neighbor``."""
    if isinstance(source, Mapping):
        source = {str(sample): value for sample, value in source.items()}  # as samples are named
        missing = [sample for sample in samples if sample not in source]
        if missing:
            remedy = ", or None to leave it out" if argument == "by" else ""
            raise NotFoundError(
                f"{argument} does not name the samples {listed(missing)}; give each its "
                f"{'group' if argument == 'by' else 'animal or donor'}{remedy}"
            )
        return {sample: source[sample] for sample in samples}
    if not isinstance(source, str) or source not in ds.coords or ds[source].dims != ("neighbor",):
        names = [name for name, value in ds.coords.items() if value.dims == ("neighbor",)]
        raise NotFoundError(
            f"{argument}={source!r} is neither a mapping from samples nor a coordinate on "
            f"neighbor; there are {listed(names)}"
        )
    cells = pd.DataFrame(
        {"sample": ds["neighbor_sample"].values.astype(str), "value": ds[source].values}
    )
    values_of = cells.drop_duplicates().groupby("sample")["value"].apply(list)
    for sample in samples:
        if len(values_of[sample]) > 1:
            raise ValueError(
                f"{argument}={source!r} varies within the sample {sample!r}, which has "
                f"{listed(values_of[sample])}; it must be the same for all cells of a sample"
            )
    return {sample: values_of[sample][0] for sample in samples}

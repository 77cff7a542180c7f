"""Which samples are compared: the group of each, and the independent unit that it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from amici_xr.errors import NotFoundError, SchemaError, listed
from amici_xr.kernels.permutation import FEWEST_UNITS


@dataclass(frozen=True)
class StudyDesign:
    """The samples that take part, with the unit of each; the units, with the group of each."""

    unit_of_sample: dict[str, str]
    group_of_unit: dict[str, str]
    groups: list[str]

    @property
    def group_of_sample(self) -> dict[str, str]:
        """Group of each sample that takes part."""
        return {sample: self.group_of_unit[unit] for sample, unit in self.unit_of_sample.items()}

    def samples_of(self, unit: str) -> list[int]:
        """Positions of the samples of a unit."""
        return [at for at, name in enumerate(self.unit_of_sample.values()) if name == unit]

    def units_of(self, group: str) -> list[int]:
        """Positions of the units of a group."""
        return [at for at, name in enumerate(self.group_of_unit.values()) if name == group]

    def note(self, first: str, second: str) -> str:
        """Why the comparison of two groups can have no p, or nothing."""
        n_units = {group: len(self.units_of(group)) for group in (first, second)}
        few = [group for group, count in n_units.items() if count < FEWEST_UNITS]
        if not few:
            return ""
        return (
            f"no p for {second!r} against {first!r}: {' and '.join(map(repr, few))} "
            f"{'has' if len(few) == 1 else 'have each'} 1 biological sample of the "
            f"{FEWEST_UNITS} needed, and its cells are no replicates of it"
        )


def read_design(ds: xr.Dataset, by: Any, biological_sample: Any) -> StudyDesign:
    """Read the design from a Dataset, where `by` and `biological_sample` are as in `contrast`."""
    if "neighbor_sample" not in ds.coords:
        raise SchemaError(
            "this Dataset has no neighbor_sample, so it can't tell samples apart; extract it with "
            "sample_key=…, or assign_coords(neighbor_sample=('neighbor', names))"
        )
    samples = np.unique(ds["neighbor_sample"].values).tolist()
    given = {
        sample: group
        for sample, group in _of_samples("by", by, ds, samples).items()
        if not pd.isna(group)
    }
    in_order = by.values() if isinstance(by, Mapping) else sorted(set(given.values()))
    group_of_sample = {sample: str(group) for sample, group in given.items()}
    present = set(group_of_sample.values())
    groups = [group for group in dict.fromkeys(map(str, in_order)) if group in present]
    if len(groups) < 2:
        raise ValueError(
            f"by gives the groups {listed(groups)}; a comparison needs at least two, so name "
            "another for some of the samples"
        )
    units = {sample: sample for sample in given}
    if biological_sample is not None:
        units = _units(biological_sample, ds, list(given))
    return StudyDesign(units, _group_of_unit(units, group_of_sample), groups)


def _units(biological_sample: Any, ds: xr.Dataset, samples: list[str]) -> dict[str, str]:
    """Independent unit of each sample."""
    units = _of_samples("biological_sample", biological_sample, ds, samples)
    missing = [sample for sample, unit in units.items() if pd.isna(unit)]
    if missing:
        raise ValueError(
            f"biological_sample gives none for {listed(missing)}; name the animal or donor of "
            "each, or leave the sample out in by, with None as its group"
        )
    return {sample: str(unit) for sample, unit in units.items()}


def _group_of_unit(units: dict[str, str], group_of_sample: dict[str, str]) -> dict[str, str]:
    """Group of each unit, which all its samples have in common."""
    group_of_unit: dict[str, str] = {}
    for sample, unit in units.items():
        group = group_of_sample[sample]
        if group_of_unit.setdefault(unit, group) != group:
            raise ValueError(
                f"biological_sample: {unit!r} has samples in the groups "
                f"{listed([group_of_unit[unit], group])}; an independent unit belongs to one group"
            )
    return group_of_unit


def _of_samples(argument: str, given: Any, ds: xr.Dataset, samples: list[str]) -> dict[str, Any]:
    """Return what a mapping, or a coordinate on ``neighbor``, says of each sample."""
    if isinstance(given, Mapping):
        missing = [sample for sample in samples if sample not in given]
        if missing:
            remedy = ", or None to leave it out" if argument == "by" else ""
            raise NotFoundError(
                f"{argument} does not name the samples {listed(missing)}; give each its "
                f"{'group' if argument == 'by' else 'animal or donor'}{remedy}"
            )
        return {sample: given[sample] for sample in samples}
    if not isinstance(given, str) or given not in ds.coords or ds[given].dims != ("neighbor",):
        coordinates = [name for name, value in ds.coords.items() if value.dims == ("neighbor",)]
        raise NotFoundError(
            f"{argument}={given!r} is neither a mapping from samples nor a coordinate on neighbor; "
            f"there are {listed(coordinates)}"
        )
    pairs = pd.DataFrame({"sample": ds["neighbor_sample"].values, "value": ds[given].values})
    pairs = pairs.drop_duplicates()
    twice = pairs["sample"][pairs["sample"].duplicated()].tolist()
    mixed = [sample for sample in samples if sample in twice]
    if mixed:
        values = pairs["value"][pairs["sample"] == mixed[0]]
        raise ValueError(
            f"{argument}={given!r} varies within the sample {mixed[0]!r}, which has "
            f"{listed(values)}; it must be the same for all cells of a sample"
        )
    value = dict(zip(pairs["sample"], pairs["value"], strict=True))
    return {sample: value[sample] for sample in samples}

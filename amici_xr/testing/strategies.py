"""Hypothesis strategies that draw valid Datasets, for property tests of what builds on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from amici_xr.dataset.construction import from_arrays
from amici_xr.dependencies import require
from amici_xr.errors import check_choice, check_positive_integer
from amici_xr.kernels.nearest_cells import Neighborhoods, nearest_of_other_types
from amici_xr.uncertainty.run_alignment import align_runs

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn, SearchStrategy

Scores = Literal["extreme", "moderate"]

_TINY = 1.401298464324817e-45  # the smallest float32 above 0
_NAMES = ("", "NA", "None", "1", "CD8⁺ T/αβ", "a,b", '"', "细胞", "خلية", "µ\n", "x" * 256)


@dataclass(frozen=True)
class _Ranges:
    """Least and largest values: scores and u as the schema has them, places in the tissue."""

    score: float
    slope: tuple[float, float]
    unit_scale: tuple[float, float]
    place: float


_RANGES = {
    "extreme": _Ranges(1e4, (_TINY, 1e4), (1e-3, 1e9), 1e9),
    "moderate": _Ranges(16.0, (0.125, 8.0), (0.5, 50.0), 16.0),
}


def datasets(
    *,
    scores: Scores = "extreme",
    several_queries: bool | None = None,
    neighborhoods: bool | None = None,
    coordinates: bool | None = None,
    samples: bool | None = None,
    runs: bool | None = False,
    max_cells: int = 12,
) -> SearchStrategy[xr.Dataset]:
    """Draw valid Datasets, each of a small tissue with its neighborhoods.

    There may be no cell at all, one neighbor, fewer neighbors than ranks, cells in one place,
    types without cells, ties among the scores; labels in any script, empty, with slashes, of 256
    characters. Neighborhoods hold the nearest cells of other types, with or without cell radii.

    Parameters
    ----------
    scores
        "extreme" draws scores and δ of up to ±1e4, position coefficients from the smallest float32
        above 0 on, u from 1e-3 to 1e9 and coordinates of up to ±1e9; "moderate" what models give.
    several_queries, neighborhoods, coordinates, samples, runs
        Whether the Datasets have them: True, False, or None for either. Runs are two, aligned; a
        Dataset without scores has none.
    max_cells
        Most cells of the tissue.

    Returns
    -------
    hypothesis.strategies.SearchStrategy
        Of Datasets, dims (neighbor, head), with ``run`` and ``query`` in front where drawn. What
        needs Hypothesis is the extra ``test``.

    Raises
    ------
    ModuleNotFoundError
        If Hypothesis is not installed.
    ValueError
        If an argument lies out of its range.

    References
    ----------
    MacIver, Hatfield-Dodds et al., Hypothesis: A new approach to property-based testing, Journal
    of Open Source Software 4:1891 (2019).

    Examples
    --------
    >>> from amici_xr.testing import datasets
    >>> import hypothesis
    >>> @hypothesis.given(datasets(scores="moderate"))
    ... @hypothesis.settings(max_examples=5, database=None)
    ... def attention_lies_between_0_and_1(ds):
    ...     assert ((ds.amici.curve(1.0).fillna(0.5) - 0.5).__abs__() <= 0.5).all()
    >>> attention_lies_between_0_and_1()
    """
    check_choice("scores", scores, get_args(Scores))
    check_positive_integer("max_cells", max_cells)
    require("hypothesis", "test", "drawing Datasets")
    from hypothesis import strategies as st

    asked = (several_queries, neighborhoods, coordinates, samples, runs)

    @st.composite
    def drawn(draw: DrawFn) -> xr.Dataset:
        several, near, placed, sampled, run = (
            draw(st.booleans()) if flag is None else flag for flag in asked
        )
        tissue = _draw_tissue(draw, _RANGES[scores], max_cells, several, sampled)
        shared = tissue.arrays(near, placed)
        n_heads = draw(st.integers(1, 3))
        unit = draw(st.sampled_from([None, "µm", "pixel"]))

        def training() -> xr.Dataset:
            given = _draw_scores(draw, _RANGES[scores], tissue, n_heads)
            return from_arrays(**given, **shared, unit=unit)

        first = training()
        if not run or not first["base_attention_score"].size:
            return first
        return align_runs([first, training()], distance=draw(st.floats(0.5, 100.0)))

    return drawn()


@dataclass(frozen=True)
class _Tissue:
    """Cells, their types and places, and who stands near whom."""

    cell_type: NDArray[np.str_]
    color: list[str] | None  # of each type
    codes: NDArray[np.intp]
    query: str | list[str]
    places: NDArray[np.float64]
    sample: NDArray[np.str_] | None
    found: Neighborhoods

    neighbor: NDArray[np.intp]
    is_neighbor: NDArray[np.bool_]  # (query, neighbor)

    def arrays(self, has_neighborhoods: bool, has_coordinates: bool) -> dict[str, Any]:
        """What `from_arrays` takes of the tissue."""
        cells = {"neighbor": self.neighbor}
        arrays: dict[str, Any] = {
            "label": self.cell_type[self.codes[self.neighbor]],
            "query": self.query,
            "cell_type": self.cell_type,
        }
        if self.color is not None:
            arrays["cell_type_color"] = self.color
        if not isinstance(self.query, str):
            arrays["is_neighbor"] = self.is_neighbor
        if has_neighborhoods:
            cells["receiver"] = self.found.receiver
            arrays |= {
                "receiver_label": self.cell_type[self.codes[self.found.receiver]],
                "neighborhood_index": self.found.index,
                "neighborhood_distance": self.found.distance,
                "neighborhood_label": self.found.labels(self.codes),
            }
        for cell, at in cells.items():
            arrays[cell] = at
            if has_coordinates:
                arrays[f"{cell}_x"], arrays[f"{cell}_y"] = self.places[at].T
                arrays[f"{cell}_name"] = [f"cell_{one}" for one in at]
            if self.sample is not None:
                arrays[f"{cell}_sample"] = self.sample[at]
        return arrays


def _draw_tissue(
    draw: DrawFn, ranges: _Ranges, max_cells: int, several: bool, sampled: bool
) -> _Tissue:
    from hypothesis import strategies as st
    from hypothesis.extra import numpy as of_arrays

    cell_type = np.array(draw(st.lists(_names(), min_size=2, max_size=4, unique=True)))
    colors = st.sampled_from(["", "teal", "#ff7f0e", "#00000080"])
    color = draw(st.none() | st.tuples(*[colors] * cell_type.size).map(list))
    n_cells = draw(st.sampled_from(range(max_cells + 1)))  # as often many as few
    of_types = st.integers(0, cell_type.size - 1)
    # each cell's type drawn by itself: with one that fills the rest, few cells are neighbors
    codes = draw(of_arrays.arrays(np.intp, n_cells, elements=of_types, fill=st.nothing()))
    at_most = st.floats(-ranges.place, ranges.place)
    places = draw(of_arrays.arrays(np.float64, (n_cells, 2), elements=at_most))
    some = st.lists(st.sampled_from(cell_type.tolist()), min_size=1, unique=True)
    query = draw(some) if several else draw(st.sampled_from(cell_type.tolist()))
    sample_codes = names = None
    if sampled:
        names = np.array(draw(st.lists(_names(), min_size=1, max_size=3, unique=True)))
        of_cells = of_arrays.arrays(np.intp, n_cells, elements=st.integers(0, names.size - 1))
        sample_codes = draw(of_cells)
    queries = [query] if isinstance(query, str) else query
    query_codes = [cell_type.tolist().index(one) for one in queries]
    found = nearest_of_other_types(
        places,
        codes,
        query_codes,
        draw(st.integers(1, 5)),
        radius=draw(of_arrays.arrays(np.float64, n_cells, elements=st.floats(0, ranges.place / 8))),
        sample=sample_codes,
    )
    is_neighbor = found.is_neighbor(codes, query_codes)
    neighbor = np.flatnonzero(is_neighbor.any(axis=0))
    return _Tissue(
        cell_type=cell_type,
        color=color,
        codes=codes,
        query=query,
        places=places,
        sample=None if names is None else names[sample_codes],
        found=found,
        neighbor=neighbor,
        is_neighbor=is_neighbor[:, neighbor],
    )


def _draw_scores(draw: DrawFn, ranges: _Ranges, tissue: _Tissue, n_heads: int) -> dict[str, Any]:
    from hypothesis import strategies as st
    from hypothesis.extra import numpy as of_arrays

    is_neighbor = tissue.is_neighbor
    shape = (*is_neighbor.shape, n_heads)
    score = st.floats(-ranges.score, ranges.score, width=32)
    slope = st.floats(*ranges.slope, width=32)
    arrays = {
        name: np.where(
            is_neighbor[..., np.newaxis],
            draw(of_arrays.arrays(np.float32, shape, elements=elements)),
            np.float32(np.nan),
        )
        for name, elements in (("base_attention_score", score), ("position_coefficient", slope))
    }
    one = isinstance(tissue.query, str)
    return {
        **{name: array[0] if one else array for name, array in arrays.items()},
        "dummy_attention_score": draw(st.floats(-ranges.score, ranges.score)),
        "distance_kernel_unit_scale": draw(st.floats(*ranges.unit_scale)),
    }


def _names() -> SearchStrategy[str]:
    """What the schema takes as a label and a file can hold."""
    from hypothesis import strategies as st

    # half a surrogate is no text, and NumPy's strings end at NUL
    letters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
    return st.sampled_from(_NAMES) | st.text(letters, max_size=6)

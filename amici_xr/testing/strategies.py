"""Hypothesis strategies that draw valid Datasets, for property tests of code that takes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import xarray as xr

from amici_xr.dataset.construction import from_arrays
from amici_xr.dependencies import require
from amici_xr.errors import check_choice, check_positive_integer
from amici_xr.testing.simulation import Cells, SimulatedTissue
from amici_xr.uncertainty.run_alignment import align_runs

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn, SearchStrategy

Scores = Literal["extreme", "moderate"]

_TINY = 1.401298464324817e-45  # the smallest float32 above 0
_NAMES = ("", "NA", "None", "1", "CD8⁺ T/αβ", "a,b", '"', "细胞", "خلية", "µ\n", "x" * 256)


@dataclass(frozen=True)
class _Ranges:
    """Ranges of the values of scores, unit scale and coordinates."""

    score: float
    slope: tuple[float, float]
    unit_scale: tuple[float, float]
    coordinate: float


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

    There may be no cell at all, one neighbor, fewer neighbors than ranks, cells at the same
    position, types without cells, ties among the scores; labels in any script, empty, with slashes,
    of 256 characters. Neighborhoods hold the nearest cells of other types, with or without cell
    radii.

    Parameters
    ----------
    scores
        "extreme" draws scores and δ of up to ±1e4, position coefficients from the smallest float32
        above 0 on, u from 1e-3 to 1e9 and coordinates of up to ±1e9; "moderate" draws values
        that are typical of models.
    several_queries, neighborhoods, coordinates, samples, runs
        Whether the Datasets have them: True, False, or None for either. Runs are two, aligned; a
        Dataset without scores has none.
    max_cells
        Most cells of the tissue.

    Returns
    -------
    hypothesis.strategies.SearchStrategy
        Of Datasets, dims (neighbor, head), with ``run`` and ``query`` in front where drawn.
        Hypothesis comes with the extra ``test``.

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

    flags = (several_queries, neighborhoods, coordinates, samples, runs)

    @st.composite
    def draw_dataset(draw: DrawFn) -> xr.Dataset:
        has_queries, has_neighborhoods, has_coordinates, has_samples, has_runs = (
            draw(st.booleans()) if flag is None else flag for flag in flags
        )
        ranges = _RANGES[scores]
        tissue, color = _draw_tissue(draw, ranges, max_cells, has_queries, has_samples)
        shared = tissue.arrays(has_neighborhoods, has_coordinates)
        if color is not None:
            shared["cell_type_color"] = color
        n_heads = draw(st.integers(1, 3))
        unit = draw(st.sampled_from([None, "µm", "pixel"]))

        def draw_run() -> xr.Dataset:
            return from_arrays(**_draw_scores(draw, ranges, tissue, n_heads), **shared, unit=unit)

        first = draw_run()
        if not has_runs or not first["base_attention_score"].size:
            return first
        return align_runs([first, draw_run()], distance=draw(st.floats(0.5, 100.0)))

    return draw_dataset()


def _draw_tissue(
    draw: DrawFn, ranges: _Ranges, max_cells: int, has_queries: bool, has_samples: bool
) -> tuple[SimulatedTissue, list[str] | None]:
    """Draw a tissue and the colors of its cell types."""
    from hypothesis import strategies as st
    from hypothesis.extra.numpy import arrays

    cell_type = np.array(draw(st.lists(_names(), min_size=2, max_size=4, unique=True)))
    colors = st.sampled_from(["", "teal", "#ff7f0e", "#00000080"])
    color = draw(st.none() | st.tuples(*[colors] * cell_type.size).map(list))
    n_cells = draw(st.sampled_from(range(max_cells + 1)))  # many as often as few
    type_codes = st.integers(0, cell_type.size - 1)
    # each cell's type is drawn by itself: with a type that fills the rest, few cells are neighbors
    codes = draw(arrays(np.intp, n_cells, elements=type_codes, fill=st.nothing()))
    coordinate = st.floats(-ranges.coordinate, ranges.coordinate)
    coordinates = draw(arrays(np.float64, (n_cells, 2), elements=coordinate))
    queries = st.lists(st.sampled_from(cell_type.tolist()), min_size=1, unique=True)
    query = draw(queries if has_queries else st.sampled_from(cell_type.tolist()))
    sample_codes = names = None
    if has_samples:
        names = np.array(draw(st.lists(_names(), min_size=1, max_size=3, unique=True)))
        sample_codes = draw(arrays(np.intp, n_cells, elements=st.integers(0, names.size - 1)))
    cells = Cells(cell_type, codes, coordinates, names, sample_codes)
    n_neighbors = draw(st.integers(1, 5))
    radius = draw(arrays(np.float64, n_cells, elements=st.floats(0, ranges.coordinate / 8)))
    neighborhoods = cells.neighborhoods(query if has_queries else [query], n_neighbors, radius)
    return SimulatedTissue(cells, query, neighborhoods), color


def _draw_scores(
    draw: DrawFn, ranges: _Ranges, tissue: SimulatedTissue, n_heads: int
) -> dict[str, Any]:
    from hypothesis import strategies as st
    from hypothesis.extra.numpy import arrays

    shape = (*tissue.is_neighbor.shape, n_heads)
    score = st.floats(-ranges.score, ranges.score, width=32)
    slope = st.floats(*ranges.slope, width=32)
    return {
        "base_attention_score": tissue.mask(draw(arrays(np.float32, shape, elements=score))),
        "position_coefficient": tissue.mask(draw(arrays(np.float32, shape, elements=slope))),
        "dummy_attention_score": draw(st.floats(-ranges.score, ranges.score)),
        "distance_kernel_unit_scale": draw(st.floats(*ranges.unit_scale)),
    }


def _names() -> SearchStrategy[str]:
    """Draw labels that the schema accepts and a file can hold."""
    from hypothesis import strategies as st

    # half a surrogate is not text, and NumPy's strings end at NUL
    letters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
    return st.sampled_from(_NAMES) | st.text(letters, max_size=6)

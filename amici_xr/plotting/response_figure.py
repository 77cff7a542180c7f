"""One pair of a distance response: expression against the distance from the sender."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from amici_xr.dataset.response_structure import check_response
from amici_xr.dataset.units import MICRON, in_unit, unit_label
from amici_xr.errors import NotFoundError, check_names, check_positive_integer, listed
from amici_xr.plotting.pair_figure import LEAST_Q
from amici_xr.plotting.shared import marks
from amici_xr.plotting.shared.colors import DISTINCT_COLORS
from amici_xr.plotting.shared.layout import given_axes, grid_of_axes, inches_of, make_room
from amici_xr.plotting.shared.style import styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COUNTERFACTUAL = "counterfactual_effect"
_MODEL_DIMS = {"cell_type", "gene", "distance"}
_FAR = 1.18  # where the last bin, which has no end, is drawn, in units of its start
_NAME_SIZE = 8.0  # points
_LETTER = 0.075  # inches


def plot_response(
    response: xr.Dataset,
    query: str,
    label: str,
    genes: Sequence[str] | str | None = None,
    n_genes: int = 6,
    counterfactual_effect: xr.DataArray | xr.Dataset | None = None,
    ax: Axes | None = None,
    figsize: tuple[float, float] | None = None,
) -> Any:
    """Draw the expression of one pair's receivers against the distance to the nearest sender.

    A line is a gene, its adjusted mean in bins of distance less that in the farthest bin, with a
    band of one standard error; its name stands at the end. Where fewer than two bins hold receivers
    enough, the step at the radius is drawn instead. Genes that leaking transcripts could
    explain are dashed, and have a star. A faint vertical line shows the radius at which the
    response is strongest as a step.

    Parameters
    ----------
    response
        The result of `distance_response`.
    query, label
        The receiver and the sender.
    genes
        Genes to draw; None takes the strongest.
    n_genes
        How many genes are drawn where `genes` is None: those with the smallest p.
    counterfactual_effect
        A model's predicted change of each gene, if one sender stood alone at a distance: dims
        (cell_type, gene, distance), with ``query`` too for several receivers; or a Dataset with
        this variable. Its distances are in µm, or in the unit that their attribute ``units`` says.
        It is drawn as thin dotted lines.
    ax
        Axes to draw on; None makes a figure in the package's style, the matplotlib style sheet
        ``amici_xr.figures``. Given axes keep your style.
    figsize
        Width and height of a new figure in inches.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on.

    Raises
    ------
    NotFoundError
        If a type, a gene or the variable of the model is not there.
    ValueError
        If the pair was not tested, or the model's effects have other dims, or distances in a
        unit that can't be converted to µm.
    SchemaError
        If ``response`` is not the result of `distance_response`.

    Examples
    --------
    >>> import amici_xr
    >>> tissue = amici_xr.testing.simulate_tissue(n_cells=700, n_types=3, n_genes=9, n_pairs=1)
    >>> response = amici_xr.distance_response(tissue, "cell_type", progress=False)
    >>> ax = amici_xr.plot_response(response, "type_0", "type_1", n_genes=3)
    >>> ax.get_xlabel()
    'distance to the nearest type_1 (µm)'
    """
    pair = _choose_pair(check_response(response), query, label)
    names = _choose_genes(pair, genes, check_positive_integer("n_genes", n_genes))
    model = None
    if counterfactual_effect is not None:
        model = _choose_model(counterfactual_effect, query, label)
    with styled(ax, [query, label, *names]):
        if ax is None:
            panel = grid_of_axes(1, 1, figsize or (5.2, max(3.4, 0.19 * len(names) + 1.0)))[0]
        else:
            panel = given_axes(ax, 1)[0]
        make_room(panel, left=0.85, right=_LETTER * (max(map(len, names)) + 6), below=0.9)
        _draw_genes(panel, pair, names, model)
        panel.set_xlabel(marks.escape(f"distance to the nearest {label} (µm)"))
        panel.set_ylabel(marks.escape(f"expression of {query}\nless that far away"))
        q = float(pair["q_value"])
        is_tiny = q < LEAST_Q  # of which no more is known than that
        words = f"q < {LEAST_Q:g}" if is_tiny else f"q = {q:.1g}"
        panel.set_title(marks.escape(f"{label} → {query}, {words}"))
    return panel


def _choose_pair(response: xr.Dataset, query: str, label: str) -> xr.Dataset:
    """Return the pair in memory, dims (gene, distance_bin)."""
    pair = response
    for dim, name in (("query", query), ("label", label)):
        check_names(dim, [name], np.atleast_1d(response[dim].values).tolist(), "cell type")
        pair = pair.sel({dim: name}) if dim in pair.dims else pair
    status = str(pair["status"].values)
    if status != "tested":
        raise ValueError(
            f"query={query!r}, label={label!r} was not tested: {status}; choose a pair whose "
            "status is 'tested'"
        )
    variables = ["q_value", "gene_q_value", "effect", "effect_se", "may_be_spillover", "response"]
    variables += ["response_se", "mean_distance", "radius", "gene_p_value"]
    return pair[[name for name in variables if name in pair]].compute()


def _choose_genes(pair: xr.Dataset, genes: Sequence[str] | str | None, n_genes: int) -> list[str]:
    known = [str(gene) for gene in pair["gene"].values]
    told = np.isfinite(pair["response"].transpose("gene", "distance_bin").values).any(axis=1)
    if genes is None:
        order = np.lexsort((-np.abs(pair["effect"].values), pair["gene_q_value"].values))
        return [known[gene] for gene in order if told[gene]][:n_genes]
    names = [genes] if isinstance(genes, str) else list(genes)
    check_names("genes", names, known, "gene")
    silent = [name for name in names if not told[known.index(name)]]
    if silent:
        raise ValueError(
            f"genes: {listed(silent)} were not tested, since they hardly vary in the receivers"
        )
    return names


def _choose_model(effects: xr.DataArray | xr.Dataset, query: str, label: str) -> xr.DataArray:
    """Return the model's effects of one pair, dims (gene, distance)."""
    if isinstance(effects, xr.Dataset):
        if COUNTERFACTUAL not in effects:
            raise NotFoundError(
                f"{COUNTERFACTUAL} is not in the Dataset, which holds {listed(effects.data_vars)}"
            )
        effects = effects[COUNTERFACTUAL]
    if set(effects.dims) - {"query"} != _MODEL_DIMS:
        raise ValueError(
            f"{COUNTERFACTUAL} has dims {effects.dims}; it must have ('cell_type', 'gene', "
            "'distance'), and may have 'query'; select one of all others"
        )
    for dim, name in (("query", query), ("cell_type", label)):
        if dim in effects.dims:
            known = effects[dim].values.tolist()
            check_names(COUNTERFACTUAL, [name], known, f"{dim.replace('_', ' ')}")
            effects = effects.sel({dim: name})
    return effects.assign_coords(distance=_in_microns(effects["distance"])).compute()


def _in_microns(distance: xr.DataArray) -> NDArray[np.float64]:
    unit = unit_label(distance)
    try:
        return in_unit("distance", distance, MICRON, "a distance response").astype(np.float64)
    except ValueError:
        raise ValueError(
            f"{COUNTERFACTUAL} has its distances in {unit!r}, while a distance response is in µm; "
            "convert its Dataset with amici_xr.to_microns(ds, microns_per_unit=…)"
        ) from None


def _draw_genes(ax: Axes, pair: xr.Dataset, names: list[str], model: xr.DataArray | None) -> None:
    start = pair["bin_start"].values
    last = float(start[-1])
    distance = pair["mean_distance"].values.copy()
    distance[-1] = _FAR * last
    ends: list[float] = []
    starred = [bool(pair["may_be_spillover"].sel(gene=gene)) for gene in names]
    colors = [DISTINCT_COLORS[number % len(DISTINCT_COLORS)] for number in range(len(names))]
    ink = ax.yaxis.label.get_color()
    faint: dict[str, Any] = {"color": ink, "alpha": 0.35, "linewidth": 0.8}
    ax.axhline(0.0, **faint)
    ax.axvline(float(pair["radius"]), linestyle=":", **faint)
    for gene, is_star, color in zip(names, starred, colors, strict=True):
        x, y, width = _curve_of(pair.sel(gene=gene), distance)
        style: dict[str, Any] = {"color": color, "linestyle": "--" if is_star else "-"}
        ax.plot(x, y, marker="o", markersize=3, linewidth=1.8, zorder=3, **style)
        ax.fill_between(x, y - width, y + width, color=color, alpha=0.15, linewidth=0)
        ends.append(float(y[0]))
        if model is not None and gene in model["gene"].values:
            curve = model.sel(gene=gene)
            shown = curve.where(curve["distance"] <= distance[-1], drop=True)
            ax.plot(shown["distance"], shown, color=color, linewidth=0.9, linestyle=":", zorder=2)
    ax.set_xlim(0.0, distance[-1])
    edges = [float(edge) for edge in start]
    ticks = [0.0, *edges[1:], distance[-1]]
    ax.set_xticks(ticks, [*(f"{tick:.0f}" for tick in ticks[:-1]), f">{last:.0f}"])
    ax.margins(y=0.08)
    _write_names(ax, names, starred, colors, np.array(ends))
    _add_legend(ax, has_star=any(starred), has_model=model is not None)


def _curve_of(gene: xr.Dataset, distance: NDArray[Any]) -> tuple[NDArray[Any], ...]:
    """Return distance, expression less that in the last bin, and standard error of one gene."""
    mean, error = gene["response"].values, gene["response_se"].values
    told = np.isfinite(mean)
    if told.sum() >= 2:
        return distance[told], mean[told] - mean[told][-1], error[told]
    radius, effect = float(gene["radius"]), float(gene["effect"])
    x = np.array([0.0, radius, radius, max(distance[-1], radius)])
    inside = np.array([1.0, 1.0, 0.0, 0.0])
    return x, effect * inside, float(gene["effect_se"]) * inside


def _write_names(
    ax: Axes, names: list[str], starred: list[bool], colors: list[str], values: NDArray[Any]
) -> None:
    """Write names beside the axes, in the order of the curves near the sender, none over another.

    All curves end at 0, so that thin lines lead from there to the names.
    """
    height = float(inches_of(ax)[1]) * 72 * 0.85
    low, high = ax.get_ylim()
    zero = (0.0 - low) / (high - low)
    gap = 1.35 * _NAME_SIZE / height
    order = np.argsort(values, kind="stable")
    middle = float(np.clip(zero, gap * len(names) / 2, max(1 - gap * len(names) / 2, 0.5)))
    for rank, number in enumerate(order):
        y = middle + (rank - (len(names) - 1) / 2) * gap
        text = marks.shorten(names[number], 24) + ("*" if starred[number] else "")
        ax.annotate(
            text, (1.0, zero), xycoords="axes fraction", xytext=(1.06, y), textcoords=ax.transAxes,
            color=colors[number], fontsize=_NAME_SIZE, va="center", annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colors[number], "linewidth": 0.6,
                        "shrinkA": 1, "shrinkB": 0, "relpos": (0.0, 0.5)},
        )  # fmt: skip


def _add_legend(ax: Axes, *, has_star: bool, has_model: bool) -> None:
    from matplotlib.lines import Line2D

    gray: dict[str, Any] = {"color": marks.gray(ax, 0.5)}
    entries = [Line2D([], [], marker="o", markersize=3, label="mean ± standard error", **gray)]
    if has_star:
        words = "* may be spillover"
        entries.append(Line2D([], [], linestyle="--", label=words, **gray))
    if has_model:
        entries.append(Line2D([], [], linestyle=":", linewidth=0.9, label="the model", **gray))
    figure: Any = ax.figure
    style: dict[str, Any] = {"handles": entries, "frameon": False, "fontsize": "small"}
    if figure.get_layout_engine() is not None and len(figure.axes) == 1:
        figure.legend(loc="outside lower center", ncols=len(entries), **style)
    else:
        ax.legend(loc="upper right", **style)

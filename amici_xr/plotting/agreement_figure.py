"""One pair in the model and in the tissue: the effects on its genes against each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from amici_xr.analysis.effects import check_effects
from amici_xr.dataset.response_structure import check_response
from amici_xr.dataset.selection import select
from amici_xr.errors import check_names, check_positive_integer
from amici_xr.findings.agreement_with_tissue import compare_with_tissue
from amici_xr.findings.matched_response import match_response
from amici_xr.plotting.shared import marks
from amici_xr.plotting.shared.colors import DISTINCT_COLORS
from amici_xr.plotting.shared.layout import given_axes, grid_of_axes, make_room
from amici_xr.plotting.shared.point_names import name_points
from amici_xr.plotting.shared.style import styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_GENES, _SPILLOVER = ("o", DISTINCT_COLORS[0]), ("D", DISTINCT_COLORS[1])  # marker, color


def plot_agreement(
    ds: xr.Dataset,
    response: xr.Dataset,
    query: str,
    label: str,
    n_genes: int = 8,
    ax: Axes | None = None,
    figsize: tuple[float, float] | None = None,
    *,
    q: str = "q_value",
    significance_level: float = 0.05,
    least_effect: float | None = None,
    evidence: xr.Dataset | None = None,
) -> Any:
    """Draw the genes of one pair: their effect in the model against that in the tissue.

    A point is a gene: across, the ``effect`` of the tissue with its standard error; up, the model's
    ``counterfactual_effect`` at contact, of several runs the mean with the range. Filled ones
    respond in the tissue; diamonds could be spillover. On the dashed line both are equal. The
    title tells the verdict of `compare_with_tissue`, of several runs the most frequent one, and
    the correlation over genes.

    Parameters
    ----------
    ds
        The Dataset of the model, of ``extract(..., effects=True)``.
    response
        The result of `distance_response`, of the same tissue.
    query, label
        The receiver and the sender.
    n_genes
        Largest number of genes that are named: those that respond, the largest effects first. A
        name without room is left out.
    ax
        Axes to draw on; None makes a figure in the package's style, the matplotlib style sheet
        ``amici_xr.figures``. Given axes keep your style.
    figsize
        Width and height of a new figure in inches.
    q
        As in `compare_with_tissue`.
    significance_level
        As in `compare_with_tissue`; genes respond whose ``gene_q_value`` is below it.
    least_effect
        As in `compare_with_tissue`.
    evidence
        As in `compare_with_tissue`.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on.

    Raises
    ------
    NotFoundError
        If a type is not there, or the response has no such q.
    ValueError
        If the tissue could not test the pair, the model met no such neighbor, or an argument lies
        out of its range.
    SchemaError
        As `compare_with_tissue`.

    Examples
    --------
    >>> import amici_xr
    >>> model, adata = amici_xr.demo()
    >>> ds = amici_xr.extract(model, "Tumor", adata, effects=True, progress=False)
    >>> response = amici_xr.distance_response(adata, "cell_type", progress=False)
    >>> ax = amici_xr.plot_agreement(ds, response, "Tumor", "Fibroblast")
    >>> ax.get_title().splitlines()
    ['Fibroblast → Tumor', 'in both, r = 0.998']
    """
    n_genes = check_positive_integer("n_genes", n_genes)
    check_effects(ds)
    ds, response = _choose_pair(ds, check_response(response), query, label)
    compared = compare_with_tissue(
        ds,
        response,
        q=q,
        significance_level=significance_level,
        least_effect=least_effect,
        evidence=evidence,
    ).sel(label=label)
    genes = match_response(ds, response, q).sel(label=label)
    _check_tested(genes, compared, query, label)
    is_shown = genes["effect"].notnull() & genes["contact"].notnull()
    if "run" in is_shown.dims:
        is_shown = is_shown.all("run")
    genes = genes.isel(gene=np.flatnonzero(is_shown.values))
    responds = (genes["gene_q_value"] < significance_level).values
    names = [str(name) for name in genes["gene"].values]
    with styled(ax, [query, label, *names]):
        panel = grid_of_axes(1, 1, figsize or (4.8, 4.8))[0] if ax is None else given_axes(ax, 1)[0]
        make_room(panel, left=0.95, right=0.2, below=0.95)
        points = _draw_genes(panel, genes, responds)
        radius = float(genes["radius"])
        across = f"effect in the tissue\n(expression within {radius:.0f} µm less that beyond)"
        panel.set_xlabel(marks.escape(across))
        panel.set_ylabel(marks.escape(f"effect in the model\n(one {label} at contact)"))
        panel.set_title(marks.escape(f"{label} → {query}\n{_words(compared)}"))
        _add_legend(panel, genes, responds, significance_level)
        size = np.where(responds, np.abs(points).max(axis=1), -1.0)
        order = np.argsort(-size, kind="stable")
        shown = [
            names[gene] if rank < n_genes and responds[gene] else None
            for rank, gene in enumerate(order)
        ]
        error = genes["effect_se"].values[order] * responds[order]
        bars = np.column_stack([points[order], points[order]])
        bars[:, 0] -= error
        bars[:, 2] += error
        name_points(panel, points[order], shown, bars)
    return panel


def _choose_pair(
    ds: xr.Dataset, response: xr.Dataset, query: str, label: str
) -> tuple[xr.Dataset, xr.Dataset]:
    """Return the query of `ds`, and the pair of the response."""
    known = {
        "query": (ds["query"], response["query"]),
        "label": (ds["cell_type"], response["label"]),
    }
    for dim, name in (("query", query), ("label", label)):
        for held in known[dim]:
            check_names(dim, [name], np.atleast_1d(held.values).tolist(), "cell type")
    sel = {dim: [name] for dim, name in (("query", query), ("label", label))}
    pair = response.sel({dim: name for dim, name in sel.items() if dim in response.dims})
    return select(ds, query), pair


def _check_tested(genes: xr.Dataset, compared: xr.Dataset, query: str, label: str) -> None:
    status = str(genes["status"].values)
    if status != "tested":
        raise ValueError(
            f"query={query!r}, label={label!r} was not tested in the tissue: {status}; choose a "
            "pair whose status is 'tested'"
        )
    if bool((compared["effect_status"] == "absent").all()):
        raise ValueError(
            f"query={query!r}, label={label!r}: the model met no {label!r} near {query!r}; choose "
            "another pair"
        )


def _words(compared: xr.Dataset) -> str:
    """Return the verdict, of several runs the most frequent one, and the correlation."""
    verdicts, counts = np.unique(compared["verdict"].values, return_counts=True)
    n_runs = int(counts.sum())
    words = str(verdicts[counts.argmax()])
    if n_runs > 1:
        words += f" ({counts.max()} of {n_runs} runs)"
    r = compared["correlation"]
    low, high = (f"{float(end):.3f}".replace("-", "−") for end in (r.min(), r.max()))
    return f"{words}, r = {low}" + ("" if low == high else f" to {high}")


def _draw_genes(ax: Axes, genes: xr.Dataset, responds: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Draw points with their bars, and return the points, (gene, 2)."""
    x, error = genes["effect"].values, genes["effect_se"].values
    runs = genes["contact"].transpose(..., "gene").values.reshape(-1, x.size)
    y, low, high = runs.mean(axis=0), runs.min(axis=0), runs.max(axis=0)
    faint: dict[str, Any] = {"color": ax.yaxis.label.get_color(), "alpha": 0.35, "linewidth": 0.8}
    ax.axhline(0.0, **faint)
    ax.axvline(0.0, **faint)
    ax.axline((0.0, 0.0), slope=1.0, linestyle="--", **faint)
    is_spillover = genes["may_be_spillover"].values
    for (marker, color), is_kind in ((_GENES, ~is_spillover), (_SPILLOVER, is_spillover)):
        bars: dict[str, Any] = {"color": color, "alpha": 0.5, "linewidth": 0.8, "zorder": 2}
        ax.hlines(y[is_kind], (x - error)[is_kind], (x + error)[is_kind], **bars)
        if len(runs) > 1:
            ax.vlines(x[is_kind], low[is_kind], high[is_kind], **bars)
        for is_filled in (False, True):
            chosen = is_kind & (responds == is_filled)
            face = color if is_filled else ax.get_facecolor()
            ax.plot(
                x[chosen], y[chosen], marker, markersize=4.5, color=color, markerfacecolor=face,
                markeredgewidth=0.9, zorder=3 + is_filled,
            )  # fmt: skip
    ax.margins(0.12)
    ax.grid(visible=False)
    return np.column_stack([x, y])


def _add_legend(ax: Axes, genes: xr.Dataset, responds: NDArray[np.bool_], level: float) -> None:
    from matplotlib.lines import Line2D

    is_spillover = genes["may_be_spillover"].values
    gray: dict[str, Any] = {"color": marks.gray(ax, 0.5), "markersize": 4.5, "markeredgewidth": 0.9}
    hollow = gray | {"linestyle": "none", "markerfacecolor": "none"}
    handles = []
    if responds.any():
        words = f"responds in the tissue (q < {level:g})"
        handles.append(Line2D([], [], **gray, linestyle="none", marker="o", label=words))
    if not responds.all():
        handles.append(Line2D([], [], **hollow, marker="o", label="does not respond"))
    if is_spillover.any():
        marker, color = _SPILLOVER
        spilled = hollow | {"color": color}
        handles.append(Line2D([], [], **spilled, marker=marker, label="may be spillover"))
    bars = "± standard error" + (", range of runs" if "run" in genes["contact"].dims else "")
    handles.append(Line2D([], [], color=gray["color"], linewidth=0.8, label=bars))
    handles.append(
        Line2D([], [], color=gray["color"], linewidth=0.8, linestyle="--", label="equal")
    )
    figure: Any = ax.figure
    style: dict[str, Any] = {"handles": handles, "frameon": False, "fontsize": "small"}
    if figure.get_layout_engine() is not None and len(figure.axes) == 1:
        figure.legend(loc="outside lower center", ncols=2, **style)
    else:
        ax.legend(loc="best", **style)

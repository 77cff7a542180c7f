"""Which genes each sender changes, and in which direction, as dots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from amici_xr.analysis.effects import gene_effects
from amici_xr.errors import check_names, check_positive_integer
from amici_xr.plotting.shared import marks
from amici_xr.plotting.shared.contents import check_one_query, choose_senders
from amici_xr.plotting.shared.layout import (
    PAGE_WIDTH,
    given_axes,
    grid_of_axes,
    make_room,
    room_for,
    room_for_names,
    width_of,
)
from amici_xr.plotting.shared.style import styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DOT, _LEAST_DOT = 0.24, 0.14  # inches from a dot to the next, and at least
_BESIDE = 1.75  # inches of color bar and sizes beside the axes
_LARGEST_DOT = 120.0  # square points
_SMALLEST_DOT = 4.0


def plot_gene_effects(
    ds: xr.Dataset,
    n_genes: int = 30,
    labels: Sequence[str] | None = None,
    genes: Sequence[str] | None = None,
    ax: Axes | None = None,
    *,
    cmap: str = "RdBu_r",
) -> Any:
    """Draw which genes each sender changes: a dot for each gene and sender.

    The color is the effect on predicted expression, red where the sender raises it; the area of the
    dot is the gain in prediction over the gene's variance, the smallest where there is none. The
    strongest genes are shown, each beside those that change most with the same sender. Both are of
    the model, and in-sample where its training cells are among the receivers.

    Parameters
    ----------
    ds
        The Dataset of one query, of ``extract(..., effects=True)``.
    n_genes
        Largest number of genes; those with the largest effect of any sender drawn.
    labels
        Senders to draw, from top to bottom; None draws all that have neighbors, the one with the
        largest effects first.
    genes
        Genes to draw, in this order, instead of the strongest.
    ax
        Axes to draw on; None makes a figure in the package's style.
    cmap
        A diverging colormap of matplotlib, whose middle stands for no effect.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on.

    Raises
    ------
    NotFoundError
        If a label or gene is not in the Dataset.
    ValueError
        If `ds` holds several queries or runs, or no neighbors, or `n_genes` is below 1.
    SchemaError
        If the Dataset has no effects.

    Examples
    --------
    >>> import amici_xr
    >>> model, adata = amici_xr.demo()
    >>> ds = amici_xr.extract(model, "Tumor", adata, effects=True, progress=False)
    >>> ax = amici_xr.plot_gene_effects(ds, n_genes=12)
    >>> [text.get_text() for text in ax.get_yticklabels()][0]
    'Fibroblast'
    """
    n_genes = check_positive_integer("n_genes", n_genes)
    shown = gene_effects(check_one_query(ds)).compute()
    labels = choose_senders(shown, abs(shown["effect"]).max("gene"), labels)
    effect = shown["effect"].sel(label=labels)
    if genes is None:
        genes = _strongest_genes(effect, n_genes)
    check_names("genes", list(genes), shown["gene"].values.tolist(), "gene")
    effect = effect.sel(gene=list(genes))
    share = shown["variance_share"].sel(label=labels, gene=list(genes)).fillna(0).clip(min=0)
    title = f"neighbors → {ds['query'].item()}"
    with styled(ax, [*labels, *genes, title]):
        is_ours, is_flat = ax is None, False
        if is_ours:
            axes, is_flat = _new_axes(labels, genes)
        else:
            axes = given_axes(ax, 1)[0]
            left = width_of(marks.shorten(name, 34) for name in labels) + 0.5
            below = room_for_names(genes) + 0.35
            make_room(axes, left=room_for(axes, left), below=room_for(axes, below))
        _draw_dots(axes, effect, share, cmap, is_ours=is_ours, is_flat=is_flat)
        axes.set_title(marks.escape(title))
    return axes


def _strongest_genes(effect: xr.DataArray, n_genes: int) -> list[str]:
    """Choose genes by their largest effect, and group them by the sender that has it."""
    size = np.abs(effect.transpose("label", "gene").values)
    strongest = np.argsort(-size.max(axis=0), kind="stable")[:n_genes]
    order = np.lexsort([-size.max(axis=0)[strongest], size.argmax(axis=0)[strongest]])
    return [str(name) for name in effect["gene"].values[strongest[order]]]


def _new_axes(labels: Sequence[str], genes: Sequence[str]) -> tuple[Axes, bool]:
    """Make axes, and tell whether color bar and sizes belong below them."""
    left = width_of(marks.shorten(name, 34) for name in labels) + 0.5
    below = width_of(marks.shorten_upright(name) for name in genes) + 0.7
    is_flat = left + _DOT * len(genes) + _BESIDE > PAGE_WIDTH
    dot = _DOT
    if is_flat:
        dot = float(np.clip((PAGE_WIDTH - left) / len(genes), _LEAST_DOT, _DOT))
    width = left + dot * len(genes) + (0 if is_flat else _BESIDE)
    row = float(np.clip(7.0 / len(labels), _LEAST_DOT + 0.01, _DOT))
    height = max(row * len(labels) + below, 2.6 if not is_flat else 1.6)
    size = (max(width, 4.0), height + (1.1 if is_flat else 0))
    return grid_of_axes(1, 1, size)[0], is_flat


def _draw_dots(
    ax: Axes, effect: xr.DataArray, share: xr.DataArray, cmap: str, *, is_ours: bool, is_flat: bool
) -> None:
    values, shares = (array.transpose("label", "gene").values for array in (effect, share))
    rows, columns = np.indices(values.shape)
    largest, most = float(np.abs(values).max()) or 1.0, float(shares.max()) or 1.0
    scale = _scale_of_dots(ax, *values.shape) if is_ours else 1.0
    dots = ax.scatter(
        columns.ravel(),
        rows.ravel(),
        s=scale * _areas(shares, most).ravel(),
        c=values.ravel(),
        cmap=cmap,
        vmin=-largest,
        vmax=largest,
        edgecolors=marks.gray(ax, 0.6),
        linewidths=0.4,
        zorder=2,
    )
    for axis, dim, longest in ((ax.xaxis, "gene", 34), (ax.yaxis, "label", 34)):
        names = [marks.shorten(str(name), longest) for name in effect[dim].values]
        axis.set_ticks(range(len(names)), names)
    ax.tick_params(axis="x", rotation=90, length=0)
    ax.tick_params(axis="y", length=0)
    ax.set_xlim(-0.7, values.shape[1] - 0.3)
    ax.set_ylim(values.shape[0] - 0.3, -0.7)
    ax.set_xlabel("gene")
    ax.set_ylabel("sender")
    figure: Any = ax.figure
    line = " " if is_flat else "\n"
    flat = {"location": "bottom", "aspect": 40, "shrink": 0.6} if is_flat else {}
    label = f"effect on predicted{line}expression"
    options = {"shrink": 0.9, "pad": 0.02, "use_gridspec": False} | flat
    figure.colorbar(dots, ax=ax, label=label, **options)
    if is_ours:
        _add_sizes(ax, most, scale, is_flat=is_flat)


def _scale_of_dots(ax: Axes, n_labels: int, n_genes: int) -> float:
    """Return the scale of areas at which dots side by side hardly touch."""
    figure: Any = ax.figure
    width, height = 72 * (figure.get_size_inches() - 1.0)
    points = min(width / n_genes, max(height - 100, 80) / n_labels)
    return float(min(1.0, (0.95 * points) ** 2 / _LARGEST_DOT))


def _areas(shares: NDArray[np.float64], most: float) -> NDArray[np.float64]:
    return _SMALLEST_DOT + (_LARGEST_DOT - _SMALLEST_DOT) * shares / most


def _add_sizes(ax: Axes, most: float, scale: float, *, is_flat: bool) -> None:
    """Explain three areas beside the axes, or below them."""
    from matplotlib.lines import Line2D

    def handle(share: float) -> Any:
        diameter = float(np.sqrt(scale * _areas(np.array(share), most)))
        style: dict[str, Any] = {
            "markerfacecolor": marks.gray(ax, 0.8),
            "markeredgecolor": marks.gray(ax, 0.6),
            "markeredgewidth": 0.4,
        }
        return Line2D([], [], marker="o", linestyle="", markersize=diameter, **style,
                      label=f"{share:.2g}")  # fmt: skip

    figure: Any = ax.figure
    place = (
        {"loc": "outside lower center", "ncols": 3} if is_flat else {"loc": "outside right center"}
    )
    figure.legend(
        handles=[handle(share) for share in (0.0, most / 2, most)],
        title=f"gain over the{' ' if is_flat else chr(10)}gene's variance",
        labelspacing=0.9,
        frameon=False,
        **place,
    )

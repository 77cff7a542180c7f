"""Effects of senders: which genes, in which direction, and over what distance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from amici_xr.analysis.effect_reach import effect_curve, effect_length_scale
from amici_xr.analysis.effects import gene_effects
from amici_xr.errors import check_fraction, check_names, check_positive_integer
from amici_xr.plotting import marks
from amici_xr.plotting.colors import Palette, label_colors, label_lines
from amici_xr.plotting.contents import check_one_query, with_unit
from amici_xr.plotting.layout import add_legend, given_axes, grid_of_axes
from amici_xr.plotting.line_names import INCHES_PER_NAME, LONGEST_NAME, name_lines
from amici_xr.plotting.style import styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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
    labels = _choose_labels(shown, abs(shown["effect"]).max("gene"), labels)
    effect = shown["effect"].sel(label=labels)
    if genes is None:
        genes = _strongest_genes(effect, n_genes)
    check_names("genes", list(genes), shown["gene"].values.tolist(), "gene")
    effect = effect.sel(gene=list(genes))
    share = shown["variance_share"].sel(label=labels, gene=list(genes)).fillna(0).clip(min=0)
    with styled(ax, [*labels, *genes]):
        axes = _new_axes(labels, genes) if ax is None else given_axes(ax, 1)[0]
        _draw_dots(axes, effect, share, cmap, is_ours=ax is None)
        title = f"neighbors → {ds['query'].item()}"
        axes.set_title(marks.escape(title))
    return axes


def plot_effect_curve(
    ds: xr.Dataset,
    labels: Sequence[str] | None = None,
    fraction: float = 0.5,
    ax: Axes | None = None,
    palette: Palette = None,
) -> Any:
    """Draw the size of the effect of one neighbor that stands alone, against its distance.

    A line for each sender, the norm over genes, and a dot where it has fallen to `fraction` of its
    value at contact. Lines are named at contact, where they begin, so that the axis of the effect
    stands on the right; in given axes without room for all names there is a legend instead.

    Parameters
    ----------
    ds
        The Dataset of one query, of ``extract(..., effects=True)``.
    labels
        Senders to draw, in this order; None draws all that have neighbors.
    fraction
        Of the effect at contact, strictly between 0 and 1, at which `effect_length_scale` is drawn.
    ax
        Axes to draw on; None makes a figure in the package's style.
    palette
        As in `plot_curve`.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on.

    Raises
    ------
    NotFoundError
        If a label is not in the Dataset.
    ValueError
        If `ds` holds several queries or runs, or no neighbors, or `fraction` is out of range.
    SchemaError
        If the Dataset has no effects.

    Examples
    --------
    >>> import amici_xr
    >>> model, adata = amici_xr.demo()
    >>> ds = amici_xr.extract(model, "Tumor", adata, effects=True, progress=False)
    >>> amici_xr.plot_effect_curve(ds).get_xlabel()
    'distance (coordinate units)'
    """
    fraction = check_fraction("fraction", fraction)
    ds = check_one_query(ds)
    curve = effect_curve(ds).compute()
    reach = effect_length_scale(ds, fraction).compute()
    names = _choose_labels(reach, reach["contact_effect"], labels)
    colors, lines = label_colors(ds, names, palette), label_lines(ds, names)
    with styled(ax, names):
        axes = _new_line_axes(names) if ax is None else given_axes(ax, 1)[0]
        for label in names:
            values, of_label = curve.sel(label=label), reach.sel(label=label)
            axes.plot(values["distance"], values, color=colors[label], linestyle=lines[label])
            length = float(of_label["effect_length_scale"])
            level = fraction * float(of_label["contact_effect"])
            axes.plot(length, level, marker="o", markersize=4, color=colors[label], linestyle="")
        axes.margins(x=0)
        axes.set_xlim(right=_end_of_distances(curve, names))
        axes.set_ylim(bottom=0)
        heights = {label: float(reach["contact_effect"].sel(label=label)) for label in names}
        is_named = name_lines(axes, heights, colors)
        sender = names[0] if len(names) == 1 else "neighbors"
        axes.set_title(marks.escape(f"{sender} → {ds['query'].item()}"))
        axes.set_xlabel(marks.escape(with_unit("distance", ds)))
        axes.set_ylabel("effect of one neighbor\n(norm over genes)")
        point = {"point": f"{fraction:g} of contact"}
        if is_named:
            axes.legend(handles=marks.legend_handles({}, point), loc="upper right", frameon=False)
        else:
            handles = marks.legend_handles(colors, point, lines)
            add_legend([axes], handles, is_ours=False)
    return axes


def _choose_labels(
    shown: xr.Dataset, size: xr.DataArray, labels: Sequence[str] | None
) -> list[str]:
    """Return the senders asked for, or all that have neighbors by their size, largest first."""
    is_present = (shown["n_neighbors"] > 0).values
    present = shown["label"].values[is_present].tolist()
    if not present:
        raise ValueError("ds holds no neighbors, so there is nothing to draw")
    if labels is not None:
        names = [labels] if isinstance(labels, str) else list(labels)
        check_names("labels", names, present, "label")
        return names
    order = np.argsort(-np.nan_to_num(size.values[is_present]), kind="stable")
    return [str(present[place]) for place in order]


def _strongest_genes(effect: xr.DataArray, n_genes: int) -> list[str]:
    """Choose genes by their largest effect, and group them by the sender that has it."""
    size = np.abs(effect.transpose("label", "gene").values)
    strongest = np.argsort(-size.max(axis=0), kind="stable")[:n_genes]
    order = np.lexsort([-size.max(axis=0)[strongest], size.argmax(axis=0)[strongest]])
    return [str(name) for name in effect["gene"].values[strongest[order]]]


def _new_line_axes(names: Sequence[str]) -> Axes:
    longest = max(len(marks.shorten(name, LONGEST_NAME)) for name in names)
    height = min(max(3.6, INCHES_PER_NAME * len(names)), 20.0)
    return grid_of_axes(1, 1, (5 + 0.072 * longest, height))[0]


def _new_axes(labels: Sequence[str], genes: Sequence[str]) -> Axes:
    longest_gene = max(len(marks.shorten_upright(name)) for name in genes)
    longest_label = max(len(marks.shorten(name, 34)) for name in labels)
    width = 0.24 * len(genes) + 0.075 * longest_label + 2.2
    height = max(0.24 * len(labels) + 0.075 * longest_gene + 0.7, 2.6)
    return grid_of_axes(1, 1, (max(width, 4.0), height))[0]


def _draw_dots(
    ax: Axes, effect: xr.DataArray, share: xr.DataArray, cmap: str, *, is_ours: bool
) -> None:
    values, shares = (array.transpose("label", "gene").values for array in (effect, share))
    rows, columns = np.indices(values.shape)
    largest, most = float(np.abs(values).max()) or 1.0, float(shares.max()) or 1.0
    dots = ax.scatter(
        columns.ravel(),
        rows.ravel(),
        s=_areas(shares, most).ravel(),
        c=values.ravel(),
        cmap=cmap,
        vmin=-largest,
        vmax=largest,
        edgecolors="0.6",
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
    figure.colorbar(dots, ax=ax, label="effect on predicted\nexpression", shrink=0.9, pad=0.02)
    if is_ours:
        _add_sizes(figure, most)


def _areas(shares: NDArray[np.float64], most: float) -> NDArray[np.float64]:
    return _SMALLEST_DOT + (_LARGEST_DOT - _SMALLEST_DOT) * shares / most


def _add_sizes(figure: Any, most: float) -> None:
    """Explain three areas beside the axes."""
    from matplotlib.lines import Line2D

    def handle(share: float) -> Any:
        diameter = float(np.sqrt(_areas(np.array(share), most)))
        style: dict[str, Any] = {
            "markerfacecolor": "0.8",
            "markeredgecolor": "0.6",
            "markeredgewidth": 0.4,
        }
        return Line2D([], [], marker="o", linestyle="", markersize=diameter, **style,
                      label=f"{share:.2g}")  # fmt: skip

    figure.legend(
        handles=[handle(share) for share in (0.0, most / 2, most)],
        title="gain over the\ngene's variance",
        loc="outside right center",
        labelspacing=0.9,
        frameon=False,
    )


def _end_of_distances(curve: xr.DataArray, labels: Sequence[str]) -> float:
    """Return where all curves have fallen below a fiftieth of the largest, or the last distance."""
    largest = curve.sel(label=list(labels)).max("label")
    is_large = (largest > 0.02 * largest.max()).values
    last = min(int(np.flatnonzero(is_large)[-1]) + 1, is_large.size - 1) if is_large.any() else -1
    return float(curve["distance"][last])

"""What the attention of a model does to predicted expression, from the Dataset alone."""

from __future__ import annotations

import numpy as np
import xarray as xr

from amici_xr.dataset.ablation import ablation_of
from amici_xr.dataset.reduction import ordered
from amici_xr.dataset.schema import has_effects
from amici_xr.dataset.structure import check_structure
from amici_xr.errors import SchemaError, check_names

IN_SAMPLE = "in-sample: the receivers include cells that the model was trained on"
UNKNOWN_SAMPLE = (
    "in-sample, as far as is known: the model does not say which cells it was trained on"
)


def explained_variance(ds: xr.Dataset) -> xr.Dataset:
    """Measure how well the model predicts the expression of the receivers.

    ``1 − Σ(x − ŷ)²/Σ(x − x̄)²`` over receivers, with the mean x̄ of their type: 1 is a perfect
    prediction, 0 that by the mean, and below 0 worse than that. It is in-sample wherever cells of
    the training are among the receivers.

    Parameters
    ----------
    ds
        The Dataset, of ``extract(..., effects=True)``.

    Returns
    -------
    xarray.Dataset
        ``query`` in front of all dims where `ds` has it:

        ``explained_variance`` ()
            of all genes together;
        ``explained_variance_by_gene`` (gene)
            of each gene; NaN for one that does not vary;
        ``explained_variance_held_out`` ()
            of the receivers that training left out, where the file knows them;
        ``explained_variance_by_head`` (head), ``explained_variance_by_head_and_gene`` (head, gene)
            with each head alone left on, where `ds` has effects by head:
            ``1 − Var(x − ŷ)/Var(x)``, without the constant error that a head makes alone. Heads do
            not add up, so these are not shares.

    Raises
    ------
    SchemaError
        If the Dataset has no effects.

    Examples
    --------
    >>> import amici_xr
    >>> model, adata = amici_xr.demo()
    >>> ds = amici_xr.extract(model, "Tumor", adata, effects=True, progress=False)
    >>> float(amici_xr.explained_variance(ds).explained_variance.round(2))
    0.27
    """
    check_effects(ds)
    total = ds["gene_variance"].sum("gene")
    error = ds["residual_variance"] + ds["residual_mean"] ** 2
    result = {
        "explained_variance": _share(error.sum("gene"), total),
        "explained_variance_by_gene": _share(error, ds["gene_variance"]),
    }
    if "is_held_out" in ds.variables:
        result["explained_variance_held_out"] = _explained_of_held_out(ds)
    if "residual_variance_by_head" in ds.variables:
        alone = ds["residual_variance_by_head"]
        result |= {
            "explained_variance_by_head": _share(alone.sum("gene"), total),
            "explained_variance_by_head_and_gene": _share(alone, ds["gene_variance"]),
        }
    for name, array in result.items():
        array.attrs = {"long_name": name.replace("_", " "), "units": "1"}
    return ordered(xr.Dataset(result)).assign_attrs(evaluated_on=evaluated_on(ds))


def gene_effects(ds: xr.Dataset, label: str | None = None, *, by_head: bool = False) -> xr.Dataset:
    """Tell which genes each sender changes in the model's prediction, and by how much.

    The sender is ablated in each real neighborhood: its attention weights are set to 0 after the
    softmax, or, in a Dataset of ``extract(..., renormalize=True)``, its cells are masked before it,
    so that the rest of the neighborhood takes over its attention. The attribute ``ablation`` says
    which. These are effects of the model, not of the tissue.

    Parameters
    ----------
    ds
        The Dataset, of ``extract(..., effects=True)``.
    label
        The cell type of the sender; None takes all.
    by_head
        Whether to give the effects with each head alone left on, which adds ``head`` in front of
        ``label``. A LayerNorm couples the heads, so that these do not add up.

    Returns
    -------
    xarray.Dataset
        Dims (label, gene), ``query`` in front where `ds` has it:

        ``effect``
            mean over the receivers of predicted expression minus that without the sender: above 0
            the sender raises the gene;
        ``gain``
            mean over the receivers of the squared error without the sender minus that with it:
            above 0 the sender makes the prediction better;
        ``variance_share``
            gain over the variance of the gene among the receivers;
        ``n_neighbors`` (label)
            number of neighbors of the label.

    Raises
    ------
    SchemaError
        If the Dataset has no effects, or none by head though `by_head` asks for them.
    NotFoundError
        If `label` is not a cell type of the model.

    Examples
    --------
    >>> import amici_xr
    >>> model, adata = amici_xr.demo()
    >>> ds = amici_xr.extract(model, "Tumor", adata, effects=True, progress=False)
    >>> of_sender = amici_xr.gene_effects(ds, "Fibroblast")
    >>> float(of_sender.effect.sel(gene="gene_47").round(1))
    2.3
    """
    check_effects(ds)
    suffix = "_by_head" if by_head else ""
    if f"gene_effect{suffix}" not in ds.variables:
        raise SchemaError(
            "this Dataset has no effects by head; extract it with effects='by_head', or leave out "
            "by_head=True"
        )
    gain = ds[f"gene_gain{suffix}"].astype(np.float64)
    variance = ds["gene_variance"]
    result = xr.Dataset(
        {
            "effect": ds[f"gene_effect{suffix}"].astype(np.float64),
            "gain": gain,
            "variance_share": gain / variance.where(variance > 0),
            "n_neighbors": count_neighbors(ds),
        }
    )
    long_names = {
        "effect": "effect on predicted expression",
        "gain": "gain in squared error",
        "variance_share": "gain over the variance of the gene",
        "n_neighbors": "number of neighbors",
    }
    for name, long_name in long_names.items():
        result[name].attrs = {"long_name": long_name}
    result["variance_share"].attrs["units"] = "1"
    attributes = {"evaluated_on": evaluated_on(ds), "ablation": str(ablation_of(ds))}
    result = _of_label(result, label).assign_attrs(attributes)
    return ordered(result).transpose(..., "gene")


def check_effects(ds: xr.Dataset) -> None:
    """Refuse a Dataset without effects."""
    check_structure(ds)
    if not has_effects(ds):
        raise SchemaError(
            "this Dataset has no effects; extract it with effects=True (a sample that was selected "
            "from several has no effects of its own: extract it by itself)"
        )


def evaluated_on(ds: xr.Dataset) -> str:
    """Say whether the effects and gains of all receivers are in-sample."""
    if "is_held_out" not in ds.variables:
        return UNKNOWN_SAMPLE
    return "held-out cells" if bool(ds["is_held_out"].all()) else IN_SAMPLE


def count_neighbors(ds: xr.Dataset) -> xr.DataArray:
    """Count the neighbors of each cell type, (query, cell_type)."""
    is_of_type = ds["label"].variable == ds["cell_type"].variable
    if "is_neighbor" in ds.variables:
        is_of_type = is_of_type & ds["is_neighbor"].variable
    count = xr.DataArray(is_of_type.sum("neighbor"))
    coords = {name: ds[name].variable for name in ("query", "cell_type") if name in ds.coords}
    return count.assign_coords(coords)


def _of_label(result: xr.Dataset, label: str | None) -> xr.Dataset:
    """Name the senders label, as everywhere, and take one, if one was asked for."""
    result = result.rename(cell_type="label").drop_vars("cell_type_color", errors="ignore")
    if label is None:
        return result
    check_names("label", [label], result["label"].values.tolist(), "cell type")
    return result.sel(label=label)


def _share(error: xr.DataArray, total: xr.DataArray) -> xr.DataArray:
    return 1 - error / total.where(total > 0)


def _explained_of_held_out(ds: xr.Dataset) -> xr.DataArray:
    """Explained variance over the held-out receivers of each query; NaN where there is none."""
    queries = ds["query"].variable
    is_used = xr.DataArray(ds["receiver_label"].variable == queries)
    is_used = is_used & ds["is_held_out"].drop_vars(list(ds["is_held_out"].coords))
    sums = (
        ds[name].drop_vars(list(ds[name].coords)).where(is_used).sum("receiver")
        for name in ("squared_error", "squared_deviation")
    )
    coords = {name: ds[name] for name in ("query", "run") if name in ds.coords}
    return _share(*sums).assign_coords(coords)

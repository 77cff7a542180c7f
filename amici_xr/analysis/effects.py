"""What the attention of a model does to predicted expression, from the Dataset alone."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from amici_xr.analysis.observed_attention import attention_by_distance
from amici_xr.dataset.reduction import ordered, rechunked
from amici_xr.dataset.schema import distance_attributes, has_effects
from amici_xr.dataset.structure import check_structure
from amici_xr.errors import SchemaError, check_fraction, check_names

IN_SAMPLE = "in-sample: the receivers include cells that the model was trained on"
UNKNOWN_SAMPLE = (
    "in-sample, as far as is known: the model does not say which cells it was trained on"
)
_NOISES = 2.0  # how many times its noise an effect is above it


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

    The sender is ablated: its attention weights are set to 0 after the softmax, in each real
    neighborhood. These are effects of the model, not of the tissue.

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
    result = _of_label(result, label).assign_attrs(evaluated_on=evaluated_on(ds))
    return ordered(result).transpose(..., "gene")


def effect_curve(ds: xr.Dataset) -> xr.DataArray:
    """Compute the size of the effect of one neighbor that stands alone, against its distance.

    The norm over genes of ``counterfactual_effect``, the predicted change of expression if one
    neighbor of that type stood alone at that distance.

    Parameters
    ----------
    ds
        The Dataset, of ``extract(..., effects=True)``.

    Returns
    -------
    xarray.DataArray
        Dims (label, distance), ``query`` in front where `ds` has it, in units of expression; NaN
        for a cell type without neighbors.

    Raises
    ------
    SchemaError
        If the Dataset has no effects.

    Examples
    --------
    >>> import amici_xr
    >>> model, adata = amici_xr.demo()
    >>> ds = amici_xr.extract(model, "Tumor", adata, effects=True, progress=False)
    >>> curve = amici_xr.effect_curve(ds).sel(label="Fibroblast")
    >>> bool(curve[0] > 2 * curve[-1])
    True
    """
    check_effects(ds)
    square = ds["counterfactual_effect"].astype(np.float64) ** 2
    norm = (square.sum("gene", skipna=False) ** 0.5).rename("effect_curve")
    norm.attrs = {"long_name": "norm over genes of the effect of one neighbor"}
    return ordered(norm.rename(cell_type="label"))


def effect_length_scale(ds: xr.Dataset, fraction: float = 0.5) -> xr.Dataset:
    """Find the distance where the effect of one neighbor falls to a fraction of that at contact.

    A reach that needs no threshold on attention: where `effect_curve`, interpolated linearly, first
    falls to `fraction` of its value at distance 0. It is a property of the model, and says nothing
    of how large the effect is: see ``contact_effect``.

    Parameters
    ----------
    ds
        The Dataset, of ``extract(..., effects=True)``.
    fraction
        Of the effect at contact, strictly between 0 and 1.

    Returns
    -------
    xarray.Dataset
        Dims (label), ``query`` in front where `ds` has it:

        ``effect_length_scale``
            in the Dataset's unit of distance; NaN unless `status` is ``falls``;
        ``contact_effect``
            the norm over genes at distance 0;
        ``status``
            the first that applies of ``absent`` (no neighbor of that label), ``within_noise`` (at
            no distance is the effect twice the norm that it would have if the effects of the
            neighbors had no direction in common), ``does_not_fall`` (to that fraction, up to the
            largest distance), ``falls``;
        ``n_neighbors``
            number of neighbors of the label.

    Raises
    ------
    ValueError
        If `fraction` lies out of its range.
    SchemaError
        If the Dataset has no effects.

    Examples
    --------
    >>> import amici_xr
    >>> model, adata = amici_xr.demo()
    >>> ds = amici_xr.extract(model, "Tumor", adata, effects=True, progress=False)
    >>> reach = amici_xr.effect_length_scale(ds).sel(label="Fibroblast")
    >>> reach.status.item(), float(reach.effect_length_scale.round())  # planted within 20
    ('falls', 21.0)
    """
    fraction = check_fraction("fraction", fraction)
    curve = effect_curve(ds)
    noise = ds["counterfactual_noise"].rename(cell_type="label").transpose(*curve.dims)
    is_above = (curve > _NOISES * noise).any("distance")
    contact = curve.isel(distance=0, drop=True)
    lengths = xr.apply_ufunc(
        _first_fall,
        rechunked(curve, {"distance": -1}),
        ds["distance"].drop_vars("distance"),
        input_core_dims=[["distance"], ["distance"]],
        kwargs={"fraction": fraction},
        dask="parallelized",
        output_dtypes=[np.float64],
    )
    status: xr.DataArray = xr.apply_ufunc(
        _status,
        contact,
        is_above,
        lengths,
        dask="parallelized",
        output_dtypes=[np.dtype("<U13")],
    )
    result = xr.Dataset(
        {
            "effect_length_scale": lengths.where(status == "falls"),
            "contact_effect": contact,
            "status": status,
            "n_neighbors": count_neighbors(ds).rename(cell_type="label"),
        }
    )
    attributes = distance_attributes(f"distance where the effect falls to {fraction:g}", ds)
    result["effect_length_scale"].attrs = attributes
    result["contact_effect"].attrs = {"long_name": "norm over genes of the effect at contact"}
    for name in ("status", "n_neighbors"):
        result[name].attrs = {"long_name": name.replace("n_", "number of ")}
    return ordered(result).assign_attrs(fraction=fraction)


def attention_enrichment(ds: xr.Dataset, *, by_sample: bool = False) -> xr.Dataset:
    """Compare the attention that each sender gets with how many of the neighbors it makes up.

    Its share of all attention to neighbors (without the dummy) over its share of all neighbors in
    the neighborhoods: above 1 the model looks there more than composition explains.

    Parameters
    ----------
    ds
        The Dataset, dims (neighbor, head), with neighborhoods. It needs no effects.
    by_sample
        Whether to treat each sample separately, which adds a ``sample`` dim.

    Returns
    -------
    xarray.Dataset
        ``enrichment`` and ``attention_share``, dims (label, head), ``neighborhood_share`` and
        ``n_pairs`` of receiver and neighbor, dims (label); ``query`` in front where `ds` has it.
        NaN for a label that stands in no neighborhood.

    Raises
    ------
    SchemaError
        If the Dataset has no neighborhoods, or lacks the score of a cell that stands in one.

    Examples
    --------
    >>> import amici_xr
    >>> ds = amici_xr.testing.simulate_dataset(n_cells=200)
    >>> enriched = amici_xr.attention_enrichment(ds)
    >>> enriched.enrichment.dims
    ('label', 'head')
    >>> bool(abs((enriched.enrichment * enriched.neighborhood_share).sum("label") - 1).max() < 1e-9)
    True
    """
    observed = attention_by_distance(ds, bins=1, by_sample=by_sample).isel(
        distance_bin=0, drop=True
    )
    n_pairs = observed["n_pairs"]
    received = (observed["mean_attention"] * n_pairs).fillna(0)
    neighborhood_share = n_pairs / n_pairs.sum("label").where(n_pairs.sum("label") > 0)
    attention_share = (received / received.sum("label")).where(n_pairs > 0)
    result = xr.Dataset(
        {
            "enrichment": attention_share / neighborhood_share,
            "attention_share": attention_share,
            "neighborhood_share": neighborhood_share,
            "n_pairs": n_pairs,
        }
    ).drop_vars(["bin_lower", "bin_upper"], errors="ignore")
    long_names = {
        "enrichment": "attention share over neighborhood share",
        "attention_share": "share of the attention to neighbors",
        "neighborhood_share": "share of the neighbors",
        "n_pairs": "number of pairs of receiver and neighbor",
    }
    for name, long_name in long_names.items():
        result[name].attrs = {"long_name": long_name, "units": "1"}
    return ordered(result)


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


def _status(
    contact: NDArray[np.float64], is_above: NDArray[np.bool_], lengths: NDArray[np.float64]
) -> NDArray[np.str_]:
    """Return the first status that applies."""
    status = {
        "absent": np.isnan(contact),
        "within_noise": ~is_above,
        "does_not_fall": np.isnan(lengths),
    }
    return np.select(list(status.values()), list(status), "falls").astype("<U13")


def _first_fall(
    curve: NDArray[np.float64], distance: NDArray[np.float64], fraction: float
) -> NDArray[np.float64]:
    """Find where each curve, (..., distance), first falls to a fraction of its first value."""
    level = fraction * curve[..., :1]
    is_below = curve <= level
    at = np.argmax(is_below, axis=-1)[..., np.newaxis]
    before = np.maximum(at - 1, 0)
    upper, lower = (np.take_along_axis(curve, place, -1) for place in (before, at))
    with np.errstate(invalid="ignore", divide="ignore"):
        share = (upper - level) / (upper - lower)
        lengths = distance[before] + share * (distance[at] - distance[before])
    falls = is_below.any(axis=-1) & (curve[..., 0] > 0)
    return np.where(falls, lengths[..., 0], np.nan)

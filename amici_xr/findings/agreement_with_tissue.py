"""Whether a tissue supports what a model says of it, pair by pair."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.special import stdtr

from amici_xr.analysis.effect_reach import effect_length_scale
from amici_xr.analysis.effect_step import effect_step
from amici_xr.analysis.effects import check_effects
from amici_xr.dataset.reduction import ordered
from amici_xr.dataset.response_schema import GENES_OF_DETECTABLE_EFFECT
from amici_xr.dataset.schema import has_neighborhoods
from amici_xr.dataset.units import MICRON
from amici_xr.errors import SchemaError, check_fraction, check_positive_number
from amici_xr.findings.matched_response import (
    describe_match,
    match_evidence,
    match_response,
    microns_per_unit,
    warn_of_unknown_types,
)

_STRICT = "q_value_strict"
_FEWEST_GENES = 3  # with fewer a correlation has no p
_LONG_NAMES = {
    "correlation": "correlation over genes of the model's effect at contact with the tissue's",
    "correlation_p_value": "one-sided p of the correlation, as if genes were independent",
    "slope": "effect in the model on effect in the tissue, through the origin",
    "n_genes": "number of genes compared",
    "model_effect": "the model's step at the radius, as one of 8 genes in standard deviations",
    "detectable_effect": "least step that the tissue shows with 80% power",
    "contact_effect": "norm over genes of the effect at contact",
    "effect_status": "status of the effect length scale",
    "tissue_q_value": "q value of the tissue",
    "in_model": "whether the model holds that the pair interacts",
    "in_tissue": "whether the tissue says that the pair interacts",
}


def compare_with_tissue(
    ds: xr.Dataset,
    response: xr.Dataset,
    *,
    q: str = "q_value",
    significance_level: float = 0.05,
    least_effect: float | None = None,
    evidence: xr.Dataset | None = None,
) -> xr.Dataset:
    """Compare what a model says of each pair with what the tissue alone says of it.

    The tissue speaks by its q. A model that was trained on a tissue has none, and what it explains
    of its training cells is not evidence; so it speaks by the size of its effect, in the contrast
    that the tissue was asked about: receivers within the radius against the others, where they
    really stand. It counts from the size on that the tissue would have shown. An effect at contact
    alone may be of distances that the model never saw, and one that does not fall does not tell
    near from far. `evidence` from held-out cells or refits decides instead, where it is given.
    "In both" asks for more than two calls: the same genes must change, in the same direction.

    Parameters
    ----------
    ds
        The Dataset of the model, of ``extract(..., effects=True)``.
    response
        The result of `distance_response`, of the same tissue. Genes and cell types are matched by
        name.
    q
        Which q of the tissue decides: "q_value", "q_value_beyond_niche", "q_value_strict" or, where
        there are samples, "q_value_over_samples". With "q_value_strict", genes that leaking
        transcripts could explain are left out of correlation and slope too.
    significance_level
        Value below which q, and the p of the correlation, count; strictly between 0 and 1.
    least_effect
        Size of ``model_effect`` from which on the model holds that a pair interacts; None takes
        the ``detectable_effect`` of each pair, which the tissue would have shown with 80% power.
    evidence
        Evidence for the model: a Dataset with ``q_value`` by query and label. The model holds that
        those pairs interact whose q is below `significance_level`, whatever their size; pairs
        without a q are not tested.

    Returns
    -------
    xarray.Dataset
        Dims (label), with ``query`` and ``run`` in front where `ds` has them:

        ``verdict``
            ``in both`` (called in the tissue and held by the model, with a positive and significant
            correlation), ``tissue only`` (the model missed it, or changes other genes),
            ``model only`` (the tissue does not support it), ``neither``, or ``not tested`` (the
            tissue could not test the pair, or the model met no such neighbor);
        ``correlation``, ``correlation_p_value``
            Pearson's, over genes, of the model's ``counterfactual_effect`` m at contact with the
            tissue's ``effect`` t, and its one-sided p from Student's t with ``n_genes`` − 2 degrees
            of freedom, which is too small where genes go together;
        ``slope``
            ``Σ m·t / Σ t²``, through the origin: 1 where the model's changes are as large as the
            tissue's. Noise of t draws it towards 0;
        ``n_genes``
            genes that both have;
        ``model_effect``
            the model's step, as one of 8 genes in standard deviations:
            ``√(Σ_genes (mean_within c(d) − mean_beyond c(d))² / var / 8)``, with c
            ``counterfactual_effect``, d the distance of a receiver's nearest such neighbor, within
            or beyond ``radius`` (without such a neighbor, the distance of its farthest one), and
            var ``gene_variance``; NaN where no receiver is within, or none beyond;
        ``detectable_effect``
            of the tissue, in the same unit;
        ``contact_effect``
            norm over genes of the effect at contact, in units of expression;
        ``effect_length_scale``, ``effect_status``
            as `effect_length_scale` gives them, in µm;
        ``radius``, ``tissue_q_value``
            of the tissue; `radius` in µm;
        ``in_model``, ``in_tissue``
            what each says by itself.

        The attributes tell the settings, what only one of the two has, and how the unit of `ds` was
        read: one that is unknown is taken for µm.

    Raises
    ------
    ValueError
        If an argument lies out of its range, or the unit of `ds` can't be converted to µm.
    NotFoundError
        If the response has no such q.
    SchemaError
        If `ds` has no effects or no neighborhoods, ``response`` is not a distance response, they
        share no cell types or no genes, or `evidence` has no ``q_value`` by query and label.

    Warns
    -----
    UserWarning
        If the response has cell types that the model does not know.

    Examples
    --------
    >>> import amici_xr
    >>> model, adata = amici_xr.demo()
    >>> ds = amici_xr.extract(model, "Tumor", adata, effects=True, progress=False)
    >>> response = amici_xr.distance_response(adata, "cell_type", progress=False)
    >>> compared = amici_xr.compare_with_tissue(ds, response)
    >>> compared.verdict.sel(label=["Fibroblast", "Macrophage"]).values.tolist()
    ['in both', 'neither']
    >>> float(compared.correlation.sel(label="Fibroblast").round(3))
    0.998
    """
    check_effects(ds)
    level = check_fraction("significance_level", significance_level)
    if least_effect is not None:
        least_effect = check_positive_number("least_effect", least_effect)
    if not has_neighborhoods(ds):
        raise SchemaError(
            "this Dataset has no neighborhoods, which tell where the neighbors really stand; "
            "extract it again with effects=True"
        )
    microns = microns_per_unit(ds)
    matched = match_response(ds, response, q)
    if least_effect is None and evidence is None and "detectable_effect" not in matched:
        raise SchemaError(
            "response has no detectable_effect, without which compare_with_tissue needs "
            "least_effect, a size in standard deviations, e.g. least_effect=0.3"
        )
    warn_of_unknown_types(ds, response)
    reach = effect_length_scale(ds).compute().drop_vars("cell_type_color", errors="ignore")
    result = _compare_genes(matched, is_strict=q == _STRICT)
    result["model_effect"] = _size_of_step(ds, matched["radius"] / microns)
    detectable = matched.get("detectable_effect", xr.full_like(matched["radius"], np.nan))
    status = reach["status"]
    if evidence is None:
        is_asked = status != "absent"
        in_model = ~status.isin(["absent", "within_noise"])
        least = detectable if least_effect is None else least_effect
        in_model &= result["model_effect"] >= least
    else:
        q_of_model = match_evidence(ds, evidence)
        is_asked, in_model = q_of_model.notnull() & (status != "absent"), q_of_model < level
    is_tested = is_asked & (matched["status"] == "tested") & matched["q"].notnull()
    result |= {
        "in_model": is_tested & in_model,
        "in_tissue": is_tested & (matched["q"] < level),
        "detectable_effect": detectable,
        "contact_effect": reach["contact_effect"],
        "effect_length_scale": reach["effect_length_scale"] * microns,
        "effect_status": status,
        "radius": matched["radius"],
        "tissue_q_value": matched["q"],
    }
    agrees = (result["correlation"] > 0) & (result["correlation_p_value"] < level)
    result["verdict"] = xr.apply_ufunc(
        _verdict, is_tested, result["in_model"], result["in_tissue"], agrees
    )
    compared = ordered(xr.Dataset(result))
    for name, array in compared.data_vars.items():
        array.attrs = {"long_name": _LONG_NAMES.get(str(name), str(name).replace("_", " "))}
    for name in ("effect_length_scale", "radius"):
        compared[name].attrs["units"] = MICRON
    return compared.assign_attrs(
        tissue_evidence=q,
        model_evidence="size of its effect" if evidence is None else "q_value of evidence",
        significance_level=level,
        least_effect="detectable_effect" if least_effect is None else least_effect,
        **describe_match(ds, response),
    )


def _compare_genes(matched: xr.Dataset, *, is_strict: bool) -> dict[str, xr.DataArray]:
    """Compute correlation with its p, slope, and number of genes of each pair."""
    model, tissue = matched["contact"], matched["effect"]
    is_used = model.notnull() & tissue.notnull()
    if is_strict:
        is_used &= ~matched["may_be_spillover"]
    model, tissue = model.where(is_used), tissue.where(is_used)
    deviations = [array - array.mean("gene") for array in (model, tissue)]
    squares = [(deviation**2).sum("gene") for deviation in deviations]
    scale = (squares[0] * squares[1]) ** 0.5
    product = (deviations[0] * deviations[1]).sum("gene")
    correlation = (product / scale.where(scale > 0)).clip(-1, 1)  # rounding may take it beyond
    n_genes, square = is_used.sum("gene"), (tissue**2).sum("gene")
    return {
        "correlation": correlation,
        "correlation_p_value": xr.apply_ufunc(_p_of_correlation, correlation, n_genes),
        "slope": (model * tissue).sum("gene") / square.where(square > 0),
        "n_genes": n_genes,
    }


def _size_of_step(ds: xr.Dataset, radius: xr.DataArray) -> xr.DataArray:
    """Return the size of the model's step in the unit of ``detectable_effect``."""
    variance = ds["gene_variance"].compute()
    square = effect_step(ds, radius) ** 2 / variance.where(variance > 0)
    return (square.sum("gene", min_count=1) / GENES_OF_DETECTABLE_EFFECT) ** 0.5


def _p_of_correlation(
    correlation: NDArray[np.float64], n_genes: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the one-sided p of a correlation above 0."""
    freedom = np.maximum(n_genes - 2, 1)
    with np.errstate(divide="ignore"):
        t = correlation * np.sqrt(freedom / (1 - correlation**2))
    return np.where(n_genes >= _FEWEST_GENES, stdtr(freedom, -t), np.nan)


def _verdict(*conditions: NDArray[np.bool_]) -> NDArray[np.str_]:
    """Return the verdict from what was tested, is in the model, in the tissue, and agrees."""
    is_tested, in_model, in_tissue, agrees = np.broadcast_arrays(*conditions)
    verdicts = {
        "not tested": ~is_tested,
        "in both": in_model & in_tissue & agrees,
        "tissue only": in_tissue,
        "model only": in_model,
    }
    return np.select(list(verdicts.values()), list(verdicts), "neither").astype("<U11")

"""How much better the model predicts receivers with a sender than without it."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from amici_xr.analysis.effects import IN_SAMPLE, UNKNOWN_SAMPLE, check_effects
from amici_xr.dataset.ablation import ablation_of
from amici_xr.dataset.kinds import KIND
from amici_xr.dataset.reduction import ordered
from amici_xr.dataset.selection import one_run
from amici_xr.errors import SchemaError, check_choice, check_fraction
from amici_xr.kernels.permutation import benjamini_hochberg
from amici_xr.kernels.spatial.basis import prepare
from amici_xr.kernels.spatial.mean import infer_mean
from amici_xr.uncertainty.intervals import bootstrap_ci

Floats = NDArray[np.float64]

_WITHOUT_RECEIVERS = {"n_receivers": 0, "status": "absent", "interval_status": "absent"}
_UNITS = ("spatial", "cell", "sample")


def prediction_gain(
    ds: xr.Dataset,
    *,
    held_out: bool | None = None,
    resampling_unit: str = "spatial",
    confidence_level: float = 0.95,
) -> xr.Dataset:
    """Measure by how much each sender improves the prediction of its receivers, with intervals.

    The squared error without the sender minus that with it, over the squared deviation from the
    mean of the type, each summed over receivers and genes. In cells that the model was trained on
    it misleads, and is no evidence: a model trained on a permuted tissue explains its own cells
    too.

    Parameters
    ----------
    ds
        The Dataset, of ``extract(..., effects=True)``.
    held_out
        True takes the receivers that training left out, False all; None takes those left out where
        the file knows any, else all. The attribute ``evaluated_on`` and `status` say which.
    resampling_unit
        "spatial" allows for spatial autocorrelation and needs coordinates; "cell" takes receivers
        as independent; "sample" takes the samples. As in `bootstrap`.
    confidence_level
        Coverage of the intervals, strictly between 0 and 1.

    Returns
    -------
    xarray.Dataset
        Dims (label), ``query`` in front where `ds` has it:

        ``gain``
            share of the squared deviation;
        ``ci_lower``, ``ci_upper``
            its interval: that of the mean of the receivers' gains, linearized, since the gain is a
            ratio of means;
        ``p_value``, ``q_value``
            of held-out receivers and "spatial" alone: one-sided p that the mean gain is not above
            0, under spatial autocorrelation, and the same adjusted over all pairs (Benjamini and
            Hochberg);
        ``n_receivers``
            number of receivers;
        ``status``
            ``absent`` (no receiver has such a neighbor), ``in_sample`` (cells of the training are
            among the receivers, or may be), ``held_out``;
        ``interval_status``, ``effective_patches``
            as in `bootstrap`, for "spatial" and "sample".

    Raises
    ------
    ValueError
        If an argument lies out of its range, or the Dataset holds several runs.
    SchemaError
        If the Dataset has no effects, lacks what `resampling_unit` needs, or does not know which
        receivers are held out though `held_out` asks for them.

    Examples
    --------
    >>> import amici_xr
    >>> model, adata = amici_xr.demo()
    >>> ds = amici_xr.extract(model, "Tumor", adata, effects=True, progress=False)
    >>> gain = amici_xr.prediction_gain(ds).sel(label="Fibroblast")
    >>> float(gain.gain.round(2)), gain.status.item()
    (2.08, 'in_sample')
    """
    check_effects(ds)
    confidence_level = check_fraction("confidence_level", confidence_level)
    check_choice("resampling_unit", resampling_unit, _UNITS)
    ds = one_run(ds, "each run has gains of its own")
    ds, is_held_out, evaluated = _choose_receivers(ds, held_out)
    names = ds["receiver_label"].values
    results = {
        str(query): _gain_of_query(
            ds.isel(receiver=np.flatnonzero(names == query)),
            resampling_unit,
            confidence_level,
            is_held_out,
        )
        for query in np.atleast_1d(ds["query"].values)
        if (names == query).any()
    }
    if not results:
        raise SchemaError("this Dataset holds no receiver of its queries, and so no gain")
    if "query" in ds.dims:
        dim = xr.DataArray(list(results), dims="query", name="query")
        together = xr.concat(
            list(results.values()), dim, coords="minimal", compat="override", data_vars="all"
        )
        result = together.reindex(query=ds["query"], fill_value=_WITHOUT_RECEIVERS)
    else:
        result = next(iter(results.values())).assign_coords(query=ds["query"])
    if "p_value" in result:
        q_value = benjamini_hochberg(result["p_value"].values)
        result["q_value"] = result["p_value"].copy(data=q_value)
        result["q_value"].attrs = {"long_name": "p_value adjusted over all pairs", "units": "1"}
    attributes = {
        KIND: "prediction_gain",
        "evaluated_on": evaluated,
        "confidence_level": confidence_level,
    }
    result.attrs = attributes | {
        "resampling_unit": resampling_unit,
        "ablation": str(ablation_of(ds)),
    }
    return ordered(result)


def _choose_receivers(ds: xr.Dataset, held_out: bool | None) -> tuple[xr.Dataset, bool, str]:
    """Return the Dataset of these receivers, whether all are held out, and that in words."""
    if "is_held_out" not in ds.variables:
        if held_out:
            raise SchemaError(
                "held_out=True, but this Dataset does not tell which receivers training left out "
                "(is_held_out); leave out held_out, or extract with the model as it was saved"
            )
        return ds, False, UNKNOWN_SAMPLE
    known = ds["is_held_out"].values
    if held_out and not known.any():
        raise SchemaError("held_out=True, but training left no receiver of this Dataset out")
    if held_out or (held_out is None and known.any()):
        return ds.isel(receiver=np.flatnonzero(known)), True, "held-out cells"
    return ds, bool(known.all()), IN_SAMPLE


def _gain_of_query(
    ds: xr.Dataset, unit: str, confidence_level: float, is_held_out: bool
) -> xr.Dataset:
    """Compute the gains of the receivers of one query, (label)."""
    gains = ds["prediction_gain"].astype(np.float64).rename(cell_type="label")
    gains = gains.transpose("label", "receiver").drop_vars("cell_type_color", errors="ignore")
    deviation = ds["squared_deviation"].drop_vars("receiver_label")
    mean_deviation = float(deviation.mean())
    ratio = gains.mean("receiver") / mean_deviation
    # The mean of these is the ratio, and their deviations those of its linearization.
    linearized = ratio + (gains - ratio * deviation) / mean_deviation
    interval = bootstrap_ci(
        linearized.rename("gain").transpose("label", "receiver"),
        dim="receiver",
        by=None,
        statistic="mean",
        confidence_level=confidence_level,
        resampling_unit=unit,  # type: ignore[arg-type]  # checked
    )
    interval = interval.rename(point_estimate="gain")
    is_present = (gains != 0).any("receiver")
    status = np.where(is_present.values, "held_out" if is_held_out else "in_sample", "absent")
    interval["status"] = ("label", status)
    if is_held_out and unit == "spatial":
        interval["p_value"] = ("label", _p_of_mean(gains))
        interval["p_value"].attrs = {"long_name": "p that the gain is not above 0", "units": "1"}
    for name in {"gain", "ci_lower", "ci_upper", "p_value"} & set(interval):
        interval[name] = interval[name].where(is_present)
    long_name = "gain over the squared deviation from the mean of the type"
    interval["gain"].attrs = {"long_name": long_name, "units": "1"}
    return interval


def _p_of_mean(gains: xr.DataArray) -> Floats:
    """Test whether the mean over receivers is above 0, of gains (label, receiver)."""
    places = np.stack([gains["receiver_x"].values, gains["receiver_y"].values], axis=-1)
    has_samples = "receiver_sample" in gains.coords
    sample = gains["receiver_sample"].values.astype(str) if has_samples else None
    return infer_mean(gains.values, prepare(places, sample)).p_value(0.0, "greater")

"""Refit without each sender, and compare errors on cells that no model learned to predict."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr

from amici_xr.dataset.units import MICRON, check_distance_number
from amici_xr.errors import check_fraction
from amici_xr.refits.arguments import (
    FEWEST_RUNS,
    OF_TRAINING,
    OWNER,
    check_at_least,
    check_further,
    choose_batch_size,
    find_scales,
    make_folder,
)
from amici_xr.refits.cross_fitting import Members, assign_folds, cross_fit
from amici_xr.refits.result import refit_dataset
from amici_xr.response.arguments import check_subset
from amici_xr.tissue.cells import read_tissue
from amici_xr.training.pipeline import KEYS, register_tissue
from amici_xr.training.preparation import find_neighborhoods
from amici_xr.training.settings import check_run_seed

if TYPE_CHECKING:
    import anndata
    import spatialdata
    import torch


def leave_out_senders(
    adata: anndata.AnnData | spatialdata.SpatialData | str | os.PathLike[str],
    labels_key: str,
    *,
    coord_key: str = "spatial",
    layer: str | None = None,
    n_neighbors: int = 50,
    cell_radius_key: str | None = None,
    sample_key: str | None = None,
    senders: Sequence[str] | str | None = None,
    n_folds: int = 2,
    n_runs: int = 3,
    seed: int = 0,
    split_seed: int = 0,
    smooth_scale: float | None = 150.0,
    microns_per_unit: float | None = None,
    permute: Literal["labels", "positions", "expression"] | None = None,
    max_epochs: int = 60,
    batch_size: int | None = None,
    confidence_level: float = 0.95,
    device: str | torch.device | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: bool = True,
    **training: Any,
) -> xr.Dataset:
    """Test which senders models need, to predict cells that they were not trained to predict.

    The tissue is cut into folds of whole patches. In each, models are trained on the other folds:
    some with all senders, and as many without each of them, whose cells no receiver then sees,
    neither in training nor in prediction. For receiver i and sender S,

    ``gain_i(S) = (x − ŷ without S)² − (x − ŷ)²``, for each gene,

    by models that were not trained to predict i, where ŷ is the mean of the predictions of all
    runs. If other senders tell as much as S does, the refitted models make up for it, and the gain
    is 0. What neighbors tell of the place alone is regressed out of x first (`smooth_scale`).

    Parameters
    ----------
    adata
        AnnData or SpatialData, or the path of an ``.h5ad`` or ``.zarr``, with log-normalized
        expression. It is not changed.
    labels_key, coord_key, layer, n_neighbors, cell_radius_key, sample_key
        As in `train`.
    senders
        Cell types to leave out, one at a time; None takes all. p-values are adjusted over the
        tested pairs alone.
    n_folds
        Number of folds, at least 2.
    n_runs
        Number of seeds, at least 2. The models of one seed share initial weights, batches and
        dropped neighbors.
    seed
        Of the first run; each further run has the next.
    split_seed
        Seed of the folds, of batches and of `permute`.
    smooth_scale
        Half wavelength in µm of the finest wave over the tissue that is regressed out of what
        models predict, gene by gene, together with the mean expression of that gene in the
        neighborhood (Gaussian weights of 8, 16, 32 and 64 µm): neighbors tell where in the tissue a
        receiver lies, which is not an interaction. There are at most as many waves as a twentieth
        of the cells of a type in a sample. Coefficients are those of training cells, and residuals
        of held-out cells are regressed once more. None regresses nothing out.
    microns_per_unit
        Length of a coordinate unit in µm; None takes the unit that the AnnData names in ``uns``,
        and µm where it names none.
    permute
        As in `train`: refits of a tissue whose links are broken on purpose, to see what chance
        gives.
    max_epochs
        As in `train`.
    batch_size
        As in `train`; None takes 128, and fewer where the cells are few, since what counts is the
        number of steps: at least 24 in an epoch.
    confidence_level
        Coverage of the intervals, strictly between 0 and 1.
    device
        As in `train`.
    checkpoint
        Folder, made if it isn't there, to which all is written that a killed call needs to go on.
        It may be deleted afterwards.
    progress
        Whether to tell how long it takes, and to show a progress bar for each fold.
    **training
        Further arguments of `train`, one value each: penalties, learning rate, sizes. By default
        layers are small (label 16, query 32 and 64, cell 64 and 128, key 64, position 64),
        ``adam_epsilon`` is 0.001, the penalty rises in the third quarter of the epochs, and
        ``validation`` is None: all models train for `max_epochs`.

    Returns
    -------
    xarray.Dataset
        Over (query, label): ``gain``, summed over genes, over the squared deviation from the mean
        of the type; ``ci_lower``, ``ci_upper``, its interval; ``p_value``, the harmonic mean of
        two: those of the genes combined (Simes), and that of the gain beyond what it would be if
        every gene gained like the median gene; ``q_value``, adjusted over all pairs (Benjamini and
        Hochberg); ``n_receivers``, ``n_with_sender``; ``effective_patches``; ``status``: "tested";
        "same_type" (neighbors are of other types); "absent" (no receiver has such a neighbor);
        "too_few_receivers" (fewer than 30 beyond the columns of the regression, or fewer than 10 to
        train on in a fold); "no_variation" (of any gene); "diverged" (the loss of a model became
        NaN). The interval takes the squared deviation for known, and speaks of the sum over genes:
        it may hold 0 where p, which a single gene can make small, is small.

        Over (query, label, gene): ``gene_gain``, ``gene_p_value``, one-sided, of the mean over
        receivers, under spatial autocorrelation and with the variance over runs (a jackknife)
        added; ``gene_q_value``, adjusted over the genes of the pair.

        ``gain_by_run`` has dims (query, label, fold, run): each run's prediction by itself.
        ``explained_variance`` (query) says how much models with all senders explain at all.

    Raises
    ------
    NotFoundError
        If a key, layer or cell type is not there.
    ValueError
        If an argument lies out of its range, the tissue can't be trained on, as for `train`, or
        the checkpoint is of another call.
    TypeError
        If an argument is not one of `train`, or is set by the folds and runs.
    FileExistsError
        If `checkpoint` is a file.
    ModuleNotFoundError
        If scvi-tools is not installed; the message says how to.

    Notes
    -----
    A sender whose cells always come with those of another shares its gain with it: neither may be
    found. Transcripts that leak into touching cells, and expression that follows clumps of cells
    finer than a few cells, look like an interaction here too.

    References
    ----------
    Lei et al., Distribution-free predictive inference for regression, JASA 113 (2018), 1094–1111:
    leaving a covariate out. Williamson et al., A general framework for inference on
    algorithm-agnostic variable importance, JASA 118 (2023), 1645–1658.

    Examples
    --------
    >>> import amici_xr
    >>> tissue = amici_xr.testing.simulate_tissue(n_cells=300, n_types=3, n_genes=9, n_pairs=1)
    >>> ds = amici_xr.leave_out_senders(
    ...     tissue, "cell_type", n_neighbors=10, n_runs=2, max_epochs=1, progress=False
    ... )
    >>> ds.gain.dims, ds.status.values.tolist()[0]
    (('query', 'label'), ['same_type', 'tested', 'tested'])
    """
    given = dict(locals())
    further = check_further(given.pop("training"))
    for name, least in (("n_folds", 2), ("n_runs", FEWEST_RUNS), ("max_epochs", 1)):
        check_at_least(name, given[name], least)
    check_run_seed(seed)
    check_run_seed(split_seed, "split_seed")
    confidence_level = check_fraction("confidence_level", confidence_level)
    if smooth_scale is not None:
        smooth_scale = check_distance_number("smooth_scale", smooth_scale, MICRON, OWNER)
    keys = {name: given[name] for name in KEYS}
    registered = register_tissue(adata, keys, n_neighbors, permute, split_seed)
    tissue = read_tissue(registered, **keys)
    scales = find_scales(smooth_scale, microns_per_unit, tissue)
    codes = check_subset("senders", senders, tissue.vocabulary, "cell type")
    members = Members(tuple(tissue.vocabulary[code] for code in codes), n_runs, n_folds, seed)
    fold = assign_folds(tissue, n_folds, split_seed)
    arguments = further | {name: given[name] for name in OF_TRAINING}
    arguments["batch_size"] = choose_batch_size(batch_size, tissue.n_cells, n_folds)
    # Attention is penalized, and steps get shorter, when the effects are learned.
    arguments.setdefault("attention_penalty_epochs", (max_epochs // 2, 5 * max_epochs // 6))
    neighborhoods = find_neighborhoods(tissue, n_neighbors)
    gains, bases = cross_fit(
        registered,
        tissue,
        neighborhoods,
        members,
        fold,
        arguments,
        scales,
        None if checkpoint is None else make_folder(checkpoint),
    )
    n_in_fold = np.zeros((len(tissue.vocabulary), n_folds), np.int64)
    np.add.at(n_in_fold, (tissue.codes, fold), 1)
    settings = {
        **{name: given[name] for name in ("labels_key", "n_neighbors", "n_folds", "permute")},
        **{name: value for name, value in arguments.items() if name not in ("device", "progress")},
        "smooth_scale": smooth_scale,
    }
    return refit_dataset(
        gains,
        bases,
        tissue,
        neighborhoods[0],
        senders=members.senders,
        seeds=members.seeds,
        n_in_fold=n_in_fold,
        confidence_level=confidence_level,
        settings=settings,
    )

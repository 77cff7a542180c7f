"""The test itself: a tissue becomes a Dataset of pairs and the genes that respond."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from amici_xr.dataset.units import MICRON, check_distance_number
from amici_xr.errors import NotFoundError, check_choice, check_positive_number
from amici_xr.iteration import answers, one_thread_of_linear_algebra, watched
from amici_xr.response.arguments import (
    OWNER,
    check_radii,
    check_subset,
    find_microns_per_unit,
    warn_of_units,
)
from amici_xr.response.expression import TypeExpression
from amici_xr.response.receivers import Responses, Settings, judge_spillover, respond
from amici_xr.response.result import assemble
from amici_xr.response.surroundings import Surroundings
from amici_xr.tissue.cells import read_tissue

Floats = NDArray[np.float64]

LEAST_SENDERS = 20  # cells of a type, below which it is taken for absent


def distance_response(
    adata: Any,
    labels_key: str,
    *,
    coord_key: str = "spatial",
    layer: str | None = None,
    sample_key: str | None = None,
    queries: Sequence[str] | str | None = None,
    senders: Sequence[str] | str | None = None,
    genes: Sequence[str] | str | None = None,
    radii: Sequence[float] | None = None,
    trend_scale: float = 150.0,
    niche_scale: float = 30.0,
    microns_per_unit: float | None = None,
    correction: str = "bh",
    log_normalize: bool = False,
    progress: bool = True,
) -> xr.Dataset:
    """Test whether expression changes with the distance to the nearest cells of each type.

    For each ordered pair of cell types the question is whether the expression of the receivers
    (the query) changes with the distance to the nearest sender (the label), beyond smooth trends
    over the tissue, the distances to all other types, spatial autocorrelation, and chance. No
    model is needed. Each gene is regressed on a step, "a sender is nearer than r", for several r,
    with the noise of the gene as a Gaussian field whose range and strength are fitted.

    Parameters
    ----------
    adata
        AnnData or SpatialData, or the path of an ``.h5ad`` or ``.zarr``, with log-normalized
        expression.
    labels_key
        Column of ``obs`` with the cell types.
    coord_key
        Entry of ``obsm`` with the coordinates.
    layer
        Layer of the expression; None takes X.
    sample_key
        Column of ``obs`` with the samples. Distances, trend and autocorrelation stay within
        samples; effects are pooled.
    queries, senders
        Cell types to test as receivers and as senders; None takes all. All types stay in the
        regression, but p-values are adjusted over the tested pairs alone.
    genes
        Genes to test; None takes all.
    radii
        Distances in µm at which a step is tried; None takes 8 to 50 µm, each 20% above the last.
        These and the two scales may be labelled with another unit, as the attribute ``units`` of a
        DataArray is, and are then converted.
    trend_scale
        Half wavelength in µm of the finest trend over the tissue that is taken out.
    niche_scale
        Standard deviation in µm of the Gaussian weights that describe a niche.
    microns_per_unit
        Length of a coordinate unit in µm; None takes the unit that the AnnData names in ``uns``,
        as ``coord_unit`` or ``spatial_units``, and µm where it names none. There is a warning
        where the distance between nearest cells contradicts that.
    correction
        "bh" controls the false discovery rate over pairs (Benjamini and Hochberg), "holm" the
        chance of any false call.
    log_normalize
        Whether the expression holds counts, to be scaled to the median total of a cell and
        log-transformed.
    progress
        Whether to show a progress bar.

    Returns
    -------
    xarray.Dataset
        Over (query, label): ``p_value``, ``q_value``; the same with ``_beyond_niche``, where the
        composition of the neighborhood is taken out too, and with ``_strict``, from the genes
        alone that transcripts leaking from senders can't explain; ``radius`` (µm) of the step
        that fits best, which is not a length scale; ``n_receivers``; ``n_within``, receivers
        nearer than the radius; ``status`` ("tested"; "absent": fewer than 20 senders;
        "too_few_receivers": fewer than 100, or too few for the regression; "no_contrast": too
        few receivers near senders, or far from them; "same_type"); ``detectable_effect``, the
        step of eight genes, in standard deviations, that would be found with 80% power;
        ``stands_with``, other senders near which mostly the same receivers stand, so that all of
        them are one finding.

        Over (query, label, gene): ``effect``, mean expression within the radius minus that
        outside, adjusted for all else, and its standard error ``effect_se``; ``gene_p_value``
        and ``gene_q_value``, adjusted over the genes of the pair; ``may_be_spillover``.

        Over (query, label, distance_bin, gene): ``response`` and ``response_se``, adjusted mean
        expression by distance; ``mean_distance`` and ``n_in_bin`` describe the bins.

        With samples, ``effect_by_sample`` and ``effect_by_sample_se``; with three or more,
        ``q_value_over_samples`` and ``gene_p_value_over_samples`` of t tests that take samples,
        not cells, for independent.

    Raises
    ------
    NotFoundError
        If a column, layer, cell type or gene is not there.
    ValueError
        If an argument is out of range, expression is not finite or holds raw counts, or the
        AnnData names a unit whose length is not known.

    Warns
    -----
    UserWarning
        If coordinates can hardly be µm.

    Notes
    -----
    A small q says that expression depends on distance, not why. Expression that follows clumps
    of the types is found too, unless ``q_value_beyond_niche`` is asked; clumps finer than 30 µm
    can't be told from contact. Transcripts that leak into touching cells look exactly like a
    response: compare ``q_value_strict``.

    Examples
    --------
    >>> import amici_xr
    >>> tissue = amici_xr.testing.simulate_tissue(n_cells=700, n_types=3, n_genes=9, n_pairs=1)
    >>> ds = amici_xr.distance_response(tissue, "cell_type", progress=False)
    >>> ds.q_value.where(ds.q_value < 0.05, drop=True).sizes
    Frozen({'query': 1, 'label': 1})
    """
    radii_in_microns = check_radii(radii)
    trend_scale = check_distance_number("trend_scale", trend_scale, MICRON, OWNER)
    niche_scale = check_distance_number("niche_scale", niche_scale, MICRON, OWNER)
    check_choice("correction", correction, ("bh", "holm"))
    if microns_per_unit is not None:
        check_positive_number("microns_per_unit", microns_per_unit)
    tissue = read_tissue(
        adata, labels_key=labels_key, coord_key=coord_key, layer=layer, sample_key=sample_key
    )
    if tissue.positions is None:
        raise NotFoundError(
            f"adata.obsm has no {coord_key!r}, where the coordinates of the cells are expected"
        )
    factor, condition = find_microns_per_unit(microns_per_unit, tissue.unit_entries)
    names = tissue.vocabulary
    query_codes = check_subset("queries", queries, names, "cell type")
    sender_codes = check_subset("senders", senders, names, "cell type")
    gene_numbers = check_subset("genes", genes, tissue.expression.genes, "gene")
    samples = tissue.sample_codes
    if samples is None:
        samples = np.zeros(tissue.n_cells, dtype=np.intp)
    positions = (tissue.positions - tissue.positions.mean(axis=0)) * factor
    spacing = warn_of_units(positions, samples, condition)
    n_of_type = np.bincount(tissue.codes, minlength=len(names))
    is_type = n_of_type >= LEAST_SENDERS
    surroundings = Surroundings(
        positions, tissue.codes, samples, np.flatnonzero(is_type), len(names)
    )
    settings = Settings(radii_in_microns, radii_in_microns[1::2], trend_scale, niche_scale)
    expression = TypeExpression(tissue, gene_numbers, log_normalize=log_normalize)
    means = np.empty((len(names), len(gene_numbers)))
    found: dict[int, Responses] = {}
    reading = Lock()

    def evaluate(code: int) -> None:
        cells = np.flatnonzero(tissue.codes == code)
        with reading:
            values = expression.read(cells, names[code])
        means[code] = values.mean(axis=0)
        if code in query_codes:
            found[code] = respond(
                code,
                sender_codes,
                cells,
                values,
                positions,
                samples,
                surroundings,
                is_type,
                n_of_type / n_of_type.sum(),
                settings,
            )

    largest_first = np.argsort(-n_of_type, kind="stable").tolist()
    evaluated = watched(
        answers(evaluate, largest_first),
        "receiving types",
        "type",
        "model",
        is_shown=progress,
        total=len(names),
    )
    with one_thread_of_linear_algebra():
        for _ in evaluated:
            pass
    is_spillover = np.stack(
        [judge_spillover(found[code], means[sender_codes], means[code]) for code in query_codes]
    )
    return assemble(
        [found[code] for code in query_codes],
        is_spillover,
        n_receivers=n_of_type[query_codes],
        queries=[names[code] for code in query_codes],
        labels=[names[code] for code in sender_codes],
        genes=[tissue.expression.genes[gene] for gene in gene_numbers],
        vocabulary=names,
        samples=[] if tissue.samples is None else np.unique(tissue.samples).tolist(),
        settings=settings,
        correction=correction,
        spacing=spacing,
        source=f"distance_response of adata.obs[{labels_key!r}]",
    )

"""The test itself: a tissue becomes a Dataset of pairs and the genes that respond."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from amici_xr.errors import NotFoundError, check_choice, check_positive_number, listed
from amici_xr.iteration import watched
from amici_xr.response.arguments import check_radii, check_subset, warn_of_units
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
    """Test whether expression changes with the distance to the nearest cells of each type."""
    radii_in_microns = check_radii(radii)
    trend_scale = check_positive_number("trend_scale", trend_scale)
    niche_scale = check_positive_number("niche_scale", niche_scale)
    check_choice("correction", correction, ("bh", "holm"))
    unit = 1.0
    if microns_per_unit is not None:
        unit = check_positive_number("microns_per_unit", microns_per_unit)
    tissue = read_tissue(
        adata, labels_key=labels_key, coord_key=coord_key, layer=layer, sample_key=sample_key
    )
    if tissue.positions is None:
        raise NotFoundError(f"adata.obsm has no {coord_key!r}")
    names = tissue.vocabulary
    query_codes = check_subset("queries", queries, names, "cell type")
    sender_codes = check_subset("senders", senders, names, "cell type")
    gene_numbers = check_subset("genes", genes, tissue.expression.genes, "gene")
    samples = tissue.sample_codes
    if samples is None:
        samples = np.zeros(tissue.n_cells, dtype=np.intp)
    positions = (tissue.positions - tissue.positions.mean(axis=0)) * unit
    spacing = warn_of_units(positions, samples, microns_per_unit is not None)
    n_of_type = np.bincount(tissue.codes, minlength=len(names))
    is_type = n_of_type >= LEAST_SENDERS
    surroundings = Surroundings(
        positions, tissue.codes, samples, np.flatnonzero(is_type), len(names)
    )
    settings = Settings(
        radii_in_microns, radii_in_microns[1::2], trend_scale, niche_scale
    )
    expression = TypeExpression(tissue, gene_numbers, log_normalize=log_normalize)
    means = np.empty((len(names), len(gene_numbers)))
    found: dict[int, Responses] = {}
    for code in watched(
        range(len(names)), "receiving types", "type", "model", is_shown=progress
    ):
        cells = np.flatnonzero(tissue.codes == code)
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
        settings=settings,
        correction=correction,
        spacing=spacing,
        source=f"distance_response of adata.obs[{labels_key!r}]",
    )

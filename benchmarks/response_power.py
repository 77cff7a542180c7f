"""Steps added to a real tissue: how many ``distance_response`` finds, and what else it calls.

Run with ``AMICI_XR_DATA=… python benchmarks/response_power.py``. The tissue is MERFISH; it is
tested as it is, with expression permuted within types, permuted within types and patches of
200 µm, and with steps added (`amici_xr.testing.plant_steps`).
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

import amici_xr

if TYPE_CHECKING:
    import anndata

LEVEL = 0.05
PATCH = 200.0  # µm
DETECTABLE = 2.6  # oracle z of a pair
Q_VALUES = ("q_value", "q_value_beyond_niche", "q_value_strict")


def called(ds: xr.Dataset, name: str = "q_value") -> set[tuple[str, str]]:
    """Return the called pairs (query, label)."""
    is_called = ds[name].to_pandas().stack()
    return set(is_called.index[is_called < LEVEL])


def permuted(tissue: anndata.AnnData, groups: NDArray[np.object_], seed: int) -> anndata.AnnData:
    """Return the tissue with the expression of cells exchanged within groups."""
    rng = np.random.default_rng(seed)
    source = np.arange(tissue.n_obs)
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        source[members] = rng.permutation(members)
    shuffled = tissue.copy()
    shuffled.X = tissue.X[source]
    return shuffled


def tested(tissue: anndata.AnnData) -> xr.Dataset:
    """Return the distance response of a tissue."""
    return amici_xr.distance_response(tissue, "cell_type", progress=False)


def print_pairs(ds: xr.Dataset) -> None:
    """Print the pairs that are called, and their strongest genes."""
    for query, label in sorted(called(ds) | called(ds, Q_VALUES[1]) | called(ds, Q_VALUES[2])):
        pair = ds.sel(query=query, label=label)
        order = np.argsort(pair["gene_p_value"].values, kind="stable")[:5]
        genes = [
            f"{pair['gene'].values[gene]} {pair['effect'].values[gene]:+.2f}"
            + ("*" if pair["may_be_spillover"].values[gene] else "")
            for gene in order
        ]
        q = " ".join(f"{pair[name].item():.2g}" for name in Q_VALUES)
        print(f"  {label} → {query}: q {q}; {pair['radius'].item():.0f} µm; {', '.join(genes)}")


def add_steps(tissue: anndata.AnnData, effect: float, n_draws: int, seed: int) -> None:
    """Print how many of the added steps are found, and what else is called."""
    base = {name: called(tested(tissue), name) for name in Q_VALUES[:1]}["q_value"]
    n_found = n_planted = n_detectable = n_detected = n_beyond = 0
    others = 0
    for draw in range(n_draws):
        with_steps = amici_xr.testing.plant_steps(
            tissue, "cell_type", effect=effect, seed=seed + draw
        )
        planted = with_steps.uns["planted"].groupby(["query", "label"])["oracle_z"].first()
        ds = tested(with_steps)
        found, beyond = called(ds), called(ds, Q_VALUES[1])
        detectable = set(planted.index[planted >= DETECTABLE])
        n_planted += len(planted)
        n_found += len(found & set(planted.index))
        n_beyond += len(beyond & set(planted.index))
        n_detectable += len(detectable)
        n_detected += len(found & detectable)
        others += len(found - set(planted.index) - base)
    print(
        f"{effect:g} sd: {n_found} of {n_planted} found ({n_beyond} beyond the niche), "
        f"{n_detected} of {n_detectable} detectable; {others} others that are not called without "
        "steps",
        flush=True,
    )


def main() -> None:
    """Print all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=3, metavar="3")
    parser.add_argument("--permutations", type=int, default=5, metavar="5")
    parser.add_argument("--seed", type=int, default=0, metavar="0")
    arguments = parser.parse_args()
    import anndata

    tissue = anndata.read_h5ad(Path(os.environ["AMICI_XR_DATA"]) / "merfish" / "adata.h5ad")
    labels = tissue.obs["cell_type"].astype(str).to_numpy(dtype=object)
    patch = pd.DataFrame(tissue.obsm["spatial"] // PATCH).astype(int).astype(str)
    in_patches = labels + "/" + patch[0].to_numpy(object) + "/" + patch[1].to_numpy(object)
    ds = tested(tissue)
    print(f"as it is: {int((ds['status'] == 'tested').sum())} pairs tested")
    print_pairs(ds)
    for name, groups in (("types", labels), ("types and patches", in_patches)):
        seeds = range(arguments.seed, arguments.seed + arguments.permutations)
        results = [tested(permuted(tissue, groups, seed)) for seed in seeds]
        calls = {q: [len(called(ds, q)) for ds in results] for q in Q_VALUES}
        print(f"permuted within {name}: calls {calls}", flush=True)
    for effect in (1.0, 0.5, 0.25):
        add_steps(tissue, effect, arguments.draws, arguments.seed)


if __name__ == "__main__":
    main()

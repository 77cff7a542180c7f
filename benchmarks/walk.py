"""Walk from a bare tissue to findings: what the documentation's tutorial prints and draws.

Run with ``python benchmarks/walk.py ADATA MODEL``, the MERFISH tissue and a saved model of it.
It takes half a minute.
Figures are written to ``docs/_static/walk_*.png``.
"""

import sys
import time
from pathlib import Path

import anndata
import matplotlib as mpl
import numpy as np
from response_power import permuted

import amici_xr

mpl.use("Agg")
FIGURES = Path(__file__).parents[1] / "docs" / "_static"


def main() -> None:
    """Print each step, with its time."""
    start = time.perf_counter()

    def step(words: str) -> None:
        print(f"\n--- {words} ({time.perf_counter() - start:.0f} s)\n", flush=True)

    adata = anndata.read_h5ad(sys.argv[1])
    step("the tissue")
    print(adata)
    print(adata.obs["cell_type"].value_counts().to_string())

    response = amici_xr.distance_response(adata, "cell_type", progress=False)
    step("findings from the tissue alone")
    print(amici_xr.summary(response))
    response.cf.plot_pairs().figure.savefig(FIGURES / "walk_pairs.png", dpi=110)
    pairs = {
        "ependymal": ("Inhibitory", "Ependymal"),
        "pericytes": ("Endothelial", "Pericytes"),
        "astrocyte": ("Excitatory", "Astrocyte"),
    }
    columns = ["q_value", "q_value_beyond_niche", "q_value_strict", "radius", "n_within"]
    for name, (query, label) in pairs.items():
        pair = response.sel(query=query, label=label)
        step(f"{label} → {query}")
        print(pair[columns].to_array().to_series().to_string(float_format="{:.2g}".format))
        figure = response.cf.plot_response(query, label).figure
        figure.savefig(FIGURES / f"walk_{name}.png", dpi=110)

    step("the same with expression permuted within types")
    exchanged = permuted(adata, adata.obs["cell_type"].to_numpy(object), seed=0)
    null = amici_xr.distance_response(exchanged, "cell_type", progress=False)
    print(str(amici_xr.summary(null)).splitlines()[0])

    ds = amici_xr.extract(sys.argv[2], adata=adata, effects=True, unit="µm", progress=False)
    step("a model beside it")
    print(ds.cf.explained_variance().explained_variance.to_pandas().round(3).to_string())
    print(ds.cf.compare_with_tissue(response).verdict.to_series().value_counts().to_string())
    atlas = ds.cf.plot_atlas(0.1, evidence=response)
    (atlas[0] if isinstance(atlas, np.ndarray) else atlas).figure.savefig(
        FIGURES / "walk_atlas.png", dpi=110
    )
    amici_xr.save(response, "response.nc")
    amici_xr.save(ds, "scores.nc")
    ds.cf.report("page.html", 0.1, evidence=response)
    step("files and a page are written")


if __name__ == "__main__":
    main()

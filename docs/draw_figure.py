"""Draw the figure of the tour, in the documentation: ``make figure``."""

import sys

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt

import amici_xr


def main(path: str) -> None:
    """Curves and length scales of the packaged example, side by side."""
    mpl.use("agg")
    model, adata = amici_xr.demo()
    ds = amici_xr.extract(model, "T_cell", adata, unit="µm", progress=False)
    with plt.style.context("amici_xr.figures"):
        figure, (left, right) = plt.subplots(
            1, 2, figsize=(9.5, 3.8), width_ratios=(1, 1.3), layout="constrained"
        )
        ds.cf.plot_curve(head=2, distance=np.linspace(0, 25, 101), n_traces=20, ax=left)
        ds.cf.plot_length_scale(threshold=0.1, ci=True, ax=right)
        left.get_legend().remove()  # the colors are named beside
        for label, place in {"Macrophage": (9.0, 0.7), "Fibroblast": (1.2, 0.06)}.items():
            left.annotate(label, place)
        figure.savefig(path, dpi=120, metadata={"Software": None})


if __name__ == "__main__":
    main(sys.argv[1])

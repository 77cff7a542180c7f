"""A tour of the demo: ``python -m amici_xr.demo_data [FOLDER]``."""

from __future__ import annotations

import sys
from pathlib import Path

import amici_xr

THRESHOLD = 0.1


def main(folder: Path) -> None:
    """Extract both planted receivers, compare planted with recovered reach, draw and save."""
    import matplotlib as mpl
    from matplotlib import pyplot as plt

    mpl.use("agg")
    folder.mkdir(parents=True, exist_ok=True)
    model, adata = amici_xr.demo()
    planted = adata.uns["interactions"]
    print(f"The demo: {adata.n_obs:,} cells, {adata.n_vars} genes, and {model!r}\n")
    print(
        f"Length scale: where attention falls to {THRESHOLD}; median of the sender's cells, in the"
    )
    print("head of the longest reach, with its 95% bootstrap interval over cells.\n")
    print(f"{'sender → receiver':<24}{'planted':>8}{'recovered':>11}{'interval':>18}{'head':>6}")
    written = []
    for sender, receiver, length in planted[["sender", "receiver", "length_scale"]].values:
        ds = amici_xr.extract(model, receiver, adata)
        interval = ds.cf.bootstrap(threshold=THRESHOLD, statistic="median").sel(label=sender)
        head = int(interval.point_estimate.idxmax("head"))
        best = interval.sel(head=head)
        bounds = f"[{best.ci_lower:.2f}, {best.ci_upper:.2f}]"
        print(
            f"{sender + ' → ' + receiver:<24}{length:>8.1f}{best.point_estimate:>11.2f}"
            f"{bounds:>18}{head:>6}"
        )
        name = folder / receiver
        ds.cf.save(name.with_suffix(".nc"))
        written.append(name.with_suffix(".nc"))
        curves = ds.cf.plot_curve(head=head, distance=range(0, 41))
        scales = ds.cf.plot_length_scale(threshold=THRESHOLD, ci=True)
        for axes, what in ((curves, "curve"), (scales, "length_scale")):
            for suffix in ("png", "svg"):
                written.append(folder / f"{receiver}_{what}.{suffix}")
                axes.figure.savefig(written[-1], dpi=150)
            plt.close(axes.figure)
    print(
        "\nThe interval tells how well this model's median is known, not how well the model knows"
    )
    print("the tissue: training again moves it further.\n\nWritten:")
    print("\n".join(f"    {path}" for path in written))
    print(f"\nNext: {sys.executable} -i -c 'import xarray as xr, amici_xr'")
    print(f"    >>> ds = xr.open_dataset({str(written[0])!r})")
    print("    >>> ds.cf                                   # what is there, what can be asked")
    print("    >>> ds.cf.support(threshold=0.1).status.to_pandas()")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo_output"))

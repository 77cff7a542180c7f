"""A tour of the demo: ``python -m amici_xr.demo_data [FOLDER]``."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import amici_xr
from amici_xr.demo_data import FOLDERS

THRESHOLD = 0.1
NEXT = """
Next, in this shell:
    {program} info {folder}/T_cell.nc
    {program} extract {folder}/model {folder}/tissue.h5ad --query Tumor --out b.nc
    {program} length-scale b.nc --threshold {threshold}
    {program} report b.nc --threshold {threshold} --out b.html  # as {folder}/tissue.html
or type {python} and then:
    >>> import amici_xr, xarray as xr
    >>> ds = xr.open_dataset({file!r})
    >>> ds.cf                                    # what is there, what can be asked
    >>> ds.cf.support({threshold}).status.to_pandas()    # help(ds.cf.support) explains the words
    >>> ds.cf.plot_length_scale({threshold}).figure.savefig("length_scale.png")
    >>> xr.open_dataset({tissue!r}).cf.atlas({threshold})    # every pair of types at once
and with a model of your own:
    >>> ds = amici_xr.extract("saved_model/", "B", "tissue.h5ad", unit="µm")"""


def main(folder: Path) -> None:
    """Extract both planted receivers, compare planted with recovered reach, draw and save."""
    import matplotlib as mpl

    mpl.use("agg")
    folder.mkdir(parents=True, exist_ok=True)
    model, adata = amici_xr.demo()
    planted = adata.uns["interactions"]
    is_watched = sys.stderr.isatty()
    datasets = {
        name: amici_xr.extract(model, name, adata, progress=is_watched)
        for name in planted["receiver"]
    }
    print(f"The demo: {adata.n_obs:,} simulated cells, {adata.n_vars} genes, and a trained model:")
    print(f"{model!r}\n")
    print(f"Length scale, where attention falls to {THRESHOLD}: median over the sender's cells, in")
    print("the head where it is longest, with its 95% bootstrap interval over cells.\n")
    print(f"{'sender → receiver':<24}{'planted':>8}{'recovered':>11}{'interval':>18}{'head':>6}")
    for _, row in planted.iterrows():
        print_recovered(datasets[row["receiver"]], row["sender"], row["length_scale"])
    print("\nAlso above 0 and supported by the tissue, though not planted:")
    for _, row in planted.iterrows():
        print_not_planted(datasets[row["receiver"]], row["sender"])
    print(
        "\nThe interval tells how well this model's median is known, not how well the model knows"
    )
    print("the tissue. This and two further trainings on it give:")
    print_trainings(planted, folder / "runs.nc", is_watched)
    print(f"\nWritten:\n    {folder / 'runs.nc'}")
    for receiver, ds in datasets.items():
        for path in write(ds, folder, receiver):
            print(f"    {path}")
    for path in write_atlas(amici_xr.extract(model, None, adata, progress=is_watched), folder):
        print(f"    {path}")
    for path in write_model_and_tissue(folder):
        print(f"    {path}")
    named = {"file": str(folder / "T_cell.nc"), "tissue": str(folder / "tissue.nc")}
    beside = Path(sys.executable).with_name("amici-xr")  # whose folder may not be searched
    named["program"] = str(beside) if shutil.which("amici-xr") is None else "amici-xr"
    print(NEXT.format(python=sys.executable, threshold=THRESHOLD, folder=folder, **named))


def write_model_and_tissue(folder: Path) -> list[Path]:
    """Copy the model and its tissue, to extract from as from a model of one's own."""
    written = [folder / "model" / "model.pt", folder / "tissue.h5ad"]
    written[0].parent.mkdir(exist_ok=True)
    with as_file(files("amici_xr.demo_data")) as packaged:
        for source, target in zip((FOLDERS[0] + "/model.pt", "tissue.h5ad"), written, strict=True):
            shutil.copyfile(packaged / source, target)
    return written


def print_recovered(ds: xr.Dataset, sender: str, planted: float) -> None:
    """Print a row of the table."""
    own = ds.isel(neighbor=np.flatnonzero(ds.label == sender))
    interval = own.cf.bootstrap(threshold=THRESHOLD, statistic="median").sel(label=sender)
    head = int(interval.point_estimate.idxmax("head"))
    best = interval.sel(head=head)
    bounds = f"[{best.ci_lower:.2f}, {best.ci_upper:.2f}]"
    pair = f"{sender} → {ds['query'].item()}"
    print(f"{pair:<24}{planted:>8.1f}{best.point_estimate:>11.2f}{bounds:>18}{head:>6}")


def print_not_planted(ds: xr.Dataset, sender: str) -> None:
    """Print what other senders the model attends to."""
    support = ds.cf.support(threshold=THRESHOLD)
    found = support.where(support.status == "ok").drop_sel(label=sender)
    for (label, head), length in found.median_length_scale.to_series().dropna().items():
        print(f"    {label} → {ds['query'].item()}, head {head}: {length:.2f}")


def print_trainings(planted: Any, path: Path, is_watched: bool) -> None:
    """Print the reach of each planted pair in the strongest head of each training; save them."""
    receivers = planted["receiver"].tolist()
    runs = amici_xr.align_runs(
        amici_xr.extract(model, receivers, adata, progress=is_watched)
        for model, adata in map(amici_xr.demo, FOLDERS)
    )
    runs.cf.save(path)
    reach = runs.cf.reach_across_runs(THRESHOLD)
    for _, row in planted.iterrows():
        sender, receiver = row["sender"], row["receiver"]
        one = reach.sel(query=receiver, label=sender)
        lengths = ", ".join(f"{length:.2f}" for length in one.length_scale.values)
        interval = f"[{one.ci_lower:.1f}, {one.ci_upper:.1f}]"
        print(f"    {sender} → {receiver}: {lengths}; interval of their mean {interval}")


def write_atlas(ds: xr.Dataset, folder: Path) -> list[Path]:
    """Save the Dataset of all receivers, draw its atlas and write a page to explore."""
    from matplotlib import pyplot as plt

    written = [folder / "tissue.nc", folder / "atlas.png", folder / "atlas.svg"]
    ds.cf.save(written[0])
    figure = ds.cf.plot_atlas(THRESHOLD).figure
    for path in written[1:]:
        figure.savefig(path, dpi=150)
    plt.close(figure)
    if importlib.util.find_spec("bokeh") is not None:  # an extra
        written.append(folder / "tissue.html")
        ds.cf.report(written[-1], THRESHOLD)
    return written


def write(ds: xr.Dataset, folder: Path, receiver: str) -> list[Path]:
    """Save the Dataset and draw its two figures, the curves in the head of the longest reach."""
    from matplotlib import pyplot as plt

    medians = ds.cf.support(threshold=THRESHOLD).median_length_scale.max("label")
    drawn = {
        "curve": ds.cf.plot_curve(
            head=int(medians.idxmax("head")), distance=np.linspace(0, 40, 161)
        ),
        "length_scale": ds.cf.plot_length_scale(threshold=THRESHOLD, ci=True),
    }
    written = [folder / f"{receiver}.nc"]
    ds.cf.save(written[0])
    for what, axes in drawn.items():
        for suffix in ("png", "svg"):
            written.append(folder / f"{receiver}_{what}.{suffix}")
            axes.figure.savefig(written[-1], dpi=150)
        plt.close(axes.figure)
    return written


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo_output"))

"""Trained runs: a model each, the history of all, saved as one folder."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from amici_xr.errors import listed
from amici_xr.extraction import extract
from amici_xr.io.atomic import replace_atomically
from amici_xr.io.opening import open_dataset
from amici_xr.io.paths import expand_home, refuse_folder
from amici_xr.io.storage import save
from amici_xr.model.amici_folder import write_amici_folder
from amici_xr.model.loading import load_model
from amici_xr.model.saved_model import SavedModel
from amici_xr.uncertainty.run_alignment import align_runs

_HISTORY = "history.nc"
_FOLDER = "run_{}"


@dataclass(frozen=True, repr=False)
class TrainedModel(SavedModel):
    """A model that this package has trained; as `SavedModel`, but saved as AMICI saves its own.

    Attributes
    ----------
    n_dims
        Number of axes of the coordinates.

    Examples
    --------
    >>> import amici_xr
    >>> _, adata = amici_xr.demo()
    >>> runs = amici_xr.train(adata, "cell_type", max_epochs=1, n_neighbors=10, n_heads=2,
    ...                       cell_hidden_size=16, progress=False)
    >>> runs.models[0]
    <SavedModel: 2 heads, 50 genes, cell types 'Endothelial', ...>
    """

    n_dims: int = 2

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a folder with ``model.pt``, which `load_model` and AMICI's own ``load`` read.

        Parameters
        ----------
        path
            The folder, made if it isn't there; a ``~`` at its start is the user's home folder. One
            that holds such a model alone is replaced, any other is left alone. For a folder
            without pickle, which can be shared, read it and save that:
            ``load_model(path).save(another)``.

        Raises
        ------
        FileExistsError
            If `path` is a file, or a folder that holds anything else.

        Examples
        --------
        >>> import amici_xr
        >>> _, adata = amici_xr.demo()
        >>> runs = amici_xr.train(adata, "cell_type", max_epochs=1, n_neighbors=10, n_heads=2,
        ...                       cell_hidden_size=16, progress=False)
        >>> runs.models[0].save("model")
        """
        write_amici_folder(path, self, self.n_dims)


@dataclass(frozen=True, repr=False)
class TrainedRuns:
    """What `train` returns: several models of one tissue, and how their training went.

    Attributes
    ----------
    models
        One model of each run.
    history
        Dataset with dims (run, epoch): the terms of the loss, the held-out error and explained
        variance, penalties and learning rate; the settings in which runs differ are coordinates.
    adata
        The tissue, as it was given; None for runs that were read from a folder.
    sample_key
        Column of the samples that the training has kept apart.

    Examples
    --------
    >>> import amici_xr
    >>> model, adata = amici_xr.demo()
    >>> runs = amici_xr.train(adata, "cell_type", n_runs=2, max_epochs=1, n_neighbors=10,
    ...                       n_heads=2, cell_hidden_size=16, progress=False)
    >>> runs
    <TrainedRuns: 2 runs of 2 heads, 50 genes; held-out explained variance ...
    """

    models: tuple[SavedModel, ...]
    history: xr.Dataset
    adata: Any = None
    sample_key: str | None = None

    def extract(
        self, query: str | Sequence[str] | None = None, adata: Any = None, **arguments: Any
    ) -> xr.Dataset:
        """Extract the Dataset of all runs, as ``extract(runs, query)``.

        Parameters
        ----------
        query, adata, arguments
            As for `extract`; `adata` None takes the tissue of the training.

        Returns
        -------
        xarray.Dataset
            Dims (run, neighbor, head), heads aligned as by `align_runs`; without ``run`` for a
            single run.

        Raises
        ------
        ValueError
            If the runs have different numbers of heads.

        Examples
        --------
        >>> import amici_xr
        >>> _, adata = amici_xr.demo()
        >>> runs = amici_xr.train(adata, "cell_type", max_epochs=1, n_neighbors=10, n_heads=2,
        ...                       cell_hidden_size=16, progress=False)
        >>> runs.extract("T_cell", progress=False).sizes["head"]
        2
        """
        adata = self.adata if adata is None else adata
        if arguments.get("sample_key") is None:
            arguments["sample_key"] = self.sample_key
        datasets = [extract(model, query, adata, **arguments) for model in self.models]
        if len(datasets) == 1:
            return datasets[0]
        if len({model.n_heads for model in self.models}) > 1:
            raise ValueError(
                "model: its runs have different numbers of heads, which can't be aligned; extract "
                "each by itself, e.g. extract(runs.models[0], query, adata)"
            )
        return align_runs(datasets)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a folder with the model of each run, ``run_0`` and so on, and ``history.nc``.

        Parameters
        ----------
        path
            The folder, made if it isn't there. One that holds such runs is replaced, as a whole;
            one that holds anything else is left alone. `load_runs` reads it, and `load_model` or
            AMICI's own ``load`` each of its models.

        Raises
        ------
        FileExistsError
            If `path` is a file, or a folder that holds anything else.

        Examples
        --------
        >>> import amici_xr
        >>> _, adata = amici_xr.demo()
        >>> runs = amici_xr.train(adata, "cell_type", max_epochs=1, n_neighbors=10, n_heads=2,
        ...                       cell_hidden_size=16, progress=False)
        >>> runs.save("runs")
        """
        target = expand_home(path)
        present = sorted(entry.name for entry in target.iterdir()) if target.is_dir() else []
        is_of_runs = _HISTORY in present and all(
            name == _HISTORY or name.startswith("run_") for name in present
        )
        if target.is_file() or (present and not is_of_runs):
            refuse_folder(path, present)
        with replace_atomically(target) as beside:
            beside.mkdir()
            for number, model in enumerate(self.models):
                model.save(beside / _FOLDER.format(number))
            save(self.history.assign_attrs(sample_key=self.sample_key or ""), beside / _HISTORY)

    def __repr__(self) -> str:
        """Show what can be asked, and how well each run predicts cells that it has not seen."""
        first = self.models[0]
        heads = listed(sorted({model.n_heads for model in self.models}))
        lines = [
            f"<TrainedRuns: {len(self.models)} runs of {heads} heads, {len(first.gene_names)} genes"
        ]
        if "explained_variance" not in self.history:
            return f"{lines[0]}>"
        lines[0] += "; held-out explained variance of the kept epoch:"
        kept = self.history["explained_variance_by_label"].isel(epoch=_kept_epochs(self.history))
        width = max(map(len, first.labels))
        for label in first.labels:
            values = "  ".join(f"{value:6.3f}" for value in kept.sel(label=label).values)
            lines.append(f"  {label:<{width}}  {values}")
        return "\n".join(lines) + ">"


def load_runs(path: str | os.PathLike[str], adata: Any = None) -> TrainedRuns:
    """Read the folder that `TrainedRuns.save` wrote.

    Parameters
    ----------
    path
        The folder. A ``~`` at its start is the user's home folder.
    adata
        The tissue, from which ``extract(runs, …)`` then takes cells; may be given there instead.

    Returns
    -------
    TrainedRuns
        The same models and history.

    Raises
    ------
    FileNotFoundError
        If the folder holds no runs.

    Examples
    --------
    >>> import amici_xr
    >>> _, adata = amici_xr.demo()
    >>> runs = amici_xr.train(adata, "cell_type", max_epochs=1, n_neighbors=10, n_heads=2,
    ...                       cell_hidden_size=16, progress=False)
    >>> runs.save("runs")
    >>> len(amici_xr.load_runs("runs").models)
    1
    """
    folder = expand_home(path)
    if not is_folder_of_runs(folder):
        raise FileNotFoundError(
            f"path={os.fspath(path)!r} has no {_HISTORY}; give the folder that TrainedRuns.save "
            "wrote, or a single model to load_model"
        )
    history = open_dataset(folder / _HISTORY).load()
    n_dims = int(json.loads(history.attrs["training"])["n_dims"])
    models = tuple(
        as_trained(load_model(folder / _FOLDER.format(run)), n_dims)
        for run in range(history.sizes["run"])
    )
    sample_key = history.attrs.pop("sample_key") or None
    return TrainedRuns(models, history, adata, sample_key)


def is_folder_of_runs(path: Path) -> bool:
    """Tell whether it is a folder that `TrainedRuns.save` wrote."""
    return (path / _HISTORY).is_file()


def as_trained(model: SavedModel, n_dims: int) -> TrainedModel:
    """Return a model that is saved as AMICI saves its own."""
    fields = {name: getattr(model, name) for name in model.__dataclass_fields__}
    return TrainedModel(**fields, n_dims=n_dims)


def _kept_epochs(history: xr.Dataset) -> xr.DataArray:
    """Position of the epoch whose weights each run keeps: the best, else the last."""
    last = history["loss"].notnull().sum("epoch") - 1
    best = history["best_epoch"]
    return best.where(best >= 0, last)

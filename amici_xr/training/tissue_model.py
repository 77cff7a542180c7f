"""A tissue as scvi-tools registers it, and as the training reads it."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import torch
from numpy.typing import NDArray
from scvi import REGISTRY_KEYS
from scvi.data import AnnDataManager
from scvi.data.fields import CategoricalObsField, LayerField, NumericalObsField, ObsmField
from scvi.model.base import BaseModelClass

from amici_xr.errors import check_positive_integer
from amici_xr.tissue.cells import read_tissue
from amici_xr.training import preparation
from amici_xr.training.loading import PatchBatches
from amici_xr.training.network.batches import TrainingTissue
from amici_xr.training.quiet import quiet

if TYPE_CHECKING:
    import anndata
    import numpy as np


class TissueModel(BaseModelClass):  # type: ignore[misc]  # scvi-tools has no types
    """A model of scvi-tools with the expression and the neighborhoods of all cells.

    Parameters
    ----------
    adata
        An AnnData that `setup_anndata` has registered.
    """

    def __init__(self, adata: anndata.AnnData) -> None:
        super().__init__(adata)
        keys = self._keys()
        n_neighbors = keys.pop("n_neighbors")
        self.tissue = read_tissue(adata, **keys)
        preparation.check_types(self.tissue)
        self._expression = preparation.read_expression(self.tissue)
        preparation.check_expression(self._expression, self.tissue.expression.genes)
        self._index, self._distance = preparation.find_neighborhoods(self.tissue, n_neighbors)
        self._target: NDArray[np.float32] | None = None

    @classmethod
    def setup_anndata(
        cls,
        adata: anndata.AnnData,
        labels_key: str,
        coord_key: str = "spatial",
        layer: str | None = None,
        n_neighbors: int = 50,
        cell_radius_key: str | None = None,
        sample_key: str | None = None,
    ) -> None:
        """Register where an AnnData holds what the model needs.

        Parameters
        ----------
        adata
            The tissue.
        labels_key
            Column of ``obs`` with the cell types.
        coord_key
            Entry of ``obsm`` with the coordinates.
        layer
            Layer of log-normalized expression; None for ``X``.
        n_neighbors
            K, the number of cells of other types in a neighborhood.
        cell_radius_key
            Column of ``obs`` with the radius of each cell; distances are then from surface to
            surface.
        sample_key
            Column of ``obs`` with the sample of each cell; no neighborhood crosses samples.
        """
        check_positive_integer("n_neighbors", n_neighbors)
        for key, table in ((labels_key, "obs"), (coord_key, "obsm")):
            if key not in getattr(adata, table):
                read_tissue(adata, labels_key=labels_key, coord_key=coord_key)  # says what it has
        arguments = cls._get_setup_method_args(**locals())
        fields = [
            LayerField(REGISTRY_KEYS.X_KEY, layer, is_count_data=False),
            CategoricalObsField(REGISTRY_KEYS.LABELS_KEY, labels_key),
            ObsmField("coordinates", coord_key),
        ]
        if cell_radius_key is not None:
            fields.append(NumericalObsField("cell_radius", cell_radius_key))
        if sample_key is not None:
            fields.append(CategoricalObsField("sample", sample_key))
        manager = AnnDataManager(fields=fields, setup_method_args=arguments)
        with quiet():
            manager.register_fields(adata)
        cls.register_manager(manager)

    def set_target(self, values: NDArray[np.float32]) -> None:
        """Predict other values of the cells than their expression, which stays what is seen.

        Parameters
        ----------
        values
            What a regression has left of the expression, say, (cell, gene).
        """
        self._target = values

    def _training_tissue(self, profiles: torch.Tensor) -> TrainingTissue:
        return TrainingTissue(
            torch.from_numpy(self._expression),
            profiles,
            self.tissue.codes,
            self._index,
            self._distance,
            None if self._target is None else torch.from_numpy(self._target),
        )

    def _batches(self, cells: Any, batch_size: int, seed: int) -> PatchBatches:
        positions = self.tissue.positions
        assert positions is not None  # it was read with coordinates
        return PatchBatches(positions, self.tissue.sample_codes, cells, batch_size, seed)

    def _keys(self) -> dict[str, Any]:
        """Where the AnnData holds what the model needs, as `setup_anndata` was told."""
        arguments = dict(self.adata_manager.registry["setup_args"])
        return {
            name: arguments[name]
            for name in inspect.signature(self.setup_anndata).parameters
            if name != "adata"
        }

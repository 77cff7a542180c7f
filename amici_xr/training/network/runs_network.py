"""The networks of all runs: those of equal sizes are computed together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from amici_xr.training.network.stacked_network import StackedNetwork, Terms
from amici_xr.training.settings import RunSettings, SharedSettings


class RunsNetwork(nn.Module):
    """The networks of all runs: those of equal sizes are stacked and computed together.

    Attributes
    ----------
    members
        Positions of the runs of each stack.
    """

    def __init__(
        self,
        runs: Sequence[RunSettings],
        shared: SharedSettings,
        labels: Sequence[str],
        weights: Sequence[Mapping[str, Tensor]],
    ) -> None:
        super().__init__()
        by_sizes: dict[Any, list[int]] = {}
        for position, run in enumerate(runs):
            by_sizes.setdefault((run.sizes, run.learning_rate), []).append(position)
        self.members = tuple(torch.tensor(members) for members in by_sizes.values())
        self.learning_rates = tuple(rate for _, rate in by_sizes)
        self.n_runs = len(runs)
        self._shared = shared
        self._left_out = [
            -1 if run.left_out is None else labels.index(run.left_out) for run in runs
        ]
        self.stacks = nn.ModuleList(self._stack(runs, weights) for runs in by_sizes.values())

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return next(self.parameters()).device

    def forward(self, batch: Any, kept: Tensor | None = None) -> Terms:
        """Compute the terms of the loss of every run, in the order of the runs."""
        parts = [
            stack(batch, None if kept is None else kept[members.to(kept.device)])
            for stack, members in zip(self.stacks, self.members, strict=True)
        ]
        if len(parts) == 1:
            return parts[0]  # type: ignore[no-any-return]  # torch's
        order = torch.cat(self.members).argsort().to(parts[0].reconstruction.device)
        return Terms(*(torch.cat(term)[order] for term in zip(*parts, strict=True)))

    def network_of(self, run: int) -> StackedNetwork:
        """Copy the network of one run to the CPU."""
        return self._stack([run], {run: self.weights_of(run)})

    def weights_of(self, run: int) -> dict[str, Tensor]:
        """Copy the weights of one run to the CPU, by their names in a state dict."""
        for stack, members in zip(self.stacks, self.members, strict=True):
            position = (members == run).nonzero()
            if len(position):
                return stack.weights_of(int(position))  # type: ignore[no-any-return, operator]  # a Module
        raise AssertionError(run)

    def _stack(
        self, runs: Sequence[int], weights: Sequence[Mapping[str, Tensor]] | Mapping[int, Any]
    ) -> StackedNetwork:
        """Stack runs of equal sizes."""
        return StackedNetwork(
            [weights[run] for run in runs],
            dummy_score=self._shared.attention_dummy_score,
            distance_unit=self._shared.distance_kernel_unit_scale,
            position_offset=self._shared.pos_coef_offset,
            left_out=[self._left_out[run] for run in runs],
        )

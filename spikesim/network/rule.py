"""What all connection rules have in common."""

from abc import ABC, abstractmethod

import numpy as np

from spikesim.errors import UserError
from spikesim.kernels.builder import Builder, Rows
from spikesim.kernels.builder_numba import CpuBuilder
from spikesim.network.synapses import Synapses

__all__ = ["LARGEST", "DrawnRule", "Rule"]

LARGEST = 2**31 - 1
"""Neurons of one population: targets are int32."""


class Rule(ABC):
    """What all connection rules can do."""

    def build(
        self, n_pre: int, n_post: int, *, same: bool = False, seed: int = 0, threads: int = 1
    ) -> Synapses:
        """The synapses from ``n_pre`` to ``n_post`` neurons.

        Args:
            n_pre: size of the source population.
            n_post: size of the target population.
            same: source and target are one population.
            seed: up to 64 bits; projections of one network need different ones.
            threads: of this process; the result does not depend on it.

        Raises:
            UserError: the rule cannot connect populations of these sizes.
        """
        self._check_sizes(n_pre, n_post, same)
        return self._build(n_pre, n_post, same, seed, threads)

    @abstractmethod
    def expected(self, n_pre: int, n_post: int, *, same: bool = False) -> int:
        """Number of synapses; of rules that leave it to chance, its mean rounded up."""

    def memory(self, n_pre: int, n_post: int, *, same: bool = False, threads: int = 1) -> int:
        """Bytes that :meth:`build` needs at its peak, the result included, before allocating.

        Numbers left to chance are taken four standard deviations above their mean.
        """
        mean = self.expected(n_pre, n_post, same=same)
        most = mean + 4 * int(np.sqrt(mean)) + 1
        return 8 * (n_pre + 1) + self._bytes_each * most + 16 * threads * max(n_pre, n_post)

    _bytes_each = 4
    """Of one synapse, at the peak of the build."""

    def check(self, n_pre: int, n_post: int, same: bool) -> None:  # noqa: B027
        """Refuse what cannot be built for populations of these sizes."""

    def _check_sizes(self, n_pre: int, n_post: int, same: bool) -> None:
        for name, size in (("n_pre", n_pre), ("n_post", n_post)):
            if not 0 <= size <= LARGEST:
                raise UserError(f"{name} must be between 0 and {LARGEST}, got {size}")
        for name in ("autapses", "multapses"):
            value = getattr(self, name, True)
            if not isinstance(value, bool | np.bool_):
                raise UserError(f"{name} must be True or False, got {value!r}")
        if same and n_pre != n_post:
            raise UserError(f"a population of {n_pre} neurons is not one of {n_post}")
        self.check(n_pre, n_post, same)

    @abstractmethod
    def _build(self, n_pre: int, n_post: int, same: bool, seed: int, threads: int) -> Synapses: ...


class DrawnRule(Rule):
    """A rule whose rows a builder draws, on the CPU and on a GPU the same ones.

    All other rules are built on the CPU, and uploaded for a GPU.
    """

    def rows(self, n_pre: int, n_post: int, *, same: bool, seed: int, builder: Builder) -> Rows:
        """As :meth:`build`, as arrays of the builder.

        Raises:
            UserError: the rule cannot connect populations of these sizes.
        """
        self._check_sizes(n_pre, n_post, same)
        return self._rows(builder, n_pre, n_post, same, seed)

    def _build(self, n_pre: int, n_post: int, same: bool, seed: int, threads: int) -> Synapses:
        return Synapses(*self._rows(CpuBuilder(threads), n_pre, n_post, same, seed), n_post)

    @abstractmethod
    def _rows(self, builder: Builder, n_pre: int, n_post: int, same: bool, seed: int) -> Rows: ...

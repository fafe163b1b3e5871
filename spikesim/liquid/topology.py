r"""Where the synapses of a neuron-astrocyte liquid are.

Rows of synapses by sender: first the inputs, then the excitatory neurons of the liquid, then the
inhibitory ones. Targets are neurons of the liquid, in the same order.
"""

import math
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from spikesim.errors import UserError
from spikesim.network.connect import FixedTotalNumber
from spikesim.network.given import real, whole
from spikesim.network.space import DistanceDependent, GaussianProfile, lattice
from spikesim.seeds import key

__all__ = ["PROBABILITIES", "Topology", "Wiring"]

Real: TypeAlias = NDArray[np.float64]

PROBABILITIES = {"EE": 0.2, "EI": 0.1, "IE": 0.3, "II": 0.05}
"""Of neighbours at no distance being connected, from the first kind to the second."""


@dataclass(frozen=True, eq=False)
class Wiring:
    """Synapses as compressed rows, one a sender.

    Args:
        indptr: int64 ``[inputs + neurons + 1]``.
        target: int32 ``[synapses]``, ascending in a row; neurons of the liquid.
        sign: of the first weight, float32 ``[synapses]``.
        inputs: senders that are inputs.
        inhibitory: bool ``[neurons]``.
    """

    indptr: NDArray[np.int64]
    target: NDArray[np.int32]
    sign: NDArray[np.float32]
    inputs: int
    inhibitory: NDArray[np.bool_]

    @property
    def neurons(self) -> int:
        """Of the liquid."""
        return self.inhibitory.size

    @property
    def sender(self) -> NDArray[np.int32]:
        """The sender of each synapse, ``[synapses]``."""
        return np.repeat(np.arange(self.indptr.size - 1, dtype=np.int32), np.diff(self.indptr))

    def columns(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The synapses onto each neuron: where they begin ``[neurons + 1]``, and their numbers."""
        order = np.argsort(self.target, kind="stable")
        starts = np.searchsorted(self.target[order], np.arange(self.neurons + 1))
        return starts.astype(np.int64), order


@dataclass(frozen=True)
class Topology:
    r"""Neurons on a grid that connect to near ones, and inputs that reach any of them.

    .. math:: P(i \to j) = C e^{-(d_{ij} / \lambda)^2}

    A random fifth of the grid is inhibitory; no neuron connects to itself. Inputs have exactly
    :math:`\lfloor \text{density} \cdot N \cdot \text{inputs} \rfloor` synapses, no two the same, as
    often excitatory as inhibitory.

    Args:
        inputs: input neurons.
        grid: neurons along each axis.
        length: :math:`\lambda`, in distances of neighbours, > 0.
        probabilities: :math:`C` in [0, 1], by the kinds of sender and receiver.
        share_inhibitory: in [0, 1].
        density: share of all pairs of an input and a neuron that are connected, in [0, 1].

    Raises:
        UserError: a number out of its range.

    Reference: V. A. Ivanov, K. P. Michmizos (2021), Increasing liquid state machine performance
    with edge-of-chaos dynamics organized by astrocyte-modulated plasticity, NeurIPS 34, and the
    authors' program.
    """

    inputs: int
    grid: tuple[int, int, int] = (10, 10, 10)
    length: float = 3.0
    probabilities: dict[str, float] = field(default_factory=lambda: dict(PROBABILITIES))
    share_inhibitory: float = 0.2
    density: float = 0.15

    def __post_init__(self) -> None:
        whole("inputs", self.inputs, 1)
        for count in self.grid:
            whole("neurons along an axis of grid", count, 1)
        if not real("length", self.length) > 0.0:
            raise UserError(f"length must be > 0, got {self.length}")
        if set(self.probabilities) != set(PROBABILITIES):
            raise UserError(
                f"probabilities must be of {', '.join(PROBABILITIES)}, "
                f"got {', '.join(map(str, self.probabilities))}"
            )
        shares = self.probabilities | {
            "share_inhibitory": self.share_inhibitory,
            "density": self.density,
        }
        for name, value in shares.items():
            if not 0.0 <= real(name, value) <= 1.0:
                raise UserError(f"{name} must be in [0, 1], got {value}")

    @property
    def neurons(self) -> int:
        """Of the liquid."""
        return math.prod(self.grid)

    @property
    def sizes(self) -> dict[str, int]:
        """Excitatory and inhibitory neurons."""
        few = round(self.share_inhibitory * self.neurons)
        return {"E": self.neurons - few, "I": few}

    def expected(self) -> dict[str, float]:
        """Mean number of liquid synapses by kinds, over all places of the inhibitory neurons.

        The sum of the profile over ordered pairs of the grid, times the chance that both places
        hold neurons of these kinds. It factors into the axes.
        """
        one = [np.exp(-((np.subtract.outer(*[np.arange(n)] * 2) / self.length) ** 2)).sum()
               for n in self.grid]  # fmt: skip
        near, n, sizes = math.prod(one) - self.neurons, self.neurons, self.sizes
        pairs = {a + b: sizes[a] * (sizes[b] - (a == b)) for a in "EI" for b in "EI"}
        return {
            kinds: self.probabilities[kinds] * near * count / max(n * (n - 1), 1)
            for kinds, count in pairs.items()
        }

    def draw(self, seed: int = 0) -> Wiring:
        """A liquid of this kind, the same for the same seed."""
        random = np.random.default_rng(key(seed, "liquid"))
        places = random.permutation(lattice(self.grid))
        many = self.sizes["E"]
        cells = {"E": places[:many], "I": places[many:]}
        first = {"E": 0, "I": many}
        wanted = math.floor(self.density * self.neurons * self.inputs)
        rule = FixedTotalNumber(wanted, multapses=False)
        given = rule.build(self.inputs, self.neurons, seed=key(seed, "inputs"))
        parts = [(given.sources, given.target, random.choice([-1.0, 1.0], wanted))]
        for kinds, probability in self.probabilities.items():
            pre, post = kinds[0], kinds[1]
            if not (probability and len(cells[pre]) and len(cells[post])):
                continue
            near = DistanceDependent(
                GaussianProfile(self.length / math.sqrt(2.0), probability),
                cells[pre],
                cells[post],
                autapses=False,
            )
            made = near.build(
                len(cells[pre]), len(cells[post]), same=pre == post, seed=key(seed, kinds)
            )
            sign = np.full(made.count, 1.0 if pre == "E" else -1.0)
            senders = made.sources + (self.inputs + first[pre])
            parts.append((senders, made.target + first[post], sign))
        sender, target, sign = (np.concatenate(part) for part in zip(*parts, strict=True))
        order = np.lexsort((target, sender))
        rows = np.searchsorted(sender[order], np.arange(self.inputs + self.neurons + 1))
        return Wiring(
            rows.astype(np.int64),
            target[order].astype(np.int32),
            sign[order].astype(np.float32),
            self.inputs,
            np.arange(self.neurons) >= many,
        )

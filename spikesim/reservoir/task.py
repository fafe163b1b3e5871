"""A task of predictions: what comes after a cue, when, and how likely."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikesim.errors import UserError
from spikesim.network.given import real, reals, whole
from spikesim.reservoir.rls import Array


@dataclass(frozen=True, eq=False)
class Prediction:
    r"""After each cue one of several stimuli follows, or none.

    Stimulus ``k`` comes :math:`L_{ck}` after cue ``c``, with probability :math:`p_{ck}`; one at
    most does, so that an output that is trained to follow its pulses has its least squared error
    where at that time it is :math:`p_{ck}`. Identity, latency and probability are independent:
    change one by :func:`dataclasses.replace`.

    Args:
        probability: :math:`p` ``[cues, stimuli]``; what a row lacks to 1 is that of an omission.
        latency: :math:`L`, ms, ``[cues, stimuli]`` or what broadcasts to it.
        width: standard deviation of the pulse that a stimulus is, of height 1, ms.
        window: how long before and after a stimulus, or its omission, the gates of all are open,
            ms.

    Raises:
        UserError: probabilities that are none, latencies of another shape or not > 0, and a width
            or window that is not > 0.
    """

    probability: ArrayLike
    latency: ArrayLike
    width: float = 20.0
    window: float = 60.0

    def __post_init__(self) -> None:
        p = reals("probability", self.probability)
        if p.ndim != 2 or not ((p >= 0).all() and (p.sum(1) <= 1 + 1e-9).all()):
            raise UserError(
                f"probability must be [cues, stimuli] with rows up to 1, got {p.tolist()}"
            )
        latency = reals("latency", self.latency)
        try:
            latency = np.broadcast_to(latency, p.shape)
        except ValueError as error:
            raise UserError(f"latency must fit {list(p.shape)}, got {self.latency!r}") from error
        if not (latency > 0).all():
            raise UserError(f"latency must be > 0 ms, got {latency.tolist()}")
        for name in ("width", "window"):
            if not real(name, getattr(self, name)) > 0:
                raise UserError(f"{name} must be > 0 ms, got {getattr(self, name)}")
        object.__setattr__(self, "probability", p)
        object.__setattr__(self, "latency", latency)

    @property
    def p(self) -> Array:
        """Probabilities ``[cues, stimuli]``."""
        assert isinstance(self.probability, np.ndarray)
        return self.probability

    @property
    def l_ms(self) -> Array:
        """Latencies ``[cues, stimuli]``, ms."""
        assert isinstance(self.latency, np.ndarray)
        return self.latency

    def draw(
        self, cues: Sequence[int] | NDArray[np.integer], *, seed: int, block: int = 1
    ) -> NDArray[np.int64]:
        """What follows each cue: its number, or -1 for an omission.

        Args:
            cues: of all trials.
            seed: of the draws.
            block: so many trials of a cue in a row have each outcome as often as its probability
                says, in random order; 1 makes trials independent.

        Raises:
            UserError: a block of no trials, or a cue that the task does not have.

        >>> task = Prediction([[0.5, 0.5], [0.0, 0.0]], 300.0)
        >>> task.draw([0, 1, 0, 1], seed=1).tolist()
        [1, -1, 0, -1]
        """
        random, shown = np.random.default_rng(seed), np.asarray(cues, np.int64)
        whole("block", block, 1)
        if len(shown) and not 0 <= shown.min() <= shown.max() < len(self.p):
            raise UserError(f"cues must be from 0 to {len(self.p) - 1}, got {shown.tolist()}")
        u = random.random(len(shown))
        for cue in np.unique(shown):
            (at,) = np.nonzero(shown == cue)
            blocks = [random.permutation(block) for _ in range(-(-len(at) // block))]
            u[at] = (np.concatenate(blocks)[: len(at)] + u[at]) / block
        found = (u[:, None] >= np.cumsum(self.p[shown], axis=1)).sum(1)
        return np.where(found < self.p.shape[1], found, -1).astype(np.int64)

    def target(self, cue: int, stimulus: int, times: Array) -> Array:
        """The pulse of what came ``[times, stimuli]``, and 0 for all else."""
        found = np.zeros((len(times), self.p.shape[1]))
        if stimulus >= 0:
            found[:, stimulus] = np.exp(
                -0.5 * ((times - self.l_ms[cue, stimulus]) / self.width) ** 2
            )
        return found

    def gate(self, cue: int, times: Array) -> Array:
        """Where a stimulus comes or would have come ``[times, stimuli]``: 1, elsewhere 0."""
        is_near = np.abs(times[:, None] - self.l_ms[cue]) <= self.window
        return np.asarray(is_near, np.float64)

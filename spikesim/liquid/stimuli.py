"""What a neuron-astrocyte liquid is shown: events of its inputs, millisecond by millisecond."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikesim.errors import UserError
from spikesim.seeds import key

__all__ = ["CameraStimuli", "Events", "PoissonStimuli", "Stimuli", "brightness", "event_counts"]

Counts: TypeAlias = NDArray[np.int64]
Indices: TypeAlias = NDArray[np.int32]


class Events(NamedTuple):
    """Inputs with an event in step ``t``: ``inputs[starts[t]:starts[t + 1]]``, each once."""

    starts: Counts
    inputs: Indices


class Stimuli(Protocol):
    """Numbered stimuli for ``inputs`` input neurons."""

    inputs: int

    def __len__(self) -> int: ...

    def show(self, number: int, steps: int, visit: int | None = None) -> Events:
        """The events of a stimulus in ``steps`` ms.

        Args:
            number: of the stimulus.
            steps: ms.
            visit: of a snapshot, which takes other random numbers; ``None``: the stimulus itself.
        """


def brightness(images: ArrayLike) -> NDArray[np.float32]:
    """Probabilities of an event in a millisecond ``[n, pixels]`` of images ``[n, ...]``.

    Each image is divided by the sum of its pixels, and all by the largest number then found, as in
    the program of Ivanov and Michmizos (2021), which does so split by split.

    >>> brightness([[0, 2, 2], [1, 0, 0]]).tolist()
    [[0.0, 0.5, 0.5], [1.0, 0.0, 0.0]]
    """
    x = np.asarray(images, np.float32)
    x = x.reshape(len(x), -1)
    shares: NDArray[np.float32] = x / np.maximum(x.sum(1, keepdims=True), 1e-30)
    shares /= shares.max(initial=1e-30)
    return shares


def event_counts(stimuli: Stimuli, steps: int = 250) -> Counts:
    """Events of each input in every stimulus, ``[n, inputs]``: what there is without a liquid."""
    shown = (stimuli.show(number, steps).inputs for number in range(len(stimuli)))
    return np.stack([np.bincount(inputs, minlength=stimuli.inputs) for inputs in shown])


class PoissonStimuli:
    """A Bernoulli draw for each input and millisecond.

    Args:
        probability: of an event, in [0, 1], ``[n, inputs]``, such as :func:`brightness` gives.
        seed: the same numbers for the same seed, stimulus and visit.

    Raises:
        UserError: not probabilities of that shape.
    """

    def __init__(self, probability: ArrayLike, seed: int = 0) -> None:
        self.probability = np.ascontiguousarray(probability, np.float32)
        p = self.probability
        if p.ndim != 2 or not ((p >= 0) & (p <= 1)).all():
            raise UserError(f"probability must be [n, inputs] in [0, 1], got shape {p.shape}")
        self.inputs, self.seed = p.shape[1], seed

    def __len__(self) -> int:
        return len(self.probability)

    def show(self, number: int, steps: int, visit: int | None = None) -> Events:
        """See :class:`Stimuli`."""
        from spikesim.kernels.liquid_numba import bernoulli

        p = self.probability[number]
        word = key(self.seed, "shown", number, -1 if visit is None else visit)
        words = np.array([word & 0xFFFFFFFF, word >> 32], np.uint64)
        starts = np.empty(steps + 1, np.int64)
        inputs = np.empty(int(np.count_nonzero(p)) * steps, np.int32)
        bernoulli(p, words, steps, starts, inputs)
        return Events(starts, inputs[: starts[-1]])


class CameraStimuli:
    """Recordings of an event camera, an input neuron for each pixel and polarity.

    Times are rounded to milliseconds; several events of a pixel in one are one event. A snapshot
    begins at a random millisecond of its recording.

    Args:
        recordings: structured events with fields ``t`` (us), ``x``, ``y``, ``p``.
        sensor_size: width, height and polarities.
        seed: of where snapshots begin.

    Raises:
        UserError: an event that lies on no pixel of the sensor.
    """

    def __init__(
        self,
        recordings: Sequence[NDArray[Any]],
        sensor_size: tuple[int, int, int] = (34, 34, 2),
        seed: int = 0,
    ) -> None:
        width, height, polarities = sensor_size
        self.inputs, self.seed = width * height * polarities, seed
        for number, e in enumerate(recordings):
            for name, size in (("x", width), ("y", height), ("p", polarities)):
                if len(e) and not (e[name].min() >= 0 and e[name].max() < size):
                    raise UserError(
                        f"recording {number} has {name} from {e[name].min()} to {e[name].max()}, "
                        f"but sensor_size is {sensor_size}"
                    )
        self.recordings = [
            # Sorted by time, then by input.
            np.unique(
                (e["t"].astype(np.int64) + 500) // 1000 * self.inputs
                + (e["p"].astype(np.int64) * height + e["y"]) * width
                + e["x"]
            )
            for e in recordings
        ]

    def __len__(self) -> int:
        return len(self.recordings)

    def show(self, number: int, steps: int, visit: int | None = None) -> Events:
        """See :class:`Stimuli`."""
        events, first = self.recordings[number], 0
        if visit is not None and len(events):
            latest = int(events[-1]) // self.inputs + 1 - steps
            first = key(self.seed, "shown", number, visit) % max(latest + 1, 1)
        starts = np.searchsorted(events, (first + np.arange(steps + 1)) * self.inputs)
        inside = events[starts[0] : starts[-1]] % self.inputs
        return Events(starts - starts[0], inside.astype(np.int32))

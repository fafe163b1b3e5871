"""What a report page shows, apart from where it came from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikesim.probe import Recording


@dataclass(frozen=True)
class Clip:
    """One recording and what the model made of it.

    Attributes:
        frames: event counts ``[T, P, H, W]``.
        truth: index of the class.
        predicted: index of the answer.
        evidence: what the readout gives after each step, as probabilities ``[T, K]``.
        title: such as the number of the recording.
    """

    frames: NDArray[Any]
    truth: int
    predicted: int
    evidence: NDArray[Any]
    title: str = ""


@dataclass(frozen=True)
class ReportData:
    """Everything on the page. What is missing is ``None`` or empty, with its reason in ``notes``.

    Attributes:
        name: of the run.
        config: nested settings.
        metrics: one mapping per epoch: ``epoch``, ``loss``, ``accuracy``, ``lr``, ``seconds``, and
            losses and accuracies of other parts, such as ``validation_loss``.
        result: ``result.json``; empty for a run that did not finish.
        classes: class names in label order.
        confusion: test recordings ``[K, K]``: true class by row, answer by column.
        clips: animated recordings.
        recording: firing of the neurons on one of them.
        energy: an :meth:`~spikesim.energy.EnergyReport.to_dict`.
        beside: finished runs on the same data, this one among them: ``name``, ``accuracy``,
            ``interval``, ``energy``.
        notes: section -> why something is missing.
    """

    name: str
    config: Mapping[str, Any] = field(default_factory=dict)
    metrics: Sequence[Mapping[str, Any]] = ()
    result: Mapping[str, Any] = field(default_factory=dict)
    classes: Sequence[str] = ()
    confusion: NDArray[np.int64] | None = None
    clips: Sequence[Clip] = ()
    recording: Recording | None = None
    energy: Mapping[str, Any] | None = None
    beside: Sequence[Mapping[str, Any]] = ()
    notes: Mapping[str, str] = field(default_factory=dict)

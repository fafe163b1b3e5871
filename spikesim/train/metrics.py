"""Numbers of a run: means over an epoch, the interval of an accuracy, and ``metrics.jsonl``."""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from spikesim.errors import UserError


def wilson(correct: int, total: int, z: float = 1.959963984540054) -> tuple[float, float]:
    r"""Wilson's score interval of a fraction; ``z`` defaults to 95 %.

    .. math::
        \frac{p + z^2/2n \pm z \sqrt{p(1-p)/n + z^2/4n^2}}{1 + z^2/n}

    Reference: Wilson (1927).

    >>> [round(bound, 4) for bound in wilson(96, 100)]
    [0.9016, 0.9843]
    """
    if total == 0:
        return 0.0, 1.0
    p = correct / total
    middle = p + z * z / (2 * total)
    half = z * math.sqrt(p * (1 - p) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


@dataclass
class Meter:
    """Sums over the steps of an epoch; part of every checkpoint."""

    loss: float = 0.0
    correct: float = 0.0
    samples: int = 0
    events: float = 0.0
    seconds: float = 0.0

    def add(self, loss: float, correct: float, samples: int, events: float, seconds: float) -> None:
        """One step: mean loss, and what else it had."""
        self.loss += loss * samples
        self.correct += correct
        self.samples += samples
        self.events += events
        self.seconds += seconds

    def summary(self) -> dict[str, float]:
        """Means over the epoch so far."""
        count = max(self.samples, 1)
        rate = self.events / self.seconds if self.seconds > 0 else 0.0
        return {
            "loss": self.loss / count,
            "accuracy": self.correct / count,
            "events_per_second": rate,
            "seconds": self.seconds,
        }

    def to_dict(self) -> dict[str, float]:
        """For the checkpoint."""
        return asdict(self)


class MetricsFile:
    """One JSON object per line; lines reach the disk before the checkpoint that counts them.

    Args:
        path: of the file.
        keep: bytes that belong to the checkpoint the run resumes from; what follows is cut off.
    """

    def __init__(self, path: Path, keep: int) -> None:
        with path.open("ab") as file:
            file.truncate(min(keep, path.stat().st_size))
        self.path = path

    def write(self, record: Mapping[str, Any]) -> None:
        """Append one line."""
        line = json.dumps({key: _finite(value) for key, value in record.items()})
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())

    @property
    def bytes(self) -> int:
        """Length of the file."""
        return self.path.stat().st_size


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """All lines of a ``metrics.jsonl``, without a last one that a killed run left half written."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    records = []
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError as error:
            if number == len(lines):
                break
            raise UserError(f"{path}:{number} is no JSON ({error.msg}); restore the file") from None
    return records


def _finite(value: Any) -> Any:
    """``None`` for NaN and infinity, which JSON has not."""
    return None if isinstance(value, float) and not math.isfinite(value) else value

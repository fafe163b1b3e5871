"""Results in words."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def accuracy_line(values: Mapping[str, Any]) -> str:
    """Accuracy with its interval and counts.

    >>> accuracy_line({"accuracy": 0.96, "interval": (0.902, 0.984), "correct": 96, "total": 100})
    'accuracy 96.0 % (95 % interval 90.2 to 98.4), 96 of 100 recordings'
    """
    low, high = (100 * bound for bound in values["interval"])
    return (
        f"accuracy {100 * values['accuracy']:.1f} % (95 % interval {low:.1f} to {high:.1f}), "
        f"{values['correct']} of {values['total']} recordings"
    )


def result_text(run: Path, values: Mapping[str, Any]) -> str:
    """What a finished training adds to the accuracy; ``values`` as in ``result.json``."""
    from spikesim.energy.units import joule  # torch is behind it

    energy = values["energy"]
    text = (
        f"epochs {values['epochs']}, seed {values['seed']}, {values['parameters']:,} parameters, "
        f"{values['seconds']:.0f} s of training\n"
    )
    for name, charge in list(energy.get("models", {}).items())[:2]:
        low, high = map(joule, charge["interval"])
        beside = ", ".join(f"{joule(a['joules'])} as {b}" for b, a in charge["baselines"].items())
        text += (
            f"energy {joule(charge['joules'])} a recording ({low} to {high}), {beside} "
            f"({name}: {charge['title']})\n"
        )
    return text + f"everything is in {run}"

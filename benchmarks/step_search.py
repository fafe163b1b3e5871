"""The best choice of each library for the training step; all that was tried is kept."""

import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from typing import Any

import measure
from keep import OURS
from measure import Run
from step_choices import DTYPES, LAYOUTS, PEER, Choice, plan, yardsticks
from step_sides import Task, figures

BAR_TIMES = {"float32": 2.0, "bfloat16": 5.0}
BAR_MEMORY = 0.333
Figures = dict[str, Any]


class Search:
    """One run; ``rows`` of earlier ones say what needs no other try."""

    def __init__(self, task: Task, run: Run, rows: Sequence[dict[str, Any]]) -> None:
        self.task, self.run = task, run
        self.tried: dict[Choice, Figures] = {}
        self.fresh: list[Choice] = []
        names = [field.name for field in fields(Choice)]
        for told in (told for row in rows for side in row["sides"] for told in side["tried"]):
            choice = Choice(**{name: told[name] for name in names})
            self.tried[choice] = {k: v for k, v in told.items() if k not in (*names, "how")}

    def due(self, dtypes: Sequence[str], only: str) -> Choice | None:
        """What to measure next, of the choices named like ``only``."""
        asked = [c for c in plan(dtypes, self.layout, self.run) if re.search(only, c.name)]
        ours = yardsticks([d for d in dtypes if any(c.dtype == d for c in asked)], self.run)
        wanted = [*ours, *(c for c in asked if c not in self.tried)]
        return next((choice for choice in wanted if choice not in self.fresh), None)

    def measure(self, choice: Choice) -> None:
        """One choice, or why it has no figure."""
        measure.free(self.run)
        start = time.perf_counter()
        try:
            found = figures(choice, self.task, self.run)
        except Exception as error:  # another library's failure is a result
            found = {"status": measure.failure(error)}
        seconds = time.perf_counter() - start
        print(f"{choice.name}: {found} ({seconds:.1f} s)", file=sys.stderr, flush=True)
        self.tried[choice] = found
        self.fresh.append(choice)
        self.set_beside_ours(choice.dtype)

    def set_beside_ours(self, dtype: str) -> None:
        """Ratios of this run."""
        timed = [c for c in self.fresh if c.dtype == dtype and "ms" in self.tried[c]]
        ours = [self.milliseconds(c) for c in timed if c.library == OURS]
        for choice in timed if ours else []:
            if choice.library == PEER:
                ratio = self.milliseconds(choice) / min(ours)
                self.tried[choice]["times_ours"] = round(ratio, 4)

    def milliseconds(self, choice: Choice) -> float:
        """Of one step."""
        return float(self.tried[choice]["ms"]["median"])

    def least(
        self, figure: Callable[[Choice], float], library: str, dtype: str, *, released: bool = False
    ) -> Choice | None:
        """Of the choices with figures."""
        found = [
            choice
            for choice, out in self.tried.items()
            if (choice.library, choice.dtype) == (library, dtype)
            and "ms" in out
            and (choice.as_released or not released)
        ]
        return min(found, key=figure, default=None)

    def layout(self, library: str, dtype: str) -> str:
        """The faster one so far."""
        best = self.least(self.milliseconds, library, dtype)
        return best.layout if best else LAYOUTS[0]

    def rows(self) -> list[dict[str, Any]]:
        """Of the report: each dtype of which anything is known."""
        known = {choice.dtype for choice in self.tried}
        return [self.row(dtype) for dtype in DTYPES if dtype in known]

    def row(self, dtype: str) -> dict[str, Any]:
        """Both libraries in one dtype, and what is not known yet."""
        mine, other = sides = [self.side(library, dtype) for library in (OURS, PEER)]
        best, released = other["best"] or {}, other["as_released"] or {}
        planned = plan([dtype], self.layout, self.run)
        return {
            "dtype": dtype,
            "bar_times": BAR_TIMES[dtype],
            "bar_memory": BAR_MEMORY,
            "times_the_peer": best.get("times_ours"),
            "times_the_peer_as_released": released.get("times_ours"),
            "memory_over_the_peer": share(mine["best"], best),
            "smallest_over_the_peer": share(mine["smallest"], best),
            "missing": [choice.name for choice in planned if choice not in self.tried],
            "sides": sides,
        }

    def side(self, library: str, dtype: str) -> dict[str, Any]:
        """The best of a library in time and in memory, and all that was tried."""

        def told(choice: Choice | None) -> dict[str, Any] | None:
            if choice is None:
                return None
            return asdict(choice) | {"how": choice.how} | self.tried[choice]

        def peak(choice: Choice) -> float:
            return float(self.tried[choice]["peak_bytes"] or 0)

        mine = [c for c in self.tried if (c.library, c.dtype) == (library, dtype)]
        return {
            "library": library,
            "best": told(self.least(self.milliseconds, library, dtype)),
            "as_released": told(self.least(self.milliseconds, library, dtype, released=True)),
            "smallest": told(self.least(peak, library, dtype)) if self.run.on_gpu else None,
            "tried": [told(choice) for choice in mine],
        }


def share(mine: dict[str, Any] | None, other: dict[str, Any]) -> float | None:
    """Our peak memory over the other's."""
    if mine is None or not (mine["peak_bytes"] and other.get("peak_bytes")):
        return None
    return round(float(mine["peak_bytes"]) / other["peak_bytes"], 3)

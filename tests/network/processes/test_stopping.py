"""Errors, interruptions and lost processes: no process is left waiting."""

import os
import signal
from pathlib import Path

import pytest
from several import MANY, Results, attempt, check_equal, driven

from spikesim.errors import UserError
from spikesim.kernels.engine import Call, CpuEngine
from spikesim.network.recipes import brunel
from spikesim.world import World


def work_errors(folder: Path, world: World) -> Results:
    last = world.rank == world.size - 1

    def unlucky(ms: float) -> float:
        if last and ms > 5.0:
            raise ValueError("no such rate")
        return 8000.0

    again: list[bool] = []

    def interrupting(ms: float) -> float:
        if last and ms == 7.0 and not again:
            again.append(True)
            os.kill(os.getpid(), signal.SIGINT)
        return 8000.0

    found: Results = {"failed": attempt(lambda: driven(unlucky).run(20.0))}
    net = driven(interrupting)
    found["interrupted"] = attempt(lambda: net.run(20.0))
    found["then"] = net.time
    net.run(20.0 - net.time)
    found["state"] = net.state_dict()
    other = brunel(scale=0.02, seed=world.rank)
    found["another"] = attempt(lambda: other.run(1.0))
    net = brunel(scale=0.02)
    found["longer"] = attempt(lambda: net.run(1.0 + world.rank))
    return found


def work_lost(folder: Path, world: World) -> Results:
    """A process ends in the middle of a run."""
    last = world.rank == world.size - 1
    net = driven(lambda ms: os._exit(3) if last and ms > 5.0 else 8000.0)  # type: ignore[func-returns-value]
    return {"lost": attempt(lambda: net.run(20.0))}


@pytest.mark.parametrize("many", MANY)
def test_an_error_of_one_process_ends_the_run_of_all(
    found: dict[tuple[int, int], Results], many: int
) -> None:
    errors = found[many, 0]["work_errors"]
    assert errors["failed"] == "Stopped: another process failed; see what it says"
    assert errors["another"].startswith("UserError: process 1 has another network than process 0")
    assert errors["longer"] == (
        f"UserError: processes run to different times: to step 10 and to step {10 * many}"
    )
    assert found[many, many - 1]["work_errors"]["failed"] == "ValueError: no such rate"


@pytest.mark.parametrize("many", MANY)
def test_others_notice_that_a_process_is_gone(
    found: dict[tuple[int, int], Results], many: int
) -> None:
    for rank in range(many - 1):
        lost = found[many, rank]["work_lost"]["lost"]
        assert lost.startswith("Stopped: lost contact with another process")
        assert found[many, rank]["end"].startswith("lost contact with another process")
    assert "work_lost" not in found[many, many - 1]


@pytest.mark.parametrize("many", MANY)
def test_all_are_interrupted_at_one_step_and_can_go_on(
    found: dict[tuple[int, int], Results], many: int
) -> None:
    net = driven(lambda ms: 8000.0)
    net.run(20.0)
    for rank in range(many):
        errors = found[many, rank]["work_errors"]
        assert errors["interrupted"] == "KeyboardInterrupt: "
        assert 7.0 <= errors["then"] < 20.0
        check_equal(errors["state"], net.state_dict())


def test_what_a_call_raises_ends_the_run_of_the_engine() -> None:
    steps: list[int] = []

    def function(begin: int, many: int) -> None:
        steps.append(begin)
        if begin == 4:
            raise UserError("enough")

    for threads in (1, 2):
        steps.clear()
        engine = CpuEngine([Call(function)], 2, threads)
        with pytest.raises(UserError, match="enough"):
            engine.run(0, 20)
        assert steps == [0, 2, 4]

"""Many independent runs: of parameters, of seeds, of both."""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any, TypeVar

from spikesim.errors import UserError
from spikesim.network.distributed import gather, processes, undivided

T = TypeVar("T")


def cases(**values: Iterable[Any]) -> list[dict[str, Any]]:
    """All combinations of some values, the last name's changing fastest.

    >>> cases(g=[4.0, 5.0], seed=range(2))[1:3]
    [{'g': 4.0, 'seed': 1}, {'g': 5.0, 'seed': 0}]
    """
    for name, each in values.items():
        if not isinstance(each, Iterable) or isinstance(each, str):
            raise UserError(f"{name} must be a list of values, got {each!r}")
    return [dict(zip(values, case, strict=True)) for case in product(*values.values())]


def sweep(
    run: Callable[..., T], each: Iterable[Mapping[str, Any]], *, executor: Executor | None = None
) -> list[T]:
    """What ``run(**case)`` returns for each case, in the order of the cases.

    The networks that it makes are independent ones. Inside of
    :func:`~spikesim.network.distributed` with ``n`` processes each takes every ``n``-th case, and
    all have all results. On a GPU that one network leaves idle, let ``run`` make an
    :class:`~spikesim.network.Ensemble`.

    Args:
        run: makes a network, runs it, and returns what is wanted of it.
        each: keyword arguments of each run, as those of :func:`cases`.
        executor: takes the cases of this process: a ``ThreadPoolExecutor``, since a running network
            leaves other threads their turn, or a ``ProcessPoolExecutor``. By default they come one
            after the other.

    Raises:
        Exception: what the first case that failed raised, with a note that names it; all others
            have run.

    >>> def rate(seed, eta):
    ...     from spikesim.network.recipes import brunel
    ...     net = brunel(scale=0.02, seed=seed, eta=eta)
    ...     probe = net.probe(net.groups[0], "spikes")
    ...     net.run(50.0)
    ...     return probe.rate
    >>> low, high = sweep(rate, cases(eta=[0.5, 2.0], seed=[1]))
    >>> low < high
    True
    """
    every, world = list(each), processes()
    wrong = [case for case in every if not isinstance(case, Mapping)]
    if wrong or not callable(run):
        what = f"cases such as {{'seed': 1}}, got {wrong[0]!r}" if wrong else "a function"
        raise UserError(f"a sweep needs {what}")
    own = every[world.rank :: world.size]
    with undivided():
        attempt = partial(_attempt, run)
        found = list(map(attempt, own) if executor is None else executor.map(attempt, own))
    parts = gather(world, found)
    outcomes = [parts[i % world.size][i // world.size] for i in range(len(every))]
    for outcome in outcomes:
        if outcome.error is not None:
            raise outcome.error
    return [outcome.result for outcome in outcomes]


@dataclass(frozen=True)
class _Outcome:
    """What became of a case."""

    result: Any
    error: Exception | None = None


def _attempt(run: Callable[..., T], case: Mapping[str, Any]) -> _Outcome:
    try:
        return _Outcome(run(**case))
    except Exception as error:
        error.add_note(f"in the case {dict(case)}")
        return _Outcome(None, error)

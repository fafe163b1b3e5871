"""Numbers that a rule of plasticity is given, sends and counts."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from spikesim.errors import UserError
from spikesim.kernels.plastic_state import LAST_STEP, decay
from spikesim.network.plasticity import PairSTDP, Plasticity, Trace
from spikesim.network.plasticity.rule import Changes
from spikesim.types import Named

PRE, POST = np.array([4, 10, 30]), np.array([8, 12, 25])


@dataclass(frozen=True)
class Amplifies(Plasticity):
    """Sends a multiple of the weight."""

    gain: float = 1.0

    def on_pre(self, s: Named) -> Changes:
        return {"sent": s.w * self.gain}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("gain", "sent"), [(0.5, 0.5), (4.0, 1.0), (1e12, 1.0), (np.float32(2.0), 1.0), (-1.0, 0.0)]
)
def test_what_is_sent_stays_within_the_bounds(
    gain: float, sent: float, dtype: str, pairing: Any
) -> None:
    """So that no sum can pass what the quantum was chosen for."""
    made = pairing(Amplifies(w_max=1.0, gain=gain), 4 * [np.array([4])], [POST], weight=1.0)
    heard = made.net.probe(made.receivers, "v")
    made.net.run(10.0)
    assert heard.values.sum() == 4 * sent


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Trace(None), "tau of a trace must be > 0 ms"),  # type: ignore[arg-type]
        (lambda: Trace(20.0, rest="a"), "rest of a trace must be finite"),  # type: ignore[arg-type]
        (lambda: PairSTDP(w_max="2"), "w_max of PairSTDP must be finite"),  # type: ignore[arg-type]
        (lambda: PairSTDP(w_max=np.ones(2)), "w_max of PairSTDP"),  # type: ignore[arg-type]
        (lambda: PairSTDP(w_max=-np.inf), "w_min of PairSTDP must be below w_max"),
        (lambda: PairSTDP(w_max=2.0, rate=None), "rate of PairSTDP"),  # type: ignore[arg-type]
        (lambda: PairSTDP(w_max=2.0, alpha=np.float32("nan")), "alpha of PairSTDP"),
        (lambda: Listed(w_max=2.0, rates=[0.1, 0.2]), "rates of Listed must be one number for all"),
        (lambda: Untraced(w_max=2.0), "Untraced: x must be a Trace"),
    ],
)
def test_what_is_no_number_is_refused(make: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()


@dataclass(frozen=True)
class Listed(Plasticity):
    """Has numbers of synapses."""

    rates: Any = None

    def on_pre(self, s: Named) -> Changes:
        return {"w": s.w * self.rates}


class Untraced(Plasticity):
    """Gives a time constant for a trace."""

    def pre(self) -> Any:
        return {"x": 20.0}

    def on_pre(self, s: Named) -> Changes:
        return {"x": s.x + 1.0}


def test_a_trace_that_hardly_decays_takes_no_memory() -> None:
    table = decay(1e12, 0.1, "float64")
    assert table.coarse is not None
    assert table.coarse.nbytes < 2**25


def test_steps_beyond_what_synapses_count_are_refused(pairing: Any) -> None:
    made = pairing(PairSTDP(w_max=2.0), [PRE], [POST])
    state = {**made.net.state_dict(), "step": np.array(LAST_STEP - 4)}
    made.net.load_state_dict(state)
    with pytest.raises(UserError, match="counts 1073741824 steps at most"):
        made.net.run(10.0)

"""Intervals and bars from constants whose distribution is known in closed form."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pytest

from spikesim.energy.layer import Counts, LayerCounts
from spikesim.energy.model import Constant, EnergyModel, Term
from spikesim.energy.uncertainty import Bar, form, interval, ratio, sensitivity
from spikesim.errors import UserError

RUN = Counts((LayerCounts(name="x", kind="linear", effective_acs=2.0),), samples=1, steps=1)


@dataclass(frozen=True)
class Linear:
    """Two constants: one for each operation, one for each layer."""

    constants: Mapping[str, Constant]
    name: str = "linear"
    title: str = "linear"
    weight: Mapping[str, float] = field(default_factory=lambda: {"a": 1.0, "b": 1.0})

    def terms(self, layer: LayerCounts, run: Counts) -> list[Term]:
        return [Term("compute", name, self.weight[name] * layer.operations) for name in "ab"]

    def for_ann(self, weight_bits: int, activation_bits: int) -> EnergyModel:
        return self


def constant(value: float, low: float, high: float) -> Constant:
    return Constant(value, low, high, "J", "test")


def test_quantiles_are_those_of_the_triangle_over_the_logarithm() -> None:
    # Peak in the middle of the logarithm: quantile q < 1/2 lies at sqrt(q / 2) of the range.
    model = Linear({"a": constant(10.0, 1.0, 100.0), "b": constant(0.0, 0.0, 0.0)})
    found = interval(form(model, RUN), level=0.8, draws=200_000)
    ends = 2 * 100.0 ** np.array([np.sqrt(0.05), 1 - np.sqrt(0.05)])
    assert found.value == 20.0
    assert [found.low, found.high] == pytest.approx(list(ends), rel=0.01)


def test_draws_are_the_same_for_the_same_seed_only() -> None:
    model = Linear({"a": constant(10.0, 1.0, 100.0), "b": constant(1.0, 1.0, 2.0)})
    spent = form(model, RUN)
    assert interval(spent, seed=3) == interval(spent, seed=3)
    assert interval(spent, seed=3) != interval(spent, seed=4)


def test_shared_constants_are_drawn_once_for_both_sides_of_a_ratio() -> None:
    constants = {"a": constant(10.0, 1.0, 100.0), "b": constant(0.0, 0.0, 0.0)}
    ours = form(Linear(constants), RUN)
    theirs = form(Linear(constants, weight={"a": 4.0, "b": 1.0}), RUN)
    same = ratio(ours, theirs)
    assert (same.value, same.low, same.high) == pytest.approx((0.25, 0.25, 0.25))

    others = {**constants, "a": constant(10.0, 1.0, 99.0)}
    apart = ratio(ours, form(Linear(others, weight={"a": 4.0, "b": 1.0}), RUN))
    assert apart.high / apart.low > 10.0


def test_bars_are_sorted_by_what_they_decide() -> None:
    constants = {"a": constant(10.0, 9.0, 12.0), "b": constant(1.0, 0.0, 7.0)}
    bars = sensitivity(form(Linear(constants), RUN))
    assert bars == (
        Bar("b", constants["b"], low=20.0, high=34.0),
        Bar("a", constants["a"], low=20.0, high=26.0),
    )


def test_wrong_levels_draws_and_ratios_are_refused() -> None:
    spent = form(Linear({"a": constant(1.0, 1.0, 2.0), "b": constant(1.0, 1.0, 1.0)}), RUN)
    with pytest.raises(UserError, match="level must be between 0 and 1, got 95"):
        interval(spent, level=95)
    with pytest.raises(UserError, match="draws must be >= 2"):
        interval(spent, draws=1)
    with pytest.raises(UserError, match="energy of 0"):
        ratio(spent, {})

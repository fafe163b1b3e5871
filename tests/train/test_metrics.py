from pathlib import Path

import pytest
from scipy.stats import binomtest

from spikesim.errors import UserError
from spikesim.train.metrics import Meter, MetricsFile, read_metrics, wilson


@pytest.mark.parametrize(("correct", "total"), [(0, 7), (7, 7), (93, 100), (1, 3), (4985, 5000)])
def test_wilson_equals_scipy(correct: int, total: int) -> None:
    expected = binomtest(correct, total).proportion_ci(0.95, method="wilson")
    assert wilson(correct, total) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_meter_means_are_per_sample() -> None:
    meter = Meter()
    meter.add(loss=2.0, correct=1, samples=1, events=10, seconds=1.0)
    meter.add(loss=1.0, correct=2, samples=3, events=30, seconds=3.0)
    expected = {"loss": 1.25, "accuracy": 0.75, "events_per_second": 10.0, "seconds": 4.0}
    assert meter.summary() == expected
    assert Meter(**meter.to_dict()) == meter


def test_metrics_are_cut_to_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    file = MetricsFile(path, 0)
    file.write({"epoch": 1, "loss": 0.1})
    kept = file.bytes
    file.write({"epoch": 2, "loss": float("nan")})
    assert read_metrics(path)[1] == {"epoch": 2, "loss": None}
    with path.open("a") as half:
        half.write('{"epoch": 3, "lo')
    assert [line["epoch"] for line in read_metrics(path)] == [1, 2]
    MetricsFile(path, kept).write({"epoch": 2, "loss": 0.2})
    assert read_metrics(path) == [{"epoch": 1, "loss": 0.1}, {"epoch": 2, "loss": 0.2}]


def test_damage_inside_the_metrics_is_named(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"epoch": 1}\nnonsense\n{"epoch": 3}\n')
    with pytest.raises(UserError, match=r"metrics\.jsonl:2 is no JSON"):
        read_metrics(path)
    assert read_metrics(tmp_path / "nothing") == []

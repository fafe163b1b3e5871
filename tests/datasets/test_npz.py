"""Our own exchange file: what comes back, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikesim.datasets.readers import make_events, read_events, write_npz
from spikesim.errors import UserError

T = [10, 15, 15, 900, 70_000]
X = [0, 33, 5, 7, 12]
Y = [1, 2, 33, 3, 30]
P = [1, 0, 1, 1, 0]


def test_npz_round_trip_keeps_events_and_sensor(tmp_path: Path) -> None:
    events = make_events(T, X, Y, P)
    path = write_npz(tmp_path / "a.npz", events, (40, 50, 2))
    again, sensor = read_events(path)
    assert sensor == (40, 50, 2)
    np.testing.assert_array_equal(again, events)
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]


def test_npz_of_any_field_order_and_structured_npz_are_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=X, y=Y, t=np.array(T, float), p=[1, -1, 1, 1, -1])
    np.savez(tmp_path / "b.npz", events=make_events(T, X, Y, P))
    first, size = read_events(tmp_path / "a.npz")
    second, _ = read_events(tmp_path / "b.npz")
    assert size == (34, 34, 2)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, make_events(T, X, Y, P))


@pytest.mark.parametrize(
    ("arrays", "complaint"),
    [
        ({"t": [1], "x": [1]}, "has the arrays t, x; expected t"),
        ({"t": [1, 2], "x": [1], "y": [1], "p": [1]}, "four vectors of one length"),
        ({"t": [1], "x": [40_000], "y": [1], "p": [1]}, "x runs from 40000 to 40000"),
        ({"t": [1], "x": [1], "y": [-1], "p": [1]}, "y runs from -1"),
    ],
)
def test_npz_with_wrong_arrays_is_refused(
    arrays: dict[str, Any], complaint: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(UserError, match=complaint):
        read_events(tmp_path / "a.npz")


def test_truncated_npz_is_refused(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "a.npz", make_events(T, X, Y, P), (40, 50, 2))
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UserError, match="truncated or damaged"):
        read_events(path)


def test_npz_with_a_damaged_byte_is_refused(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    t = np.sort(random.integers(0, 10**6, 5000))
    x, y, p = random.integers(0, 34, (3, 5000))
    path = write_npz(tmp_path / "a.npz", make_events(t, x, y, p > 16), (34, 34, 2))
    content = path.read_bytes()
    for place in range(100, len(content) // 2, 311):
        path.write_bytes(content[:place] + bytes([content[place] ^ 64]) + content[place + 1 :])
        with pytest.raises(UserError, match="truncated or damaged"):
            read_events(path)


def test_npz_never_unpickles(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", t=np.array([{}], dtype=object))
    with pytest.raises(UserError, match="damaged"):
        read_events(tmp_path / "a.npz")

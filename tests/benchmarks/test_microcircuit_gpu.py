"""The script of the microcircuit runs, on a machine without a GPU too, and keeps what it prints."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "microcircuit_gpu.py"
# A script finds its neighbours as it does for a user: in its own folder.
PLAIN = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=PLAIN, timeout=300)


def test_two_small_networks_on_a_cpu(tmp_path: Path) -> None:
    out = tmp_path / "microcircuit_cpu.json"
    small = ("scale=0.02", "seconds=0.05", "warm=0.02", "rates=0.1", "batch=2", "threads=1")
    done = run(*small, "device=cpu", "--out", str(out))
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads(out.read_text())
    assert json.loads(done.stdout) == report
    assert (report["device"], report["batch"], report["memory_gib"]) == ("cpu", 2, 0)
    # 77,169 neurons and 0.299e9 synapses, of both networks, each scaled twice.
    assert report["neurons"] == pytest.approx(2 * 0.02 * 77_169, rel=0.01)
    assert report["synapses"] == pytest.approx(2 * 0.02**2 * 0.299e9, rel=0.05)
    assert report["real_time_factor"] == pytest.approx(report["run_s"] / 0.05)
    assert report["biological_s_per_s"] == pytest.approx(2 / report["real_time_factor"])
    assert report["us_per_step"] == pytest.approx(1e6 * report["run_s"] / 500)
    assert 0 < report["connect_s"] < report["build_s"]
    assert set(report["rates_hz"]) == {
        f"L{n}{kind}" for n in ("23", "4", "5", "6") for kind in "EI"
    }
    assert 0 < max(report["rates_hz"].values()) < 100


@pytest.mark.parametrize(
    ("argument", "word"), [("size=1", "unknown key 'size'"), ("scale=big", "scale")]
)
def test_mistakes_are_one_line(argument: str, word: str) -> None:
    done = run(argument)
    assert done.returncode != 0
    assert word in done.stderr
    assert "Traceback" not in done.stderr

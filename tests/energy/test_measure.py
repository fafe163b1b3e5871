"""Joules by counters: fake ones, whose every joule is known."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from spikesim.energy import measure as module
from spikesim.energy import meters
from spikesim.energy.measure import measure
from spikesim.energy.meters import NVML, RAPL
from spikesim.errors import UserError


class Machine:
    """A clock, and power that depends on what is done: 10 W idle, 50 W busy."""

    name = "machine"

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = self.spent = 0.0
        clock = SimpleNamespace(perf_counter=lambda: self.now, sleep=self.sleep)
        monkeypatch.setattr(module, "time", clock)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.spent += 10.0 * seconds

    def work(self) -> None:
        self.now += 0.25
        self.spent += 50.0 * 0.25

    def joules(self) -> float:
        return self.spent


def test_idle_is_subtracted(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    found = measure(machine.work, seconds=3.0, repeats=2, meters=[machine])
    (one,) = found.meters
    assert one.joules == pytest.approx((50.0 - 10.0) * 0.25)
    assert (one.low, one.high) == pytest.approx((one.joules, one.joules))
    assert (one.idle_watts, one.busy_watts) == pytest.approx((10.0, 50.0))
    assert (found.calls, found.seconds) == (24, pytest.approx(0.25))
    assert any("not what a chip would need" in line for line in found.lines())


def test_spread_is_that_of_the_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)

    def work() -> None:
        machine.now += 3.0
        machine.spent += 90.0 if machine.now < 10.0 else 120.0

    (one,) = measure(work, repeats=2, meters=[machine]).meters
    assert (one.low, one.high) == pytest.approx((60.0, 90.0))
    assert one.joules == pytest.approx(75.0)


@pytest.mark.parametrize("wrong", [{"seconds": 2.9}, {"seconds": float("nan")}, {"repeats": 0}])
def test_what_cannot_be_measured_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UserError, match="must be >="):
        measure(lambda: None, meters=[], **wrong)


def test_nothing_is_called_where_nothing_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "available", lambda device: ([], {"CPU": "no counters"}))
    found = measure(lambda: pytest.fail("called"))
    assert (found.meters, found.calls) == ((), 0)
    assert found.lines() == ["not measured, CPU: no counters"]


def zone(folder: Path, number: str, name: str, energy: int, size: int = 1_000_000) -> Path:
    path = folder / f"intel-rapl:{number}"
    path.mkdir(parents=True)
    for file, value in (("name", name), ("energy_uj", energy), ("max_energy_range_uj", size)):
        (path / file).write_text(f"{value}\n")
    return path


def test_rapl_adds_packages_and_memory_and_goes_on_after_a_wrap(tmp_path: Path) -> None:
    first, second = zone(tmp_path, "0", "package-0", 900_000), zone(tmp_path, "1", "package-1", 0)
    memory, core = zone(tmp_path, "0:1", "dram", 5), zone(tmp_path, "0:0", "core", 0)
    system = zone(tmp_path, "2", "psys", 0)
    meter = RAPL(tmp_path)
    assert meter.joules() == 0.0
    for path, energy in ((first, 100_000), (second, 50_000), (memory, 10_005), (core, 777_777),
                         (system, 888_888)):  # fmt: skip
        (path / "energy_uj").write_text(str(energy))
    # 100,000 uJ to the end of the range and 100,000 from 0 on, 50,000, 10,000.
    assert meter.joules() == pytest.approx(0.26)
    (first / "energy_uj").write_text("400000")
    assert meter.joules() == pytest.approx(0.56)


def test_rapl_says_why_it_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no RAPL counters"):
        RAPL(tmp_path)
    (zone(tmp_path, "0", "package-0", 1) / "energy_uj").unlink()
    with pytest.raises(UserError, match="may not be read"):
        RAPL(tmp_path)


DRIVER = r"""
#include <string.h>
struct device { unsigned long long energy; };
static struct device only = {5000000000000ULL};
int nvmlInit_v2(void) { return 0; }
int nvmlDeviceGetHandleByUUID(const char *name, struct device **out) {
    if (strcmp(name, "GPU-12-34")) return 6;
    *out = &only;
    return 0;
}
int nvmlDeviceGetTotalEnergyConsumption(struct device *of, unsigned long long *out) {
    *out = of->energy;
    of->energy += 2500;
    return 0;
}
const char *nvmlErrorString(int code) { return code == 6 ? "Not Found" : "?"; }
"""
"""A driver's library with one device, which takes 2.5 J from one reading to the next."""


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Torch sees a GPU of the given identifier; the driver's library knows ``12-34``."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("gcc is not installed: no library can stand in for the driver's")
    source, path = tmp_path / "driver.c", tmp_path / "driver.so"
    source.write_text(DRIVER)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", path, source], check=True)
    monkeypatch.setattr(meters, "LIBRARY", str(path))

    def given(identifier: str) -> None:
        properties = SimpleNamespace(uuid=identifier)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU")
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)

    return given


def test_nvml_reads_the_device_that_torch_uses(driver: Callable[[str], None]) -> None:
    driver("12-34")
    meter = NVML(torch.device("cuda:0"))
    assert (meter.name, meter.joules(), meter.joules()) == ("GPU (a GPU)", 2.5, 5.0)


def test_a_missing_meter_has_its_reason(
    driver: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    driver("56")
    monkeypatch.setattr(RAPL.__init__, "__defaults__", (tmp_path,))
    found, missing = meters.available(torch.device("cuda"))
    assert not found
    assert missing["GPU"].endswith("counter: nvmlDeviceGetHandleByUUID: Not Found (6)")
    assert "no RAPL counters" in missing["CPU"]
    monkeypatch.setattr(meters, "LIBRARY", str(tmp_path / "none.so"))
    assert "none.so" in meters.available(torch.device("cuda"))[1]["GPU"]

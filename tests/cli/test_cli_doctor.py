"""The doctor: what runs, what is missing, and what to do."""

import json
from collections import namedtuple
from collections.abc import Callable

import pytest
import torch
from typer.testing import Result

from spikesim.cli import checks
from spikesim.errors import BackendError
from spikesim.kernels import check as kernel_check

Cli = Callable[..., Result]


def test_doctor_finds_this_machine_ready(spikesim: Cli) -> None:
    result = spikesim("doctor", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["ok"] is True
    found = {(one["section"], one["name"]): one for one in document["checks"]}
    assert found["versions", "torch"]["detail"] == torch.__version__
    assert found["backends", "torch"]["state"] == "ok"
    assert "compiled" in found["backends", "numba"]["detail"]
    assert found["datasets", "nmnist"]["state"] == "ok"
    absent = found["datasets", "shd"]
    assert absent["state"] == "absent"
    assert "spikesim datasets prepare shd" in absent["cure"]


def test_everything_absent_comes_with_a_cure(spikesim: Cli) -> None:
    document = json.loads(spikesim("doctor", "--json").stdout)
    for one in document["checks"]:
        assert one["state"] == "ok" or one["cure"], one


def test_text_ends_with_what_to_do(spikesim: Cli) -> None:
    result = spikesim("doctor")
    assert result.exit_code == 0
    assert result.stdout.rstrip().endswith("ready: spikesim train")
    assert "to do" in result.stdout


def test_broken_backend_is_reported_and_fails(
    spikesim: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> str:
        raise BackendError("numba does not load: no llvmlite; pip install numba")

    monkeypatch.setitem(kernel_check.CHECKS, "numba", broken)
    result = spikesim("doctor", "--json")
    assert result.exit_code == 1
    (one,) = [one for one in json.loads(result.stdout)["checks"] if one["state"] == "broken"]
    assert one["name"] == "numba"
    assert one["detail"] == "numba does not load: no llvmlite"
    assert one["cure"] == "pip install numba"


def test_full_disk_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:  # type: ignore[no-untyped-def]
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda _: usage(2**40, 2**40, 2**20))
    (one,) = checks.disk({"runs": tmp_path / "not" / "yet" / "there"})
    assert (one.state, one.name) == ("broken", "runs")
    assert "free some space" in one.cure


def test_check_refuses_wrong_spikes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_check, "_SPIKES", [0.0, 0.0, 1.0])
    for name in kernel_check.REQUIRED:
        with pytest.raises(BackendError, match="reinstall"):
            kernel_check.CHECKS[name]()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("name", ["torch cuda", "cupy"])
def test_gpu_backends_run(name: str) -> None:
    assert "right on" in kernel_check.CHECKS[name]()

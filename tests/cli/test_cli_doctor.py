"""The doctor: what runs, what is missing, and what to do."""

import json
import sys
from collections import namedtuple
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

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
    fused = found["neurons", "neurons on cpu"]
    assert fused["state"] == "ok"
    assert fused["detail"] == (
        "backend auto is numba: LIF compiled by numba, spikes and gradient right"
    )
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


def test_fused_kernel_that_is_wrong_or_does_not_compile_is_broken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from spikesim.kernels.numba_backend import NumbaBackend
    from spikesim.kernels.numba_backend import _run as run

    def wrong(call: Any, is_forward: bool, spikes: str, arrays: Sequence[Any]) -> None:
        run(call, is_forward, spikes, arrays)
        if not is_forward:
            arrays[3].mul_(1.01)  # the gradient of the input

    def no_compiler(*_: Any) -> None:
        raise OSError("no space\nleft; really")

    monkeypatch.setattr("spikesim.kernels.numba_backend._run", wrong)
    (one,) = checks.neurons()
    assert one.state == "broken"
    assert "numba on cpu gave other spikes or gradients than torch" in one.detail
    assert one.cure == "reinstall numba, or use backend='torch' there"
    monkeypatch.setattr(NumbaBackend, "forward", no_compiler)
    (one,) = checks.neurons()
    assert one.detail.endswith("numba runs no neuron on cpu: no space left, really")


def test_without_a_backend_auto_is_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spikesim.kernels.backends.INSTALLED", ())
    (one,) = checks.neurons()
    assert (one.state, one.detail) == ("absent", "backend auto is torch: none is fused")
    assert one.cure == "pip install numba for fused kernels"


@pytest.mark.parametrize(("cuda", "wheel"), [("12.8", "cupy-cuda12x"), ("13.0", "cupy-cuda13x")])
def test_cupy_is_named_by_the_cuda_of_torch(
    cuda: str, wheel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(BackendError, match=f"^CuPy is not installed; pip install {wheel}$"):
        kernel_check.check_cupy()
    if checks.version_of("cupy") is None:
        (row,) = [check for check in checks.versions() if check.name == "cupy"]
        assert row.cure == f"only if you need it: pip install {wheel}"


def test_cupy_for_another_cuda_names_the_right_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A package whose import fails as CuPy's does without its CUDA libraries."""
    (tmp_path / "cupy").mkdir()
    (tmp_path / "cupy" / "__init__.py").write_text(
        "raise ImportError('Failed to import CuPy.\\nlibnvrtc.so.12: cannot open shared object')"
    )
    record = tmp_path / "cupy_cuda12x-14.2.0.dist-info"
    record.mkdir()
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: cupy-cuda12x\nVersion: 14.2\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    with pytest.raises(BackendError) as caught:
        kernel_check.check_cupy()
    assert str(caught.value) == (
        "CuPy does not load: Failed to import CuPy. libnvrtc.so.12: cannot open shared object; "
        "pip uninstall cupy-cuda12x, then pip install cupy-cuda13x: torch is built for 13.0"
    )
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    with pytest.raises(BackendError, match="nvidia-smi"):
        kernel_check.check_cupy()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_neurons_run_on_every_device() -> None:
    found = list(checks.neurons())
    assert [one.name for one in found] == [
        "neurons on cpu",
        *(f"neurons on cuda:{index}" for index in range(torch.cuda.device_count())),
    ]
    assert all(one.state == "ok" for one in found), found
    assert "auto is cupy" in found[1].detail


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("name", ["torch cuda", "cupy"])
def test_gpu_backends_run(name: str) -> None:
    assert "right on" in kernel_check.CHECKS[name]()

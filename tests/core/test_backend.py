"""Which backend runs a model: chosen, read, shown."""

import ast
import re
import shutil
import subprocess
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import torch
from torch import nn

from spikesim.backend import set_backend
from spikesim.errors import BackendError, UserError
from spikesim.kernels import backends
from spikesim.kernels.tape import TraceError
from spikesim.models import create
from spikesim.neuron import Neuron
from spikesim.neurons import ALIF, LIF
from spikesim.train.config import TrainSettings

NUMBA_MODULE = re.compile(r'(?m)^"""The step')


def _backends(model: nn.Module) -> set[str]:
    return {m.backend for m in model.modules() if isinstance(m, Neuron)}


def test_every_neuron_of_a_model_is_set() -> None:
    model = create("spiking_vgg", num_classes=2, steps=2, image_size=8, layers="4-M-fc8")
    x = 3 * torch.rand(2, 2, 2, 8, 8)
    assert _backends(model) == {"auto"}
    outputs = []
    for name in ("torch", "numba"):
        assert set_backend(model, name) is model  # type: ignore[arg-type]
        assert _backends(model) == {name}
        assert f"backend={name}" in repr(model)
        outputs.append(model.eval()(x))
    assert torch.equal(*outputs)


def test_unknown_name_and_backend_that_cannot_serve() -> None:
    with pytest.raises(UserError, match="one of auto, torch, numba, cupy, got 'triton'"):
        set_backend(LIF(), "triton")  # type: ignore[arg-type]
    neuron = set_backend(LIF(), "cupy")
    with pytest.raises(BackendError, match="'cupy' does not serve cpu tensors; use"):
        neuron(torch.rand(2, 1, 3))


def test_settings_offer_the_backends_there_are() -> None:
    assert get_args(get_type_hints(TrainSettings)["backend"]) == backends.NAMES


def test_what_runs_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert backends.ready("auto", "cpu") == "numba (auto)"
    assert backends.ready("torch", "cuda") == "torch"
    with pytest.raises(BackendError, match="does not serve cuda tensors"):
        backends.ready("numba", "cuda")
    monkeypatch.setattr(backends, "INSTALLED", ())
    assert backends.ready("auto", "cpu") == "torch (auto)"
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    with pytest.raises(BackendError, match="'cupy' is not installed; pip install cupy-cuda12x"):
        backends.ready("cupy", "cuda")


@pytest.mark.parametrize(
    ("tau", "dtype"),
    [
        (2.0, torch.float32),
        (torch.tensor([2.0, 3.0]), torch.float64),
        (2.0, torch.bfloat16),
    ],
)
def test_numba_source_is_what_is_compiled(
    tau: float, dtype: torch.dtype, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The texts that a run leaves in its cache are the shown ones, character for character."""
    from spikesim.kernels import numba_backend

    monkeypatch.setenv("SPIKESIM_CACHE", str(tmp_path))
    monkeypatch.setattr(numba_backend, "_kernels", {})
    neuron = ALIF(tau)
    shown = neuron.kernel_source("numba", dtype)
    x = torch.rand(3, 1, 2, dtype=dtype, requires_grad=True)
    set_backend(neuron, "numba")(x).sum().backward()
    written = {path.read_text() for path in (tmp_path / "kernels").glob("*.py")}
    assert len(written) == 2
    starts = [m.start() for m in NUMBA_MODULE.finditer(shown)]
    assert len(starts) == 2
    assert {shown[: starts[1]].rstrip("\n"), shown[starts[1] :].rstrip("\n")} == {
        text.rstrip("\n") for text in written
    }
    ast.parse(shown)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_cuda_source_has_both_kernels(dtype: torch.dtype) -> None:
    text = LIF().kernel_source("cupy", dtype)
    for kernel in ("forward", "backward"):
        assert re.search(rf"\bGLOBAL void \w+ {kernel}\(", text), kernel
    assert "#include" not in text
    assert text.count("{") == text.count("}")
    assert LIF(tau=7.0).kernel_source("cupy", dtype) == text  # numbers are arguments
    assert LIF(v_reset=None).kernel_source("cupy", dtype) != text


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="no CUDA compiler here")
def test_cuda_source_compiles(tmp_path: Path) -> None:
    path = tmp_path / "lif.cu"
    path.write_text(LIF().kernel_source("cupy"))
    command = ["nvcc", "-std=c++17", "-arch=sm_90", "-ptx", "-o", str(tmp_path / "lif.ptx")]
    done = subprocess.run([*command, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_source_that_does_not_exist() -> None:
    with pytest.raises(UserError, match="must be numba or cupy, which print kernels; got 'torch'"):
        LIF().kernel_source("torch")
    with pytest.raises(UserError, match=r"one of float32, float64, .*, got torch\.int64"):
        LIF().kernel_source("numba", torch.int64)

    class Sorted(Neuron):
        def step(self, state, inputs, p):  # type: ignore[no-untyped-def]
            return state, torch.sort(inputs.x).values

    with pytest.raises(TraceError, match="sort"):
        Sorted().kernel_source("numba")

"""Batch norm taken over by the neuron: against torch's batch norm, then the neuron."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from spikesim.batch_norm import BatchNorm
from spikesim.errors import UserError
from spikesim.layers import SpikingSequential, TimeDistributed
from spikesim.neuron import Neuron
from spikesim.neurons import LIF, PLIF
from spikesim.surrogate import FastSigmoid, Smoothed

BACKENDS = ["torch", "numba"]
SHAPES = {
    "one step": (1, 4, 3, 5, 7),
    "no axes": (5, 6, 3),
    "one sample": (5, 1, 7),
    "series": (3, 4, 33, 5),
    "maps": (4, 3, 6, 5, 7),
    "long, one channel": (35, 2, 1, 3, 3),
    "volumes": (3, 2, 4, 2, 3, 5),
}
# Relative to the largest: the same sums in another order.
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}


def pair(norm: nn.Module, neuron: Neuron, backend: str = "auto") -> SpikingSequential:
    neuron.backend = backend
    return SpikingSequential(TimeDistributed(norm), neuron)


def theirs(channels: int, dims: int, **options: object) -> nn.Module:
    kind = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}[dims]
    return kind(channels, **options)


def twins(
    shape: tuple[int, ...], backend: str, neuron: Neuron, dtype: torch.dtype, **options: object
) -> tuple[SpikingSequential, nn.Sequential]:
    """Ours, and torch's batch norm before the same neuron in torch."""
    reference = pair(theirs(shape[2], len(shape) - 1, **options), neuron, "torch").to(dtype)
    for parameter in reference[0].parameters():
        nn.init.uniform_(parameter, 0.5, 1.5)
    ours = pair(BatchNorm(shape[2], **options), copy.deepcopy(neuron), backend).to(dtype)
    ours.load_state_dict(reference.state_dict())
    return ours, nn.Sequential(*reference)


def batch(shape: tuple[int, ...], dtype: torch.dtype, last: bool = False) -> Tensor:
    x = torch.randn(shape, dtype=torch.float64) * 1.5 + torch.linspace(-1, 2, shape[2]).view(
        -1, *[1] * (len(shape) - 3)
    )
    x = x.to(dtype)
    return x.movedim(2, -1).contiguous().movedim(-1, 2) if last else x


def near(got: Tensor | None, expected: Tensor | None, tolerance: float) -> None:
    assert got is not None
    assert expected is not None
    assert got.shape == expected.shape
    assert (got - expected).abs().max() <= tolerance * expected.abs().max()


def step(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Output, input gradient and parameter gradients for a fixed cotangent."""
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    model.zero_grad()
    out = model(x)
    generator = torch.Generator().manual_seed(7)
    out.backward(torch.randn(x.shape, dtype=torch.float64, generator=generator).to(out.dtype))
    assert x.grad is not None
    grads = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return out.detach(), x.grad, grads


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_training_step_equals_torchs(
    shape: tuple[int, ...], last: bool, dtype: torch.dtype, backend: str
) -> None:
    ours, reference = twins(shape, backend, PLIF(v_threshold=0.6), dtype)
    x = batch(shape, dtype, last)
    for _ in range(2):
        expected, got = step(reference, x), step(ours, x)
        assert torch.equal(got[0], expected[0])
        assert 0 < got[0].mean() < 1
        near(got[1], expected[1], TOLERANCE[dtype])
        assert got[2].keys() == expected[2].keys()
        for name, value in expected[2].items():
            near(got[2][name], value, TOLERANCE[dtype])
    for name, value in reference.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "options",
    [
        {"affine": False},
        {"track_running_stats": False},
        {"affine": False, "track_running_stats": False, "eps": 0.3},
        {"momentum": None},
        {"momentum": 0.7, "eps": 1e-3},
    ],
    ids=str,
)
def test_options_mean_what_they_mean_in_torch(
    options: dict[str, object], training: bool, backend: str
) -> None:
    ours, reference = twins((3, 4, 5, 2, 3), backend, LIF(), torch.float64, **options)
    assert list(ours.state_dict()) == list(reference.state_dict())
    for _ in range(3):
        step(reference, x := batch((3, 4, 5, 2, 3), torch.float64)), step(ours, x)
    ours.train(training), reference.train(training)
    expected, got = step(reference, x), step(ours, x)
    assert torch.equal(got[0], expected[0])
    near(got[1], expected[1], 1e-10)
    for name, value in expected[2].items():
        near(got[2][name], value, 1e-10)
    for name, value in reference.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_spikes_are_those_of_the_stored_normalisation(
    dtype: torch.dtype, training: bool, backend: str
) -> None:
    """Bit for bit, with the same mean, scale and shift; half precision is storage only."""
    norm = BatchNorm(6)
    nn.init.uniform_(norm.weight), nn.init.uniform_(norm.bias)
    norm(batch((1, 50, 6), torch.float32)[0])
    norm.train(training)
    neuron = LIF(v_threshold=0.4, refractory=1.0)
    x = batch((20, 9, 6, 11), dtype)
    done = norm.normalisation(x)
    neuron.backend = "torch"
    expected = neuron((x.float() - done.mean[:, None]) * _scale(done) + norm.bias[:, None])
    neuron.backend = backend
    got = neuron(x, done)
    assert got.dtype == dtype
    assert torch.equal(got.float(), expected)
    assert 0.05 < expected.mean() < 0.95


def _scale(done: object) -> Tensor:
    return (done.weight * done.inverse)[:, None]  # type: ignore[attr-defined]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_gradient_is_the_wide_one_rounded(dtype: torch.dtype, backend: str) -> None:
    ours = pair(BatchNorm(6), LIF(), backend)
    x = batch((4, 5, 6, 8, 8), dtype)
    out, grad, parameters = step(ours, x)
    wide = pair(BatchNorm(6), LIF(), "torch")
    expected = step(wide, x.float())
    assert torch.equal(out.float(), expected[0])
    assert grad.dtype == dtype
    # Rounded after the neuron and after the statistics, each by half a unit in the last place.
    near(grad.float(), expected[1], 2 * torch.finfo(dtype).eps)
    for name, value in parameters.items():
        assert value.dtype == torch.float32
        # The cotangents were rounded.
        near(value, expected[2][name], torch.finfo(dtype).eps)


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradient_by_finite_differences(backend: str) -> None:
    """Of the smoothed neuron, through the statistics."""
    norm, neuron = BatchNorm(2), LIF(surrogate=Smoothed(FastSigmoid()))
    ours = pair(norm, neuron, backend).double()
    x = batch((3, 2, 2, 3), torch.float64).requires_grad_()
    parameters = [norm.weight, norm.bias]
    assert torch.autograd.gradcheck(lambda x, *_: ours(x), (x, *parameters))
    ours.eval()
    assert torch.autograd.gradcheck(lambda x, *_: ours(x), (x, *parameters))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("reentrant", [False, True])
def test_recomputation_changes_nothing(reentrant: bool, backend: str) -> None:
    shape = (4, 3, 6, 5, 7)
    plain, _ = twins(shape, backend, LIF(), torch.float32)
    again = copy.deepcopy(plain)
    x = batch(shape, torch.float32)
    expected = step(plain, x)

    class Again(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inside = again

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = checkpoint(self.inside, x, use_reentrant=reentrant)
            return out

    got = step(Again(), x)
    assert torch.equal(got[0], expected[0])
    assert torch.equal(got[1], expected[1])
    for a, b in zip(again.buffers(), plain.buffers(), strict=True):
        assert torch.equal(a, b)
    assert int(again[0][0].num_batches_tracked) == 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_backward_twice_and_from_an_expanded_gradient(backend: str) -> None:
    ours, reference = twins((4, 3, 6, 5, 7), backend, LIF(), torch.float64)
    x = batch((4, 3, 6, 5, 7), torch.float64).requires_grad_()
    y = x.detach().clone().requires_grad_()
    loss = ours(x)[::2].sum()
    before = x.detach().clone()
    loss.backward(retain_graph=True), loss.backward()
    reference(y)[::2].sum().mul(2).backward()
    near(x.grad, y.grad, 1e-10)
    assert torch.equal(x.detach(), before)


def test_input_between_others_is_taken_as_it_lies() -> None:
    """A step of something larger, and a transposed batch: not dense with time outermost."""
    ours, reference = twins((4, 3, 6, 5), "numba", LIF(), torch.float64)
    wide = torch.randn(4, 3, 6, 10, dtype=torch.float64)
    for x in (wide[..., ::2], torch.randn(3, 4, 6, 5, dtype=torch.float64).transpose(0, 1)):
        inputs = [x.detach().requires_grad_() for _ in range(2)]
        expected, got = (m(v) for m, v in zip((reference, ours), inputs, strict=True))
        assert torch.equal(got, expected)
        for out in (expected, got):
            (out * torch.linspace(0, 1, 5)).sum().backward()
        near(inputs[1].grad, inputs[0].grad, 1e-10)


def test_normalised_values_are_not_kept() -> None:
    """Backward needs the input, numbers per channel, and nothing else."""
    ours = pair(BatchNorm(64), LIF(), "numba")
    x = batch((8, 4, 64, 16, 16), torch.float32).requires_grad_()
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        ours(x)
    assert sum(kept.values()) < 1.01 * x.untyped_storage().nbytes()
    assert x.untyped_storage().data_ptr() in kept


def test_no_gradient_where_none_is_wanted() -> None:
    ours = pair(BatchNorm(3), LIF(), "numba")
    with torch.no_grad():
        assert not ours(batch((2, 4, 3), torch.float32)).requires_grad
    for parameter in ours.parameters():
        parameter.requires_grad_(False)
    x = batch((2, 4, 3), torch.float32)
    assert not ours(x).requires_grad
    ours(x.requires_grad_()).sum().backward()
    assert x.grad is not None


@pytest.mark.parametrize(
    ("x", "wish"),
    [
        (torch.zeros(2, 4, 5, 3), "batch norm of 3 channels takes .* 3, ...], got .*2, 4, 5, 3"),
        (torch.zeros(2, 4, 3, dtype=torch.int64), "floating point .* got torch.int64"),
        (torch.zeros(1, 1, 3), "more than 1 value per channel"),
        (torch.zeros(1, 1, 3, 1, 1), "more than 1 value per channel"),
        (torch.zeros(0, 4, 3), "more than 1 value per channel"),
    ],
)
def test_input_that_cannot_be_normalised_is_named(x: Tensor, wish: str) -> None:
    with pytest.raises(UserError, match=wish):
        pair(BatchNorm(3), LIF())(x)


def test_nan_stays_in_its_channel() -> None:
    x = batch((3, 4, 5), torch.float32)
    clean = pair(BatchNorm(5), LIF())(x)
    x[1, 2, 3] = torch.nan
    out = pair(BatchNorm(5), LIF())(x)
    assert torch.equal(out[:, :, :3], clean[:, :, :3])
    assert torch.equal(out[:, :, 4], clean[:, :, 4])
    assert out[:, :, 3].sum() == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_compiled_whole_equals_eager(backend: str) -> None:
    shape = (4, 3, 6, 5, 7)
    ours, _ = twins(shape, backend, PLIF(), torch.float32)
    compiled = copy.deepcopy(ours)
    x = batch(shape, torch.float32)
    expected = step(ours, x)
    torch._dynamo.reset()
    got = step(torch.compile(compiled, fullgraph=True, backend="aot_eager"), x)
    assert torch.equal(got[0], expected[0])
    near(got[1], expected[1], 1e-5)
    for a, b in zip(compiled.parameters(), ours.parameters(), strict=True):
        near(a.grad, b.grad, 1e-5)
    for a, b in zip(compiled.buffers(), ours.buffers(), strict=True):
        torch.testing.assert_close(a, b)


@pytest.fixture
def device() -> torch.device:
    pytest.importorskip("cupy", reason="needs CuPy")
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    return torch.device("cuda")


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_kernels_on_the_device_equal_torch_there(
    device: torch.device, shape: tuple[int, ...], last: bool, dtype: torch.dtype
) -> None:
    """The statistics are one and the same."""
    ours = pair(BatchNorm(shape[2]), PLIF(v_threshold=0.6), "cupy").to(device)
    ours = ours.double() if dtype == torch.float64 else ours
    reference = copy.deepcopy(ours)
    reference[1].backend = "torch"
    x = batch(shape, dtype, last).to(device)
    results = []
    for model in (ours, reference):
        y = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
        out = model(y)
        assert y.stride() == x.stride()
        out.backward(torch.linspace(-1, 1, out.numel(), device=device).view(out.shape).to(dtype))
        results.append((out, y.grad, [p.grad for p in model.parameters()]))
    (got, got_dx, got_dp), (expected, dx, dp) = results
    assert torch.equal(got, expected)
    tolerance = TOLERANCE.get(dtype) or 2 * torch.finfo(dtype).eps
    near(got_dx, dx, tolerance)
    for a, b in zip(got_dp, dp, strict=True):
        near(a, b, tolerance)
    for a, b in zip(ours.buffers(), reference.buffers(), strict=True):
        torch.testing.assert_close(a, b)

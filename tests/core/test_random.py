import copy
import math
import threading
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from spikesim import ops, random
from spikesim.errors import UserError
from spikesim.neuron import Neuron
from spikesim.neurons.lif import LIF
from spikesim.random import Stream, drawing, philox, place, recomputation
from spikesim.surrogate import ATan
from spikesim.types import Named

# counter | key | words: the vectors published with Random123 (Salmon et al., 2011).
KNOWN = (
    ("0 0 0 0", "0 0", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff " * 4, "ffffffff " * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    (
        "243f6a88 85a308d3 13198a2e 03707344",
        "a4093822 299f31d0",
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
)
SHAPE = (100, 1000)
# Sums of many draws are normal: 5 standard deviations, which one in a million tests passes by luck.
SIGMAS = 5.0


class Noisy(Neuron):
    """Draws three times a step."""

    states = ("v",)
    stochastic = True

    def __init__(self) -> None:
        super().__init__()
        self.surrogate = ATan()
        self.add_parameter("rate", 0.5)

    def step(self, state: Named, inputs: Named, p: Named) -> tuple[Named, Tensor]:
        chance = ops.clamp(inputs.x, 0.0, 1.0)
        v = state.v * 0.5 + inputs.x + ops.noise(inputs.x) * 0.25
        return Named(v=v), ops.bernoulli(chance) * ops.bernoulli(p.rate)


def _noisy(backend: str = "torch") -> Noisy:
    neuron = Noisy()
    neuron.backend = backend  # type: ignore[assignment]
    return neuron


def _stream(seed: int = 1, sample: int = 0, step: int = 0, layer: int = 0) -> Stream:
    return Stream(torch.tensor([seed, sample, step]), layer)


@pytest.mark.parametrize("case", KNOWN)
def test_philox_gives_the_known_answers(case: tuple[str, str, str]) -> None:
    counter, key, expected = ([int(word, 16) for word in part.split()] for part in case)
    as_tensors = [tuple(torch.tensor(word) for word in part) for part in (key, counter)]
    assert [int(word) for word in philox(*as_tensors)] == expected  # type: ignore[arg-type]


def test_uniform_is_uniform() -> None:
    u = _stream().uniform(0, 0, (1000, 1000)).double()
    assert 0.0 <= u.min() < 1e-5 < 1.0 - 1e-5 < u.max() < 1.0
    assert torch.equal(u * 2**24, (u * 2**24).round())
    for bits in (u, u * 2**12 % 1):  # upper and lower half of the 24
        counts = torch.histc(bits, 256, 0.0, 1.0)
        chi_square = ((counts - u.numel() / 256) ** 2 / (u.numel() / 256)).sum()
        assert abs(chi_square - 255) < SIGMAS * math.sqrt(2 * 255)


def test_normal_is_normal() -> None:
    z = _stream().normal(0, 0, (1000, 1000)).double().flatten()
    n = z.numel()
    for power, mean, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((z**power).mean() - mean) < SIGMAS * math.sqrt(variance / n), power
    distance = (torch.special.ndtr(z.sort().values) - (torch.arange(n) + 0.5) / n).abs().max()
    assert distance * math.sqrt(n) < 2.5  # Kolmogorov and Smirnov: 2 exp(-2 * 2.5^2) = 7e-6
    assert 4.5 < z.abs().max() < 5.78


def test_normal_of_every_kind_of_word_is_box_and_muller(monkeypatch: pytest.MonkeyPatch) -> None:
    words = torch.tensor([0, 1 << 8, 1 << 30, 1 << 31, 3 << 30, 0xFFFFFF00, 0xFFFFFFFF])
    a, b = torch.meshgrid(words, words, indexing="ij")
    monkeypatch.setattr(Stream, "words", lambda *_: (a, b))
    u, angle = ((w >> 8).double() / 2**24 for w in (a, b))
    expected = torch.sqrt(-2 * torch.log(u + 2**-24)) * torch.cos(2 * math.pi * angle)
    got = _stream().normal(0, 0, tuple(a.shape))
    assert got.dtype == torch.float32
    assert torch.allclose(got.double(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", ["uniform", "normal"])
def test_what_is_drawn_anywhere_else_is_independent(kind: str) -> None:
    def draw(step: int = 0, draw: int = 0, **where: int) -> Tensor:
        return getattr(_stream(**where), kind)(step, draw, SHAPE).double()  # type: ignore[no-any-return]

    here = draw()
    elsewhere = {
        "seed": draw(seed=2),
        "high seed": draw(seed=1 + (1 << 32)),
        "layer": draw(layer=1),
        "many layers": draw(layer=1 << 20),
        "samples": draw(sample=100),
        "step": draw(step=1),
        "first step": draw(2),
        "next draw": draw(0, 1),
        "third draw": draw(0, 2),
        "neighbour": here.roll(1, 1),
        "next sample": here.roll(1, 0),
    }
    names, values = list(elsewhere), [here, *elsewhere.values()]
    table = torch.corrcoef(torch.stack([v.flatten() for v in values]))
    largest = (table - torch.eye(len(values))).abs().max()
    assert largest < SIGMAS / math.sqrt(here.numel()), names


def test_samples_and_steps_are_global() -> None:
    whole = _stream().normal(3, 1, (8, 3, 5))
    assert torch.equal(whole[2:6], _stream(sample=2).normal(3, 1, (4, 3, 5)))
    assert torch.equal(whole, _stream(step=3).normal(0, 1, (8, 3, 5)))
    # an element counts in the order [C, H, W] whatever the axes are
    assert torch.equal(whole.flatten(1), _stream().normal(3, 1, (8, 15)))


def test_draws_of_float64_are_those_of_float32() -> None:
    x = torch.rand(4, 3, 5)
    outputs = []
    for dtype in (torch.float32, torch.float64):
        neuron = _noisy()
        place(neuron, 1)
        outputs.append(neuron.trace(x.to(dtype)))
    narrow, wide = outputs
    assert wide["v"].dtype == torch.float64
    assert torch.equal(narrow["output"], wide["output"].float())
    assert torch.allclose(narrow["v"].double(), wide["v"], atol=1e-6)


@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_calls_go_on_where_the_last_one_ended(backend: str) -> None:
    neuron, x = _noisy(backend), torch.rand(6, 3, 50)
    place(neuron, 9)
    whole, end = neuron.run(x)
    place(neuron, 9)
    first, middle = neuron.run(x[:2])
    second, last = neuron.run(x[2:], middle)
    assert torch.equal(whole, torch.cat([first, second]))
    assert torch.equal(end.v, last.v)
    assert not torch.equal(whole, neuron(x))
    place(neuron, 9)
    assert torch.equal(whole, neuron(x))
    assert neuron.position.tolist() == [9, 0, 6]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_numba_draws_spikes_states_and_gradients_bit_for_bit(layout: torch.memory_format) -> None:
    x = torch.rand(20, 3, 4, 5, 6)
    x = x.flatten(0, 1).contiguous(memory_format=layout).view(x.shape)
    found = []
    for backend in ("torch", "numba"):
        neuron, given = _noisy(backend), x.detach().requires_grad_()
        place(neuron, 3, sample=7, step=2)
        rows = neuron.trace(given)
        (rows["output"].sum() + rows["v"].sum()).backward()
        found.append((rows["v"], rows["output"], given.grad))
    for ours, theirs in zip(*found, strict=True):
        assert torch.equal(ours, theirs)


def test_layers_are_numbered_and_parts_of_a_batch_fit_together() -> None:
    x = torch.rand(5, 8, 40)

    def run(sample: int, part: Tensor) -> list[Tensor]:
        model = nn.Sequential(_noisy(), nn.Identity(), _noisy())
        place(model, 4, sample=sample)
        assert [model[0].layer, model[2].layer] == [0, 1]
        return [model[0](part), model[2](part)]

    one, two = run(0, x)
    assert not torch.equal(one, two)
    for offset in (0, 2, 4, 6):  # as four processes would
        for whole, part in zip((one, two), run(offset, x[:, offset : offset + 2]), strict=True):
            assert torch.equal(whole[:, offset : offset + 2], part)


def test_unplaced_neurons_differ_and_follow_torchs_seed() -> None:
    x, outputs = torch.rand(4, 3, 50), []
    for _ in range(2):
        torch.manual_seed(5)
        outputs.append([Noisy()(x), Noisy()(x)])
    assert all(torch.equal(*pair) for pair in zip(*outputs, strict=True))
    assert not torch.equal(*outputs[0])


def test_the_place_is_neither_saved_nor_shared_nor_rounded() -> None:
    neuron = Noisy()
    # distributed training sends the buffers of the first process to all
    assert not list(neuron.buffers())
    assert not neuron.state_dict()
    assert neuron.half().position.dtype == torch.int64
    assert copy.deepcopy(neuron).to("meta").position.is_meta
    assert neuron.position.device.type == "cpu"


@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_a_compiled_neuron_draws_the_same(backend: str) -> None:
    neuron, x = _noisy(backend), torch.rand(1, 2, 40)  # each step is 400 operations to compile
    place(neuron, 2)
    expected = [neuron(x), neuron(x)]
    place(neuron, 2)
    compiled = torch.compile(neuron, fullgraph=True, backend="eager")
    assert torch.equal(expected[0], compiled(x))
    assert torch.equal(expected[1], compiled(x))


def test_recomputed_numbers_are_those_of_the_forward_pass() -> None:
    x, gradients = torch.rand(4, 3, 40) - 0.25, []
    for is_checkpointed in (False, True):
        neuron, given = _noisy(), x.clone().requires_grad_()
        place(neuron, 2)
        if is_checkpointed:
            out = checkpoint(
                neuron, given, use_reentrant=False, context_fn=lambda n=neuron: recomputation(n)
            )
        else:
            out = neuron(given)
        after = neuron(x)
        (out * out).sum().backward()
        gradients.append((given.grad, after, neuron.position))
    for plain, recomputed in zip(*gradients, strict=True):
        assert torch.equal(plain, recomputed)


def test_bernoulli_fires_with_its_probability_and_passes_gradients_on() -> None:
    p = torch.linspace(0.0, 1.0, 11).expand(20_000, 11).clone().requires_grad_()
    with drawing(_stream(), 0, p):
        drawn = ops.bernoulli(p)
    assert drawn.dtype == p.dtype
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    chance = np.linspace(0.0, 1.0, 11)
    bound = SIGMAS * np.sqrt(chance * (1 - chance) / 20_000) + 1e-12
    assert (np.abs(drawn.mean(0).detach().numpy() - chance) <= bound).all()
    weight = torch.randn_like(p)
    (drawn * weight).sum().backward()
    assert torch.equal(p.grad, weight)


def test_a_shared_probability_is_drawn_for_every_neuron() -> None:
    like, p = torch.zeros(50, 40, dtype=torch.float64), torch.full((40,), 0.5, requires_grad=True)
    with drawing(_stream(), 0, like):
        shared, number, third = ops.bernoulli(p), ops.bernoulli(0.5), ops.noise(0.0)
    for drawn in (shared, number, third):
        assert drawn.shape == like.shape
    assert number.dtype == third.dtype == torch.float64
    assert not torch.equal(shared, number.float())
    shared.sum().backward()
    assert torch.equal(p.grad, torch.full((40,), 50.0))


def test_a_probability_that_is_no_number_never_fires() -> None:
    p = torch.tensor([[math.nan, -1.0, 2.0]])
    with drawing(_stream(), 0, p):
        assert ops.bernoulli(p).tolist() == [[0.0, 0.0, 1.0]]


DRAWS: dict[str, Callable[[Tensor], Tensor]] = {"bernoulli": ops.bernoulli, "noise": ops.noise}


@pytest.mark.parametrize("name", DRAWS)
def test_drawing_outside_a_run_says_what_to_do(name: str) -> None:
    class Forgot(Noisy):
        stochastic = False

    neuron, x = _noisy(), torch.rand(1, 2, 3)
    with pytest.raises(UserError, match=r"outside a run; set stochastic = True"):
        DRAWS[name](x)
    with pytest.raises(UserError, match=r"not neuron\.step"):
        neuron.step(neuron.initial_state(x[0]), Named(x=x[0]), neuron.values(x[0]))
    forgot = Forgot()
    forgot.backend = "torch"
    with pytest.raises(UserError, match="stochastic = True"):
        forgot(x)
    # an error inside a step leaves nothing behind
    with pytest.raises(ZeroDivisionError), drawing(_stream(), 0, x[0]):
        _ = 1 / 0
    with pytest.raises(UserError):
        random.draw("uniform")


@pytest.mark.parametrize("make", [LIF, Noisy])
def test_compiled_whole_before_any_eager_call(make: Callable[[], Neuron]) -> None:
    """In a thread of its own, where nothing has run yet."""
    torch._dynamo.reset()
    neuron, done = make(), []
    neuron.backend = "torch"
    plain, x = copy.deepcopy(neuron), torch.rand(3, 2, 4) * 2

    def run(ours: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        y = x.clone().requires_grad_()
        out = ours(y)
        return out.detach(), torch.autograd.grad((out * torch.rand(4)).sum(), y)[0]

    def compiled() -> None:
        torch.manual_seed(0)
        done.append(run(torch.compile(neuron, fullgraph=True, backend="aot_eager")))

    thread = threading.Thread(target=compiled)
    thread.start()
    thread.join()
    torch.manual_seed(0)
    want = run(plain)
    assert want[0].any()
    assert [torch.equal(*pair) for pair in zip(*done, want, strict=True)] == [True, True]

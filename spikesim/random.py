r"""Random numbers of neurons and synapses: each draw is a pure function of where it happens.

Philox4x32-10 (Salmon et al., 2011) turns a key and a counter into four random words,

.. math::
    (w_0, w_1, w_2, w_3) = \mathrm{Philox}_\mathrm{seed}(\text{element}, \text{sample},
    \text{step}, 2^8\,\text{layer} + \lfloor d / 2 \rfloor),

of which draw :math:`d` of the step takes :math:`w_0, w_1` if it is even, else :math:`w_2, w_3`.
``element`` counts the neurons of one sample in the order ``[C, H, W]``, however they lie in memory,
or the synapses of a layer in the order ``[out, in]``.
From a pair of words :math:`a, b`, with :math:`u(a) = \lfloor a / 2^8 \rfloor / 2^{24}`:

- uniform in [0, 1): :math:`u(a)`
- standard normal (Box & Muller, 1958):
  :math:`\sqrt{-2 \ln(u(a) + 2^{-24})} \cos(2 \pi u(b))`, at most 5.77 in size

Both are float32 numbers; a float64 neuron gets the same ones. Logarithm and cosine are polynomials
in written order, so that torch, numba and CUDA kernels draw the same bits.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from types import TracebackType
from typing import ClassVar, Self, TypeAlias

import torch
from torch import Tensor, nn

from spikesim.errors import UserError

__all__ = ["Placed", "Stream", "drawing", "philox", "place", "recomputation"]

Words: TypeAlias = tuple[Tensor, Tensor, Tensor, Tensor]

MASK = 0xFFFFFFFF
ROUNDS = 10
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
INCREMENTS = (0x9E3779B9, 0xBB67AE85)
"""Of the key, in each round: the golden ratio, and sqrt(3) - 1."""

# ln(1 + f) = f - f^2 / 2 + f^3 P(f) between sqrt(1/2) and sqrt(2); ln(2) = high + low.
LOG = (
    *(-0.076344952, 0.12761575, -0.131601825, 0.142017588),
    *(-0.166233569, 0.200012267, -0.250008196, 0.333333313),
)
LN2_HIGH, LN2_LOW = 0.693145752, 1.42860677e-06
SQRT_HALF_BITS = 0x3F3504F3
# sin(2 pi w) = 2 pi w + w^3 P(w^2) for |w| <= 1/4
SINE = (39.7700996, -76.5834351, 81.6026306, -41.3416862)
TWO_PI = 6.28318548


def philox(key: tuple[Tensor, Tensor], counter: Words) -> Words:
    """Philox4x32-10 in int64 arithmetic: four words in [0, 2**32), broadcast from the arguments."""
    key_0, key_1 = key
    a, b, c, d = counter
    for _ in range(ROUNDS):
        # A product passes 2**63 and wraps, which leaves its 64 bits right.
        ab, cd = a * MULTIPLIERS[0], c * MULTIPLIERS[1]
        a, b = (cd >> 32 & MASK) ^ b ^ key_0, cd & MASK
        c, d = (ab >> 32 & MASK) ^ d ^ key_1, ab & MASK
        key_0, key_1 = key_0 + INCREMENTS[0] & MASK, key_1 + INCREMENTS[1] & MASK
    return a, b, c, d


@dataclass(frozen=True)
class Stream:
    """The random numbers of one call of a neuron."""

    position: Tensor
    """int64 ``[3]``, on the device: seed, global index of sample 0, index of step 0."""
    layer: int

    def words(self, step: int, draw: int, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """The two words of a draw for each neuron of a step ``[B, ...]``."""
        seed, sample, first = self.position.unbind()
        count, device = torch.Size(shape[1:]).numel(), self.position.device
        element = torch.arange(count, device=device).view(1, *shape[1:])
        rows = torch.arange(shape[0], device=device).view(-1, *[1] * (len(shape) - 1))
        last = torch.full_like(first, (self.layer << 8) + draw // 2)
        counter = (element, sample + rows & MASK, (first + step) & MASK, last)
        words = philox((seed & MASK, seed >> 32 & MASK), counter)
        return words[:2] if draw % 2 == 0 else words[2:]

    def uniform(self, step: int, draw: int, shape: tuple[int, ...]) -> Tensor:
        """Uniform float32 in [0, 1), a multiple of 2**-24, for each neuron of ``[B, ...]``."""
        return _unit(self.words(step, draw, shape)[0])

    def normal(self, step: int, draw: int, shape: tuple[int, ...]) -> Tensor:
        """Standard normal float32 for each neuron of ``[B, ...]``."""
        a, b = self.words(step, draw, shape)
        square = _log(_unit(a) + 2.0**-24) * -2.0
        # torch may round a float32 root wrongly; that of float64, rounded once more, is right.
        radius = torch.sqrt(square.double()).float()
        # cos(2 pi u) = sin(2 pi (|u - 1/2| - 1/4)), whose argument is exact
        w = torch.abs(_unit(b) - 0.5) - 0.25
        return radius * (w * TWO_PI + w * (w * w) * _polynomial(SINE, w * w))


class Placed(nn.Module):
    """A module that may draw random numbers, from a position of its own; see :func:`place`."""

    stochastic: ClassVar[bool] = False
    """Whether it draws."""
    layer: int = 0
    position: Tensor
    """Where a stochastic module draws next, int64 ``[3]``: seed, sample, step."""

    def _begin(self) -> None:
        """Take a first position, from torch's generator; for the constructor."""
        if self.stochastic:
            seed = int(torch.randint(2**62, (), device="cpu"))
            # No buffer: distributed training would give every process the first one's.
            self.position = torch.tensor([seed, 0, 0])

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if self.stochastic:
            self.position = fn(self.position)
        return self

    def stream(self, x: Tensor) -> Stream | None:
        """The random numbers of a call with ``x [T, B, ...]``; the next call gets others."""
        if not self.stochastic:
            return None
        if self.position.device != x.device:
            self.position = self.position.to(x.device)
        stream = Stream(self.position.clone(), self.layer)
        self.position[2].add_(x.shape[0])
        return stream


def _unit(word: Tensor) -> Tensor:
    return (word >> 8).float() * 2.0**-24


def _polynomial(coefficients: tuple[float, ...], x: Tensor) -> Tensor:
    total = x * coefficients[0] + coefficients[1]
    for coefficient in coefficients[2:]:
        total = total * x + coefficient
    return total


def _log(x: Tensor) -> Tensor:
    """Natural logarithm of normal, positive float32 numbers; the bits of the kernels' ``log_``."""
    shifted = x.view(torch.int32) - SQRT_HALF_BITS
    exponent = (shifted >> 23).float()
    f = ((shifted & 0x7FFFFF) + SQRT_HALF_BITS).view(torch.float32) - 1.0
    square = f * f
    tail = f * square * _polynomial(LOG, f) + exponent * LN2_LOW
    return tail - square * 0.5 + f + exponent * LN2_HIGH


class _Ambient(threading.local):
    """The step being run in this thread, if it may draw."""

    def __init__(self) -> None:
        # Of the instance, in each thread: torch.compile guards what the first call finds here.
        self.step: drawing | None = None


_ambient = _Ambient()


class drawing:  # noqa: N801
    """Inside, :func:`~spikesim.ops.bernoulli` and ``noise`` draw for step ``step`` of ``stream``.

    Args:
        stream: where the numbers come from; ``None`` leaves nothing to draw.
        step: counted from the beginning of the call.
        like: values of one step ``[B, ...]``; each draw has its shape, and its dtype unless it is
            given another.
    """

    def __init__(self, stream: Stream | None, step: int, like: Tensor) -> None:
        self.stream, self.step, self.like = stream, step, like
        self.count = 0

    def __enter__(self) -> None:
        self.before = _ambient.step
        _ambient.step = self if self.stream is not None else None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _ambient.step = self.before


def draw(kind: str) -> tuple[Tensor, Tensor]:
    """The next ``"uniform"`` or ``"normal"`` numbers of the step being run, and its ``like``.

    Raises:
        UserError: no step of a stochastic neuron is being run.
    """
    now = _ambient.step
    if now is None or now.stream is None:
        raise UserError(
            "a random number was drawn outside a run; set stochastic = True in the neuron's class "
            "and call neuron(x) or neuron.run(x), not neuron.step"
        )
    number = now.count
    now.count += 1
    shape = tuple(now.like.shape)
    if kind == "uniform":
        return now.stream.uniform(now.step, number, shape), now.like
    return now.stream.normal(now.step, number, shape), now.like


def place(model: nn.Module, seed: int, sample: int = 0, step: int = 0) -> None:
    """Say where the next calls of all stochastic modules of a model draw their numbers.

    Equal places give equal numbers, on each backend, and however a batch is divided: a process that
    has samples 8 to 15 of a batch passes ``sample=8``. Layers are numbered in the order of
    ``model.modules()``. Every call of a neuron moves its step on by the steps it ran.

    Args:
        model: a model, or one neuron.
        seed: up to 63 bits.
        sample: global index of the first sample of the next batch.
        step: index of the next time step.
    """
    neurons = _stochastic(model)
    for layer, neuron in enumerate(neurons):
        neuron.layer = layer
    positions = [neuron.position for neuron in neurons]
    if positions:
        # Filled on the device: a copy from the host would wait for it.
        first = torch.empty_like(positions[0])
        for entry, value in zip(first, (seed, sample, step), strict=True):
            entry.fill_(value)
        for position in positions:
            position.copy_(first)


def recomputation(
    model: nn.Module,
) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Two contexts, for forward and its recomputation, in which a model draws the same numbers.

    Use: ``checkpoint(part, x, use_reentrant=False, context_fn=lambda: recomputation(part))`` with
    :func:`torch.utils.checkpoint.checkpoint`.
    """
    places = [neuron.position.clone() for neuron in _stochastic(model)]
    return nullcontext(), _again(model, places)


@contextmanager
def _again(model: nn.Module, places: list[Tensor]) -> Iterator[None]:
    """Draw from ``places`` on; after it, from where it would have been without."""
    neurons = _stochastic(model)
    present = [neuron.position.clone() for neuron in neurons]
    for neuron, earlier in zip(neurons, places, strict=True):
        neuron.position.copy_(earlier)
    try:
        yield
    finally:
        for neuron, later in zip(neurons, present, strict=True):
            neuron.position.copy_(later)


def _stochastic(model: nn.Module) -> list[Placed]:
    return [m for m in model.modules() if isinstance(m, Placed) and m.stochastic]

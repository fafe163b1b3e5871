r"""Lempel-Ziv complexity of spike trains: how many new words a train needs.

Two parsings, of which the numbers differ for short trains:

- ``"lz76"`` (Lempel & Ziv, 1976): each component is the shortest piece that has not occurred before
  in the text up to its own last symbol; ``0|001|10|100|1000|101``
- ``"lz78"`` (Ziv & Lempel, 1978): each phrase is the longest one of the dictionary and a symbol
  more; ``0|00|1|10|100|1000|101``

A last, incomplete piece counts. Both are found in time linear in the length, from bits.

Shape legend: ``T`` steps, ``...`` trains; time first.
"""

import math
from typing import Literal

import torch
from torch import Tensor

from spikesim.complexity.trains import Trains, pack_trains
from spikesim.errors import UserError
from spikesim.kernels.threads import share

Parsing = Literal["lz76", "lz78"]
Normalisation = Literal["length", "components", "none"]
PARSINGS = ("lz76", "lz78")
NORMALISATIONS = ("length", "components", "none")


def components(trains: Tensor | Trains, parsing: Parsing = "lz76") -> Tensor:
    """The number of components of each train.

    Args:
        trains: spikes ``[T, ...]``, of which only zero or not matters, or packed ones.
        parsing: ``"lz76"`` or ``"lz78"``.

    Returns:
        int64 ``[...]``, where the trains are.

    Raises:
        UserError: an unknown parsing.

    >>> text = torch.tensor([int(s) for s in "0001101001000101"])
    >>> int(components(text)), int(components(text, "lz78"))
    (6, 7)
    """
    if parsing not in PARSINGS:
        raise UserError(f"parsing must be one of {', '.join(PARSINGS)}, got {parsing!r}")
    packed = trains if isinstance(trains, Trains) else pack_trains(trains)
    from spikesim.kernels import lempel_ziv_numba

    *shape, width = packed.words.shape
    lines = packed.words.cpu().reshape(math.prod(shape), width).view(torch.uint32).numpy()
    out = torch.zeros(len(lines), dtype=torch.int64)
    loop = getattr(lempel_ziv_numba, f"count_{parsing}")
    # Some 20 ns a symbol, of which GRAIN stands for 1.
    work = 20 * max(packed.steps, 1)
    share(lambda a, b: loop(lines, a, b, packed.steps, out.numpy()), len(lines), work, 1)
    return out.view(shape).to(packed.words.device)


def complexity(
    trains: Tensor | Trains,
    parsing: Parsing = "lz76",
    *,
    normalisation: Normalisation = "length",
    base: float = 2.0,
) -> Tensor:
    r"""Complexity of each train, per step.

    With ``c`` components in ``n`` steps, it is :math:`c \log_b(n) / n` (``"length"``),
    :math:`c \log_b(c) / n` (``"components"``) or ``c`` (``"none"``). With base 2 the first two tend
    to the entropy of a stationary source, in bits per step; slowly, and short trains may lie below
    it as well as above. Compare trains of one length only.

    Args:
        trains: spikes ``[T, ...]`` or packed ones.
        parsing: ``"lz76"`` or ``"lz78"``.
        normalisation: which of the three.
        base: of the logarithm, > 1.

    Returns:
        float64 ``[...]``.

    Raises:
        UserError: an unknown name, or a base that is not above 1.

    Reference: A. Lempel & J. Ziv (1976), IEEE Trans. Inf. Theory 22, 75; J. Ziv & A. Lempel (1978),
    ibid. 24, 530; F. Kaspar & H. G. Schuster (1987), Phys. Rev. A 36, 842.

    >>> float(complexity(torch.zeros(64), base=2.0))
    0.1875
    """
    if normalisation not in NORMALISATIONS:
        raise UserError(
            f"normalisation must be one of {', '.join(NORMALISATIONS)}, got {normalisation!r}"
        )
    if not base > 1:
        raise UserError(f"base must be > 1, got {base}")
    packed = trains if isinstance(trains, Trains) else pack_trains(trains)
    count = components(packed, parsing).double()
    if normalisation == "none" or packed.steps == 0:
        return count
    if normalisation == "components":
        return torch.xlogy(count, count) / (math.log(base) * packed.steps)
    return count * (math.log(packed.steps, base) / packed.steps)


def relative_complexity(
    trains: Tensor | Trains,
    parsing: Parsing = "lz76",
    *,
    surrogates: int = 10,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Components of each train over the mean of shuffled copies: what its order alone is worth.

    A copy has as many spikes, at random places; 1 is a train without structure in time, of any rate
    and length.

    Args:
        trains: spikes ``[T, ...]`` or packed ones.
        parsing: ``"lz76"`` or ``"lz78"``.
        surrogates: copies of each train, >= 1.
        generator: of the permutations, on the device of the trains; ``None``: torch's global one.

    Returns:
        float64 ``[...]``.

    Raises:
        UserError: an unknown parsing, or no surrogates.
    """
    if surrogates < 1:
        raise UserError(f"surrogates must be >= 1, got {surrogates}")
    spikes = trains.unpacked() if isinstance(trains, Trains) else trains
    expected = torch.zeros(spikes.shape[1:], dtype=torch.float64, device=spikes.device)
    for _ in range(surrogates):
        order = torch.rand(spikes.shape, generator=generator, device=spikes.device).argsort(0)
        expected += components(spikes.gather(0, order), parsing)
    return components(trains, parsing) / (expected / surrogates)

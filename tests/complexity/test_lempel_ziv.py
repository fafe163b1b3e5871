"""Lempel-Ziv complexity against the definition, published strings and entropies of sources."""

import math
import random
import time

import pytest
import torch
from torch import Tensor

from spikesim.complexity import (
    bernoulli_entropy,
    complexity,
    components,
    concatenated,
    markov_entropy,
    pack_trains,
    relative_complexity,
)
from spikesim.encoders import Markov, Rate
from spikesim.errors import UserError

# Of a standard deviation of what is compared; seeds are fixed.
SIGMAS = 4.0


def train(text: str) -> Tensor:
    return torch.tensor([int(symbol) for symbol in text])


def naive_lz76(text: str) -> int:
    """The definition: the shortest new piece, by Python's own search."""
    count = start = 0
    while start < len(text):
        end = start + 1
        while end <= len(text) and text[start:end] in text[: end - 1]:
            end += 1
        count, start = count + 1, end
    return count


def naive_lz78(text: str) -> int:
    known, phrase, count = set(), "", 0
    for symbol in text:
        phrase += symbol
        if phrase not in known:
            known.add(phrase)
            phrase, count = "", count + 1
    return count + bool(phrase)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0001101001000101", 6),
        ("0" * 50, 2),
        ("1" * 33, 2),
        ("01" * 40, 3),
        ("0", 1),
        ("1", 1),
        ("01", 2),
        ("", 0),
    ],
)
def test_lz76_of_published_strings(text: str, count: int) -> None:
    assert int(components(train(text))) == count


def test_lz78_by_hand() -> None:
    assert int(components(train("0001101001000101"), "lz78")) == 7  # 0|00|1|10|100|1000|101
    assert int(components(torch.zeros(10), "lz78")) == 4  # 1 + 2 + 3 + 4
    assert int(components(torch.zeros(11), "lz78")) == 5  # and one that is known


@pytest.mark.parametrize(("parsing", "naive"), [("lz76", naive_lz76), ("lz78", naive_lz78)])
def test_ten_thousand_random_strings(parsing: str, naive: object) -> None:
    source = random.Random(1)
    for length in source.sample(range(1, 150), 50):
        density = [source.choice((0.05, 0.3, 0.5, 0.9)) for _ in range(200)]
        texts = ["".join("01"[source.random() < p] for _ in range(length)) for p in density]
        x = torch.stack([train(text) for text in texts], dim=1)
        assert components(x, parsing).tolist() == [naive(text) for text in texts]  # type: ignore[operator,arg-type]


def test_every_string_of_12_symbols() -> None:
    texts = [f"{number:012b}" for number in range(2**12)]
    x = torch.stack([train(text) for text in texts], dim=1)
    assert components(x).tolist() == [naive_lz76(text) for text in texts]


def test_time_is_linear_in_the_length() -> None:
    x = torch.rand(160_000) < 0.5

    def seconds(steps: int) -> float:
        packed = pack_trains(x[:steps])
        times = []
        for _ in range(5):
            start = time.process_time()
            components(packed)
            times.append(time.process_time() - start)
        return min(times)

    # 4 times if linear, and somewhat more as it leaves the caches; 16 if quadratic.
    assert seconds(160_000) < 10 * seconds(40_000)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [(1000, (0.313, 0.508, 0.945, 1.062)), (10_000, (0.273, 0.453, 0.899, 1.026))],
)
def test_bernoulli_trains_have_the_known_complexity(
    steps: int, expected: tuple[float, ...]
) -> None:
    """Those of a mean over 5 trains, so that their own error is that of 5."""
    for p, value in zip((0.05, 0.1, 0.3, 0.5), expected, strict=True):
        x = Rate(steps)(torch.full((100,), p), torch.Generator().manual_seed(0))
        found = complexity(x)
        error = found.std().item() / math.sqrt(5)
        assert found.mean().item() == pytest.approx(value, abs=SIGMAS * error)


def test_complexity_follows_the_entropy_and_not_the_rate() -> None:
    entropies, found, rates = [], [], []
    for correlation in (-0.2, 0.0, 0.3, 0.6, 0.9):
        generator = torch.Generator().manual_seed(0)
        x = Markov(4000, correlation)(torch.full((50,), 0.2), generator)
        entropies.append(float(markov_entropy(0.2, correlation)))
        rates.append(x.mean().item())
        found.append(complexity(x).mean().item())
    assert max(rates) - min(rates) < 0.02
    order = sorted(range(5), key=lambda k: entropies[k])
    assert order == sorted(range(5), key=lambda k: found[k]) == [4, 3, 2, 0, 1]
    for c, h in zip(found, entropies, strict=True):
        assert c == pytest.approx(h, rel=0.1)
    # Equal rates, and every single train of one source is above every one of the other.
    trains = [Markov(4000, r)(torch.full((50,), 0.2)) for r in (0.0, 0.5)]
    assert complexity(trains[0]).min() > complexity(trains[1]).max()


def test_normalisations_by_hand() -> None:
    x = train("0001101001000101")
    assert complexity(x).item() == pytest.approx(6 * 4 / 16)
    assert complexity(x, base=math.e).item() == pytest.approx(6 * math.log(16) / 16)
    assert complexity(x, normalisation="components").item() == pytest.approx(6 * math.log2(6) / 16)
    assert complexity(x, "lz78", normalisation="none").item() == 7
    assert complexity(x[:0]).item() == 0
    assert complexity(x[:1]).item() == 0  # log 1


def test_shuffled_copies_measure_order_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    rates = torch.tensor([0.05, 0.2, 0.5]).repeat(40, 1)
    plain = relative_complexity(Rate(1000)(rates, generator), surrogates=4, generator=generator)
    assert torch.allclose(plain.mean(0), torch.ones(3).double(), atol=0.02)
    packed = pack_trains(Markov(1000, 0.6)(rates, generator))
    bursts = relative_complexity(packed, surrogates=4, generator=generator)
    assert (bursts.mean(0) < 0.85).all()


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("steps", [1, 31, 32, 33, 100])
def test_packing_keeps_trains(dtype: torch.dtype, steps: int) -> None:
    x = (torch.rand(steps, 3, 2) < 0.4).to(dtype)
    packed = pack_trains(x)
    assert packed.words.shape == (3, 2, -(-steps // 32))
    assert torch.equal(packed.unpacked(), x.float())
    assert torch.equal(components(packed), components(x))
    assert components(x).shape == (3, 2)
    assert torch.equal(components(x)[1, 1], components(x[:, 1, 1]))


def test_no_trains_and_concatenated_ones() -> None:
    assert components(torch.zeros(10, 0, 3)).shape == (0, 3)
    x = torch.arange(12).view(2, 2, 3)  # [T, B, N]
    assert concatenated(x)[:, 1].tolist() == [3, 9, 4, 10, 5, 11]


def test_entropies() -> None:
    p = torch.tensor([0.0, 0.05, 0.1, 0.3, 0.5, 1.0])
    published = torch.tensor([0.0, 0.286, 0.469, 0.881, 1.0, 0.0]).double()
    assert torch.allclose(bernoulli_entropy(p), published, atol=5e-4)
    assert torch.allclose(markov_entropy(p, 0.0), bernoulli_entropy(p))
    # P(1|0) = 0.1, P(0|1) = 0.4, by its own formula
    h = [-q * math.log2(q) - (1 - q) * math.log2(1 - q) for q in (0.1, 0.4)]
    assert float(markov_entropy(0.2, 0.5)) == pytest.approx(0.8 * h[0] + 0.2 * h[1])


def test_errors_name_the_choice() -> None:
    x = torch.zeros(8)
    with pytest.raises(UserError, match="parsing must be one of lz76, lz78, got 'lz77'"):
        components(x, "lz77")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="normalisation must be one of"):
        complexity(x, normalisation="entropy")  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"between 0 and 1, got 1\.2"):
        bernoulli_entropy(1.2)
    with pytest.raises(UserError, match="base must be > 1, got 1"):
        complexity(x, base=1)
    with pytest.raises(UserError, match="surrogates must be >= 1"):
        relative_complexity(x, surrogates=0)
    with pytest.raises(UserError, match=r"must be \[T, ...\]"):
        pack_trains(torch.tensor(1.0))

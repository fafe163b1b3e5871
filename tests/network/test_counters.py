"""Connections are those of the documented words of Philox, here torch's."""

import numpy as np
import torch

from spikesim.kernels import connect_numba
from spikesim.kernels.connect import words_of
from spikesim.network import FixedIndegree, FixedProbability, FixedTotalNumber
from spikesim.random import philox


def words_at(seed: int, row: int, block: int, stage: int = 0) -> list[int]:
    """A block of words as documented, by torch's Philox."""
    counter = tuple(torch.tensor(x) for x in (row, block, stage, 0xFFFFFF01))
    key = torch.tensor(seed & 0xFFFFFFFF), torch.tensor(seed >> 32)
    return [int(word) for word in philox(key, counter)]


def words(seed: int, row: int, count: int) -> list[int]:
    """The first words of a row."""
    blocks = (words_at(seed, row, block) for block in range(-(-count // 4)))
    return [word for block in blocks for word in block][:count]


def test_numbers_are_those_of_the_documented_counters() -> None:
    seed = 2**40 + 5
    sources = [sorted(w * 900 >> 32 for w in words(seed, row, 13)) for row in range(4)]
    by_target = FixedIndegree(13).build(900, 4, seed=seed).to_scipy().T.tocsr()
    by_target.sort_indices()
    drawn = [np.repeat(row.indices, row.data.astype(int)).tolist() for row in by_target]
    assert drawn == sources
    listed = [words(seed, i // 2, 4)[2 * (i % 2) :][:2] for i in range(9)]
    expected = sorted((a * 7 >> 32, b * 11 >> 32) for a, b in listed)
    synapses = FixedTotalNumber(9).build(7, 11, seed=seed)
    found = np.stack((synapses.sources, synapses.target), -1).tolist()
    assert [tuple(pair) for pair in found] == expected
    # Gaps of fixed probability, by inverting their distribution in floating point.
    synapses = FixedProbability(0.2).build(3, 400, seed=seed)
    for row in range(3):
        gaps = np.floor(np.log((np.array(words(seed, row, 400)) + 0.5) / 2**32) / np.log(0.8))
        columns = np.cumsum(gaps + 1).astype(int) - 1
        mine = synapses.target[synapses.indptr[row] : synapses.indptr[row + 1]]
        assert mine.tolist() == columns[columns < 400].tolist()


def test_biased_words_are_drawn_anew() -> None:
    """Of so many columns every third word is rejected."""
    seed, many, count = 5 + 2**35, 1_500_000_000, 40

    def fair(row: int, block: int, at: int, stage: int = 0) -> tuple[int, int]:
        word = words_at(seed, row, block, stage)[at]
        if word * many % 2**32 < 2**32 % many:
            return fair(row, block, at, stage + 1)
        return word * many >> 32, stage

    expected = [fair(7, 2 + i // 4, i % 4) for i in range(count)]
    assert {stage for _, stage in expected} > {0, 1}
    out, scratch = np.empty(count, np.int32), np.empty(1024, np.uint32)
    connect_numba.draw_columns(out, 8, many, scratch, words_of(seed), 7)
    assert out.tolist() == [value for value, _ in expected]

    def fair_pair(i: int, stage: int = 0) -> tuple[int, int]:
        a, b = words_at(seed, 512 + i // 2, 0, stage)[2 * (i % 2) :][:2]
        is_biased = a * many % 2**32 < 2**32 % many or b * 3 % 2**32 < 2**32 % 3
        return fair_pair(i, stage + 1) if is_biased else (a * many >> 32, b * 3 >> 32)

    sources, targets = np.empty(count, np.int32), np.empty(count, np.int32)
    scratch = np.empty(2048, np.uint32)
    connect_numba.draw_pairs(sources, targets, many, 3, False, scratch, words_of(seed), 1)
    found = zip(sources.tolist(), targets.tolist(), strict=True)
    assert list(found) == [fair_pair(i) for i in range(count)]

"""SHD-Adding's pairs and their sums."""

import pytest
import torch

from spikesim.elm import adding
from spikesim.errors import UserError


def test_sums_follow_the_triangular_law() -> None:
    """Of uniform digits in two languages, 20,000 pairs, within four standard deviations."""
    count, labels = 20_000, torch.arange(20)
    _, sums = adding(
        torch.zeros(20, 1, 1), labels, count, generator=torch.Generator().manual_seed(0)
    )
    share = torch.bincount(sums, minlength=19) / count
    law = (10 - (torch.arange(19) - 9).abs()) / 100
    assert len(share) == 19
    assert bool(((share - law).abs() < 4 * (law * (1 - law) / count).sqrt()).all())
    assert int(share.argmax()) == 9
    assert abs(float(share[9]) - 0.1) < 0.0085


def test_clips_follow_each_other_with_their_sum() -> None:
    clips = torch.arange(6.0).add(1)[:, None, None].expand(6, 4, 2)  # a clip shows its number
    x, sums = adding(
        clips, torch.tensor([3, 9, 10, 15, 19, 0]), 50, gap=3, generator=torch.Generator()
    )
    first, second = x[0, :, 0].long() - 1, x[-1, :, 0].long() - 1
    assert x.shape == (11, 50, 2)
    assert not x[4:7].any()
    assert torch.equal(x[:4], clips[first].transpose(0, 1))
    assert torch.equal(x[7:], clips[second].transpose(0, 1))
    digits = torch.tensor([3, 9, 0, 5, 9, 0])
    assert torch.equal(sums, digits[first] + digits[second])


def test_the_same_seed_draws_the_same_pairs() -> None:
    def drawn(seed: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        return adding(torch.zeros(10, 1, 1), torch.arange(10), 30, generator=generator)[1]

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))


def test_refuses_labels_of_other_clips() -> None:
    with pytest.raises(UserError, match=r"got \[3, 1, 1\] and \[2\]"):
        adding(torch.zeros(3, 1, 1), torch.zeros(2), 1)
    with pytest.raises(UserError, match=r"N >= 1, got \[0, 1, 1\]"):
        adding(torch.zeros(0, 1, 1), torch.zeros(0), 1)
    with pytest.raises(UserError, match="gap must be a whole number >= 0, got -1"):
        adding(torch.zeros(3, 1, 1), torch.zeros(3), 1, gap=-1)

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from spikesim.train.data import batches_of_epoch, micro_batches, split_validation
from spikesim.train.evaluate import evaluate
from spikesim.train.metrics import wilson
from spikesim.world import World

LABELS = torch.tensor([0, 1, 2, 2, 1, 0, 2])


@dataclass
class Numbers:
    """Recording ``i`` is an image of ``i``."""

    classes: tuple[str, ...] = ("a", "b", "c")

    def __len__(self) -> int:
        return len(LABELS)

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        x = torch.tensor(indices, dtype=torch.float32).view(1, -1, 1, 1, 1)
        return x.expand(2, -1, 1, 1, 1), LABELS[indices]


class Table(nn.Module):
    """Answers recording ``i`` with row ``i``; must be in evaluation mode."""

    def __init__(self, answers: list[int]) -> None:
        super().__init__()
        self.rows = nn.Parameter(nn.functional.one_hot(torch.tensor(answers), 3).float())

    def forward(self, x: Tensor) -> Tensor:
        assert not self.training
        return self.rows[x.flatten(2).mean(2).long()]


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_counts_by_hand(batch_size: int) -> None:
    answers = [0, 1, 1, 2, 0, 0, 2]
    model = Table(answers)
    seen = evaluate(model, Numbers(), batch_size=batch_size)  # type: ignore[arg-type]
    assert model.training
    assert seen.predictions.tolist() == answers
    assert seen.confusion.tolist() == [[2, 0, 0], [1, 1, 0], [0, 1, 2]]
    assert (seen.correct, seen.total, seen.accuracy) == (5, 7, 5 / 7)
    assert seen.interval == wilson(5, 7)
    expected = nn.functional.cross_entropy(model.rows.double(), LABELS)
    assert seen.loss == pytest.approx(expected.item())


def test_order_of_an_epoch_depends_on_seed_and_epoch_alone() -> None:
    first = batches_of_epoch(20, 6, seed=0, epoch=0)
    torch.rand(3)
    assert batches_of_epoch(20, 6, seed=0, epoch=0) == first
    assert batches_of_epoch(20, 6, seed=0, epoch=1) != first
    assert batches_of_epoch(20, 6, seed=1, epoch=0) != first
    flat = [i for batch in first for i in batch]
    assert [len(batch) for batch in first] == [6, 6, 6]
    assert len(set(flat)) == 18
    assert set(flat) <= set(range(20))
    left_out = set()
    for epoch in range(100):
        left_out |= set(range(20)).difference(*batches_of_epoch(20, 6, 0, epoch))
    assert left_out == set(range(20))


def test_processes_share_each_batch_as_micro_batches_would() -> None:
    batches = [list(range(8)), list(range(8, 16))]
    alone = micro_batches(batches, 4, World())
    assert alone[:4] == [[0, 1], [2, 3], [4, 5], [6, 7]]
    for size, accumulate in ((2, 2), (4, 1)):
        each = [micro_batches(batches, accumulate, World(rank, size)) for rank in range(size)]
        for k in range(2):
            steps = [parts[k * accumulate : (k + 1) * accumulate] for parts in each]
            assert [part for step in steps for part in step] == alone[4 * k : 4 * k + 4]


def test_validation_split_is_stratified_and_fixed() -> None:
    targets = [0] * 40 + [1] * 20 + [2] * 10
    rest, held = split_validation(targets, 0.1)
    assert sorted(rest + held) == list(range(70))
    assert [sum(targets[i] == k for i in held) for k in range(3)] == [4, 2, 1]
    assert split_validation(targets, 0.1) == (rest, held)

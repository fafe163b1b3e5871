import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from spikesim.seeds import generator
from spikesim.train.config import TrainSettings
from spikesim.train.ema import EMA
from spikesim.train.mixup import is_mixed, mixup
from spikesim.train.optim import LAMB, build_optimizer
from spikesim.train.schedule import learning_rate


def lamb_in_numpy(w: np.ndarray, grads: list[np.ndarray], lr: float, decay: float, clip: bool):
    """Algorithm 2 of You et al. (2020), written from the paper."""
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t, g in enumerate(grads, start=1):
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g * g
        r = (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-6)
        u = r + decay * w
        phi = np.linalg.norm(w) / np.linalg.norm(u)
        w = w - lr * (min(phi, 1.0) if clip else phi) * u
    return w


@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("scale", [0.1, 100.0])
def test_lamb_equals_the_paper(scale: float, clip: bool) -> None:
    rng = np.random.default_rng(0)
    start = scale * rng.normal(size=(4, 3))
    grads = [rng.normal(size=(4, 3)) for _ in range(5)]
    weight = nn.Parameter(torch.tensor(start))
    optimizer = LAMB([weight], lr=0.02, weight_decay=0.1, trust_clip=clip)
    for grad in grads:
        weight.grad = torch.tensor(grad)
        optimizer.step()
    expected = lamb_in_numpy(start, grads, 0.02, 0.1, clip)
    np.testing.assert_allclose(weight.detach().numpy(), expected, rtol=1e-12)


def test_unclipped_lamb_moves_by_the_norm_of_the_weights() -> None:
    weight = nn.Parameter(torch.randn(50, 3, dtype=torch.float64))
    before = weight.detach().clone()
    weight.grad = 1e-3 * torch.randn_like(weight)
    LAMB([weight], lr=0.01, weight_decay=0.1, trust_clip=False).step()
    moved = (weight.detach() - before).norm()
    assert float(moved / before.norm()) == pytest.approx(0.01)


def test_lamb_without_decay_is_adam() -> None:
    ours, theirs = (nn.Parameter(torch.ones(5, dtype=torch.float64)) for _ in range(2))
    a = LAMB([ours], lr=0.1, eps=1e-8)
    b = torch.optim.Adam([theirs], lr=0.1, eps=1e-8)
    for grad in torch.randn(6, 5, dtype=torch.float64):
        ours.grad, theirs.grad = grad.clone(), grad.clone()
        a.step()
        b.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", ["adamw", "lamb"])
def test_weight_decay_spares_biases_norms_and_neurons(name: str) -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3, 2))
    optimizer = build_optimizer(model, TrainSettings(optimizer=name, weight_decay=0.5))
    decayed = {id(p) for g in optimizer.param_groups if g["weight_decay"] for p in g["params"]}
    names = {key for key, p in model.named_parameters() if id(p) in decayed}
    assert names == {"0.weight", "3.weight"}
    assert sum(len(g["params"]) for g in optimizer.param_groups) == len(list(model.parameters()))


def test_learning_rate_meets_its_corners() -> None:
    s = TrainSettings(
        epochs=12, cooldown_epochs=3, warmup_epochs=2, warmup_lr=1e-5, lr=1e-2, min_lr=1e-4
    )
    assert learning_rate(0, s) == 1e-5
    assert learning_rate(1, s) == pytest.approx((1e-5 + 1e-2) / 2)
    assert learning_rate(2, s) == pytest.approx(1e-2)
    assert learning_rate(7, s) == pytest.approx((1e-2 + 1e-4) / 2)
    assert learning_rate(2 + 10 / 3, s) == pytest.approx(1e-4 + 0.75 * (1e-2 - 1e-4))
    assert learning_rate(12, s) == learning_rate(14.9, s) == 1e-4


def test_cosine_equals_torch() -> None:
    s = TrainSettings(epochs=20, lr=0.3, min_lr=0.01)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20, eta_min=0.01)
    for epoch in range(20):
        assert learning_rate(epoch, s) == pytest.approx(scheduler.get_last_lr()[0], rel=1e-9)
        optimizer.step()
        scheduler.step()


def test_ema_equals_its_recursion_and_copies_counters() -> None:
    model = nn.BatchNorm1d(3).double()
    ema = EMA(model, 0.5)
    average = model.weight.detach().clone()
    for n, value in enumerate([2.0, 3.0, 7.0, 1.0], start=1):
        with torch.no_grad():
            model.weight.fill_(value)
            assert model.num_batches_tracked is not None
            model.num_batches_tracked.fill_(n)
        ema.update(model)
        decay = min(0.5, (1 + n) / (10 + n))
        average = decay * average + (1 - decay) * value
    torch.testing.assert_close(ema.weights["weight"], average)
    assert int(ema.weights["num_batches_tracked"]) == 4
    assert model.weight.tolist() == [1.0] * 3


def mixed(settings: TrainSettings, seed: int) -> tuple[Tensor, Tensor]:
    x = torch.arange(4.0).view(1, 4, 1).expand(2, 4, 3)
    return mixup(x, torch.tensor([0, 1, 2, 0]), 3, settings, generator(seed))


def test_mixup_blends_inputs_and_targets_alike() -> None:
    x, target = mixed(TrainSettings(mixup=0.5), 1)
    share = float(x[0, 3, 0]) / 3  # partners are 0 and 3
    assert 0 < share < 1
    numbers = torch.arange(4.0)
    torch.testing.assert_close(x[0, :, 0], share * numbers + (1 - share) * numbers.flip(0))
    torch.testing.assert_close(target[1], torch.tensor([0.0, share, 1 - share]))
    torch.testing.assert_close(target[0], torch.tensor([1.0, 0.0, 0.0]))
    torch.testing.assert_close(target.sum(1), torch.ones(4))
    again, _ = mixed(TrainSettings(mixup=0.5), 1)
    assert torch.equal(x, again)


def test_mixup_share_is_beta_and_probability_is_kept() -> None:
    settings = TrainSettings(mixup=0.4, mixup_prob=0.5)
    shares = np.array([float(mixed(settings, i)[0][0, 3, 0]) / 3 for i in range(2000)])
    untouched = shares == 1.0
    # Beta(a, a) has variance 1 / (4 (2a + 1)); errors are over 4 standard deviations wide.
    assert abs(untouched.mean() - 0.5) < 0.05
    assert abs(shares[~untouched].mean() - 0.5) < 0.05
    assert abs(shares[~untouched].var() - 1 / (4 * 1.8)) < 0.02


def test_mixup_ends_at_its_epoch() -> None:
    settings = TrainSettings(mixup=0.5, mixup_off_epoch=2)
    assert [is_mixed(epoch, settings) for epoch in range(4)] == [True, True, False, False]
    assert not is_mixed(0, TrainSettings())
    assert math.isclose(TrainSettings().mixup, 0.0)

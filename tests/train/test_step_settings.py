"""Settings of a step: memory layout, packed spikes, backend, and where neurons draw."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spikesim import ops
from spikesim.errors import BackendError
from spikesim.layers import TimeDistributed
from spikesim.memory import packed_layers
from spikesim.models import create
from spikesim.neuron import Neuron
from spikesim.train import training
from spikesim.train.config import Config, TrainSettings
from spikesim.train.device import channels_last
from spikesim.train.loop import train
from spikesim.train.step import Stepper
from spikesim.types import Named
from spikesim.world import World

Helper = Callable[..., Any]
Make = Callable[..., Config]
CPU = torch.device("cpu")


def test_frames_with_channels_side_by_side() -> None:
    x = torch.rand(3, 2, 4, 5, 6)
    moved = channels_last(x)
    assert torch.equal(moved, x)
    assert moved.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
    losses = []
    for settings in (TrainSettings(), TrainSettings(channels_last=True)):
        torch.manual_seed(0)
        model = create("spiking_vgg", num_classes=2, steps=3, image_size=8, layers="4-M-fc8")
        stepper = Stepper(model, settings, CPU, World())
        parts = [(torch.rand(3, 4, 2, 8, 8), torch.tensor([0, 1, 0, 1]))]
        losses.append(stepper.step(parts, 0, 0, 1e-3).read().loss)
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def model_stepper(settings: TrainSettings) -> Stepper:
    torch.manual_seed(0)
    model = create("spiking_vgg", num_classes=2, steps=3, image_size=8, layers="4-M-8-fc8")
    return Stepper(model, settings, CPU, World())


@pytest.mark.parametrize("amp", ["off", "bf16"])
def test_packed_spikes_give_bitwise_the_weights(
    amp: str, everything_of: Helper, assert_same: Helper, everything: TrainSettings
) -> None:
    base = replace(everything, channels_last=True, amp=amp)
    plain, packed = model_stepper(base), model_stepper(replace(base, pack_spikes=True))
    assert packed_layers(plain.model) == {}
    assert len(packed_layers(packed.model)) >= 3
    labels = torch.tensor([0, 1] * 2)
    for number in range(3):
        parts = [(3 * torch.rand(3, 4, 2, 8, 8), labels) for _ in range(2)]
        done = [s.step(parts, number, 0, 0.01).read() for s in (plain, packed)]
        assert done[0] == done[1]
        assert done[0].gradient_norm > 0
    assert_same(everything_of(plain), everything_of(packed))


@pytest.mark.parametrize("name", ["auto", "torch", "numba"])
def test_settings_name_the_backend_of_all_neurons(name: Any) -> None:
    stepper = model_stepper(TrainSettings(backend=name))
    found = {m.backend for m in stepper.model.modules() if isinstance(m, Neuron)}
    assert found == {name}


def test_run_says_its_backend_and_goes_on_with_another(
    config: Make,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    weights: Helper,
) -> None:
    train(config("train.epochs=2", "train.pack_spikes=true", "run.name=whole"))
    assert "backend numba (auto)" in capsys.readouterr().out
    stopped = config("train.epochs=2")
    with monkeypatch.context() as patch:
        patch.setattr(training.Training, "_end_epoch", stop_after_one(training.Training))
        with pytest.raises(KeyboardInterrupt):
            train(stopped)
    judged: list[set[str]] = []
    conclude = training.conclude

    def look(model: nn.Module, *rest: Any) -> Any:
        judged.append({m.backend for m in model.modules() if isinstance(m, Neuron)})
        return conclude(model, *rest)

    monkeypatch.setattr(training, "conclude", look)
    train(config("train.epochs=2", "train.backend=torch", "train.pack_spikes=true"), resume=True)
    assert "backend torch " in capsys.readouterr().out
    assert judged == [{"torch"}]
    # the same up to rounding of gradients
    want, got = weights(config("run.name=whole")), weights(stopped)
    for key in (k for k in want if k.startswith("model.")):
        torch.testing.assert_close(got[key], want[key], rtol=1e-3, atol=1e-4)


def stop_after_one(kind: type[training.Training]) -> Callable[[training.Training], None]:
    end = kind._end_epoch

    def end_and_stop(self: training.Training) -> None:
        end(self)
        raise KeyboardInterrupt

    return end_and_stop


def test_backend_that_cannot_serve_is_refused_before_anything_is_written(config: Make) -> None:
    with pytest.raises(BackendError, match="backend 'cupy' does not serve cpu tensors; use"):
        train(config("train.backend=cupy"))
    assert not config().run.path.exists()


class Noisy(Neuron):
    """Fires with the probability that arrives."""

    stochastic = True

    def step(self, state: Named, inputs: Named, p: Named) -> tuple[Named, Tensor]:
        return state, ops.bernoulli(inputs.x)


def test_draws_of_neurons_belong_to_a_sample_of_a_step() -> None:
    """However a batch is divided, and whichever steps ran before."""

    class Drawn(nn.Sequential):
        num_classes = 2

        def __init__(self) -> None:
            super().__init__(TimeDistributed(nn.Linear(4, 2)), nn.Sigmoid(), Noisy())
            self.seen: list[Tensor] = []
            self[-1].register_forward_hook(lambda _m, _x, out: self.seen.append(out.detach()))

    def seen(parts: int, numbers: list[int], seed: int = 0) -> Tensor:
        torch.manual_seed(0)
        model = Drawn()
        stepper = Stepper(model, TrainSettings(accumulate=parts, seed=seed), CPU, World())
        x, labels = torch.full((5, 6, 4), 0.1), torch.tensor([0, 1] * 3)
        pieces = list(zip(x.chunk(parts, 1), labels.chunk(parts), strict=True))
        for number in numbers:
            model.seen.clear()
            stepper.step(pieces, number, 0, 0.0).read()
        return torch.cat(model.seen, 1)

    whole = seen(1, [4])
    assert 0 < whole.mean() < 1
    assert torch.equal(whole, seen(3, [4]))
    assert torch.equal(whole, seen(1, [2, 3, 4]))
    assert not torch.equal(whole, seen(1, [5]))
    assert not torch.equal(whole, seen(1, [4], seed=1))

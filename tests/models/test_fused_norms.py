"""Models whose neurons take over the batch norm before them, against one module after another."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

from spikesim import models
from spikesim.batch_norm import BatchNorm
from spikesim.energy import estimate
from spikesim.neuron import Neuron
from spikesim.probe import record
from spikesim.train.monitor import find_non_finite

# Neurons that take over a norm, and all neurons: of the rest, input is a residual, a product of
# spikes or a mean.
TAKEN = {"spikformer": (17, 19), "sdt": (11, 19), "spiking_vgg": (5, 5), "sew_resnet": (9, 9)}
NAMES = tuple(TAKEN)


def build(name: str, **more: object) -> models.SpikingModel:
    settings = {"preset": "tiny", "num_classes": 4, "steps": 5, "threshold": 0.5} | more
    return models.create(name, **settings)  # type: ignore[arg-type]


def events(*shape: int) -> Tensor:
    return torch.poisson(torch.full(shape, 0.5))


@contextmanager
def one_after_another(model: nn.Module) -> Iterator[None]:
    """Inside, every norm is run by itself: somebody looks at what it gives."""
    handles = [
        module.register_forward_hook(lambda *_: None)
        for module in model.modules()
        if isinstance(module, BatchNorm)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@pytest.mark.parametrize("name", NAMES)
def test_every_neuron_right_after_a_norm_takes_it_over(name: str) -> None:
    model = build(name)
    taken: list[bool] = []
    for module in model.modules():
        if isinstance(module, Neuron):
            module.register_forward_hook(lambda _m, inputs, _o: taken.append(len(inputs) == 2))
    model(events(5, 2, 2, 34, 34))
    assert (sum(taken), len(taken)) == TAKEN[name]
    assert sum(isinstance(module, BatchNorm) for module in model.modules()) == sum(taken)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_taken_over_equals_one_after_another(name: str, training: bool) -> None:
    """Spikes bit for bit; gradients, whose sums run in another order, closely."""
    model = build(name, neuron="plif")
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0  # lively in evaluation too
    model(events(5, 4, 2, 34, 34))
    apart = copy.deepcopy(model)
    x = events(5, 4, 2, 34, 34)
    outputs = []
    with one_after_another(apart):
        for one in (model, apart):
            one.train(training)
            out = one(x)
            nn.functional.cross_entropy(out.mean(0), torch.arange(4)).backward()
            outputs.append(out.detach())
    assert torch.equal(*outputs)
    assert outputs[0].std() > 1e-3
    biggest = max(p.grad.abs().max() for p in apart.parameters())
    for (key, p), other in zip(model.named_parameters(), apart.parameters(), strict=True):
        # A bias before batch norm has gradient 0 but for rounding.
        assert (p.grad - other.grad).abs().max() <= 1e-5 * biggest, key
    for (key, a), b in zip(model.named_buffers(), apart.buffers(), strict=True):
        assert torch.equal(a, b), key


@pytest.mark.parametrize("name", NAMES)
def test_state_dict_has_the_names_of_convolution_norm_and_neuron(name: str) -> None:
    """Checkpoints name layers by their place: convolution, norm in it, neuron next."""
    model = build(name, neuron="plif")
    names = dict(model.named_modules())
    for key, module in names.items():
        if isinstance(module, BatchNorm):
            path, place = key.rsplit(".", 1)
            assert place == "1"
            assert isinstance(names[f"{path}.0"], nn.Conv2d | nn.Linear)
            keys = [k for k in model.state_dict() if k.startswith(f"{key}.")]
            stats = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
            assert keys == [f"{key}.{stat}" for stat in stats]


@pytest.mark.parametrize("name", NAMES)
def test_probe_and_energy_see_the_run_as_it_is(name: str) -> None:
    model = build(name)
    x = events(5, 2, 2, 34, 34)
    model(x)
    recording = record(model, x, traces=3)
    assert torch.equal(recording.output, model.eval()(x))
    neurons = [key for key, module in model.named_modules() if isinstance(module, Neuron)]
    assert sorted(recording.layers) == sorted(neurons)
    for layer in recording.layers.values():
        # Traced from the normalised input, the neurons fire as they did in the run.
        chosen = torch.isin(layer.neurons, layer.traced)
        places = torch.searchsorted(layer.traced.sort().values, layer.neurons[chosen])
        order = layer.traced.argsort()
        assert torch.equal(layer.traces["output"][:, order][:, places], layer.raster[:, chosen])
    report = estimate(model, [x])
    assert report.uncovered == ()
    lines = {line.name: line for line in report.layers}
    norms = [key for key, module in model.named_modules() if isinstance(module, BatchNorm)]
    assert all(lines[key].kind == "norm" and "folded" in lines[key].note for key in norms)
    for key in neurons:
        assert lines[key].rate == pytest.approx(recording.rates[key], abs=1e-9)


def test_non_finite_values_are_found_at_the_norm() -> None:
    model = build("spiking_vgg")
    with torch.no_grad():
        model.features[0][1].running_var[0] = -1.0
    model.eval()
    assert find_non_finite(model, events(5, 2, 2, 34, 34)) == "the output of layer features.0.1"


def test_recomputed_blocks_move_running_statistics_once() -> None:
    from torch.utils.checkpoint import checkpoint

    model = build("sdt")
    again = copy.deepcopy(model)
    inside = again.blocks.forward
    again.blocks.forward = lambda x: checkpoint(inside, x, use_reentrant=False)
    x = events(5, 4, 2, 34, 34)
    for one in (model, again):
        nn.functional.cross_entropy(one(x).mean(0), torch.arange(4)).backward()
    for p, other in zip(model.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(p.grad, other.grad)
    for module, other in zip(model.modules(), again.modules(), strict=True):
        if isinstance(module, BatchNorm):
            assert torch.equal(module.running_mean, other.running_mean)
            assert int(other.num_batches_tracked) == 1

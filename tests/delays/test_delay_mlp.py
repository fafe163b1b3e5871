"""The published perceptron with delays: sizes, lengths, and what it is without them."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from spikesim import models
from spikesim.errors import UserError
from spikesim.models.delay_mlp import DelayMLP, NeuronDropout
from spikesim.neurons import LIF
from spikesim.readout import readout


def create(**more: object) -> DelayMLP:
    given = {"num_classes": 4, "steps": 20, "in_channels": 1, "image_size": (1, 6)}
    sizes = {"hidden": "7-5", "max_delay": 6, "dropout": 0.0}
    model = models.create("delay_mlp", **(given | sizes | more))  # type: ignore[arg-type]
    assert isinstance(model, DelayMLP)
    return model


@pytest.mark.parametrize(
    ("preset", "count"),
    [
        ("shd", 2 * (140 * 256 + 256 * 256 + 256 * 20) + 4 * 256),
        ("ssc-2l-1kc", 705_536),
        ("ssc-3l-1kc", 1_230_848),
        ("ssc-3l-2kc", 2_458_624),
        ("gsc-3l-2kc", 2_458_624),
    ],
)
def test_published_parameter_counts(preset: str, count: int) -> None:
    assert models.info("delay_mlp").parameters(preset) == count


def test_published_shd_counts_214016() -> None:
    assert models.info("delay_mlp").parameters("shd") == 214_016


def test_length_grows_by_half_the_delays_in_each_layer() -> None:
    D, sizes = 25, {"hidden": "16-16", "num_classes": 20, "steps": 100}
    model = models.create("delay_mlp", preset="shd", **sizes)  # type: ignore[arg-type]
    assert model(torch.rand(100, 2, 1, 1, 140)).shape == (100 + 3 * (D - 1) // 2, 2, 20)


@pytest.mark.parametrize("delay", [0, 2, 6])
def test_equal_delays_are_a_shift_of_the_input(delay: int) -> None:
    late, plain = create().eval(), create(delays="none").eval()
    for name, module in late.named_modules():
        if hasattr(module, "delay"):
            nn.init.constant_(module.delay, float(delay))
            plain.get_submodule(name)[0].weight.data.copy_(4 * module.weight)
            module.weight.data.mul_(4)
    x = torch.poisson(torch.full((20, 3, 1, 1, 6), 0.5))
    shifted = torch.cat([torch.zeros(3 * delay, 3, 1, 1, 6), x])[:20]
    torch.testing.assert_close(late(x), plain(shifted))
    assert late(x).std() > 0.1


@pytest.mark.peers
def test_one_step_of_training_is_that_of_the_published_parts() -> None:
    """SpikingJelly's neurons and torch's convolution and batch norm, as the publication has them.

    Output and gradients; float64, so that both fire in the same steps.
    """
    jelly = pytest.importorskip("spikingjelly.activation_based")
    from spikingjelly.activation_based import neuron, surrogate

    assert jelly is not None
    model = create(tau=1.5, lengthen=True, width=1.0, bumps=2).double()
    D, x = 7, torch.poisson(torch.full((20, 3, 1, 1, 6), 0.7)).double()
    layers = [model.hidden[0], model.hidden[4], model.head]
    weights = [layer.weight.detach().clone().requires_grad_() for layer in layers]
    places = [(D // 2 - layer.delay.detach()).requires_grad_() for layer in layers]
    h = x.flatten(2)
    for i, (weight, P) in enumerate(zip(weights, places, strict=True)):
        g = torch.exp(-0.5 * ((torch.arange(D) - (P + D // 2)[..., None]) / 1.27) ** 2)
        k = (weight[..., None] * g / (g.sum(-1, keepdim=True) + 1e-7)).sum(2)
        y = F.conv1d(F.pad(h.permute(1, 2, 0), (D - 1, (D - 1) // 2)), k).permute(2, 0, 1)
        if i < 2:
            y = F.batch_norm(y.flatten(0, 1), None, None, training=True).view_as(y)
        node = neuron.LIFNode(
            tau=1.5,
            decay_input=False,
            v_threshold=1.0 if i < 2 else 1e9,
            detach_reset=True,
            surrogate_function=surrogate.ATan(5.0),
            step_mode="m",
            store_v_seq=True,
        )
        h = node(y)
    expected, found = node.v_seq, model(x)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    target = torch.tensor([0, 1, 3])
    F.cross_entropy(readout(found, "softmax"), target).backward()
    F.cross_entropy(expected.softmax(2).sum(0), target).backward()
    for layer, weight, P in zip(layers, weights, places, strict=True):
        scale = float(weight.grad.abs().max())
        torch.testing.assert_close(layer.weight.grad, weight.grad, rtol=0, atol=1e-5 * scale)
        scale = float(P.grad.abs().max())
        torch.testing.assert_close(layer.delay.grad, -P.grad, rtol=0, atol=1e-5 * scale)


def test_neurons_take_over_the_norms_before_them() -> None:
    model, taken = create(), []
    for module in model.modules():
        if isinstance(module, LIF):
            module.register_forward_hook(lambda _m, inputs, _o: taken.append(len(inputs) == 2))
    model(torch.rand(20, 2, 1, 1, 6))
    assert taken == [True, True]


def test_softmax_readout_sums_probabilities() -> None:
    y = torch.tensor([[[0.0, 0.0]], [[0.0, 1.0986123]]])  # log 3
    torch.testing.assert_close(readout(y, "softmax"), torch.tensor([[0.75, 1.25]]))


def test_dropout_silences_neurons_for_all_steps() -> None:
    layer = NeuronDropout(0.25)
    x = torch.rand(6, 50, 40) + 0.5
    y = layer(x)
    kept = y != 0
    assert torch.equal(kept, kept[:1].expand_as(kept))
    torch.testing.assert_close(y[kept], x[kept] / 0.75)
    assert 0.7 < float(kept.double().mean()) < 0.8  # 2,000 draws: four sigma are 0.04
    assert torch.equal(layer.eval()(x), x)


def test_sizes_change_what_they_say() -> None:
    fixed = create(learn=False)
    assert not any(p.requires_grad for n, p in fixed.named_parameters() if n.endswith("delay"))
    kinds = {kind: create(delays=kind).head for kind in ("synapse", "axon", "dendrite")}
    shapes = [tuple(head.delay.shape) for head in kinds.values()]
    assert shapes == [(4, 5), (1, 5), (4, 1)]
    found = [m for m in create(neuron="lif", threshold=0.5).modules() if isinstance(m, LIF)]
    assert [(m.tau, m.v_threshold) for m in found] == [(2.0, 0.5)] * 2
    for given, wish in (
        ({"hidden": "7-x"}, "hidden"),
        ({"delays": "axn"}, "did you mean 'axon'"),
        ({"dropout": 1.0}, "dropout"),
        ({"shape": "gaus"}, "did you mean 'gauss'"),
    ):
        with pytest.raises(UserError, match=wish):
            create(**given)

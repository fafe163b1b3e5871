"""The cost of training: torch's own count of real backward passes, and products counted by hand."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from spikesim.energy.count import count
from spikesim.energy.layer import Counts, LayerCounts
from spikesim.energy.learning import OPTIMIZERS, with_learning
from spikesim.errors import UserError
from spikesim.layers import TimeDistributed
from spikesim.neurons import LIF
from spikesim.surrogate import ATan

STEPS, BATCH = 5, 2


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        TimeDistributed(nn.Conv2d(2, 4, 3, stride=2, bias=False)),
        LIF(v_threshold=0.1),
        TimeDistributed(nn.Conv2d(4, 6, 2)),
        LIF(v_threshold=0.1),
        nn.Flatten(2),
        nn.Linear(24, 5),
        LIF(v_threshold=0.05),
        nn.Linear(5, 3, bias=False),
    )


def frames() -> Tensor:
    return (torch.rand(STEPS, BATCH, 2, 7, 7) < 0.3).float()


def named(counts: Counts, name: str) -> LayerCounts:
    (found,) = (layer for layer in counts if layer.name == name)
    return found


def learning(counts: Counts, *parts: str) -> list[LayerCounts]:
    return [c for c in counts if c.kind == "learning" and c.name.split(" ", 1)[-1] in parts]


def macs_of_backward(net: nn.Module, x: Tensor) -> float:
    """What torch counts of a real backward pass, per sample."""
    loss = net(x).square().sum()
    with FlopCounterMode(display=False) as flops:
        loss.backward()
    return flops.get_total_flops() / 2 / BATCH


def test_products_of_bptt_are_those_of_a_real_backward_pass() -> None:
    net, x = model(), frames()
    for module in net.modules():
        if isinstance(module, LIF):
            module.backend = "torch"
    counts = with_learning(count(net, x), net)
    found = learning(counts, "weight gradient", "input gradient")
    assert sum(layer.macs for layer in found) == macs_of_backward(net, x)
    assert [layer.name for layer in found if "input" in layer.name] == [
        "2.0 input gradient", "5 input gradient", "7 input gradient"
    ]  # fmt: skip
    forward = [layer for layer in counts if layer.is_weighted]
    assert sum(layer.ann_macs for layer in found) == sum(
        layer.macs / STEPS * (1 + (n > 0)) for n, layer in enumerate(forward)
    )


def test_products_without_a_zero_factor() -> None:
    """One at a time: of what entered each layer and of the gradient of what left it."""
    net, x = model(), frames()
    seen: dict[str, list[Tensor]] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
            seen[name] = [given[0].detach().flatten(0, 1) if given[0].dim() == 3 else given[0]]
            out.register_hook(lambda grad: seen[name].append(grad))

        return hook

    counts = with_learning(count(net, x), net)
    for name in ("5", "7"):
        net.get_submodule(name).register_forward_hook(keep(name))
    (net(x) * torch.randn(3)).sum().backward()
    for name, (entered, grad) in seen.items():
        grad = grad.flatten(0, 1)
        pairs = (entered != 0)[:, :, None] & (grad != 0)[:, None, :]
        done, weight = named(counts, f"{name} weight gradient"), net.get_submodule(name).weight
        assert done.effective_acs == int(pairs.sum()) / BATCH > 0
        assert done.effective_macs == 0
        pairs = (weight != 0).T[None] & (grad != 0)[:, None, :]
        assert named(counts, f"{name} input gradient").effective_macs == int(pairs.sum()) / BATCH
    assert named(counts, "5 weight gradient").additions == 5 * STEPS  # of the bias
    assert named(counts, "7 weight gradient").additions == 0


def test_first_layer_of_real_numbers_multiplies() -> None:
    net = nn.Sequential(nn.Linear(3, 2))
    counts = with_learning(count(net, torch.tensor([0.5, 0.0, 2.0]).repeat(4, 1, 1)), net)
    done = named(counts, "0 weight gradient")
    assert (done.macs, done.effective_macs, done.effective_acs) == (24, 16, 0)
    assert done.inputs == 12
    assert not learning(counts, "input gradient")


def test_pruned_weights_have_no_gradient() -> None:
    net = nn.Sequential(nn.Linear(4, 6), LIF(v_threshold=-1.0), nn.Linear(6, 2))
    with torch.no_grad():
        net[2].weight[:, :3] = 0.0
    counts = with_learning(count(net, torch.ones(2, 1, 4)), net)  # all neurons fire
    assert named(counts, "2 weight gradient").effective_acs == 2 * 3 * 2
    done = named(counts, "2 input gradient")
    assert (done.macs, done.effective_macs, done.weight_reads) == (24, 12, 12)


def test_neurons_go_back_line_by_line() -> None:
    """As often as they are updated, whatever the rule; only time keeps their states."""
    net = nn.Sequential(nn.Linear(4, 3), LIF(surrogate=ATan(2.0)))
    counts = count(net, torch.ones(STEPS, 1, 4))
    back = named(with_learning(counts, net), "1 gradient")
    each = net[1].bound().program.reverse
    assert back.multiplications == 3 * STEPS * sum(line.op in ("*", "/") for line in each) > 0
    assert back.additions == 3 * STEPS * sum(line.op in ("+", "-") for line in each) > 0
    assert back.state_reads == back.state_writes == 3 * STEPS
    for rule in ("ottt", "eprop"):
        online = named(with_learning(counts, net, rule=rule), "1 gradient")  # type: ignore[arg-type]
        assert online.state_writes == 0
        assert online.multiplications == back.multiplications


class Tallied(float):
    """A number that counts the products and sums that it is in."""

    products = sums = 0

    def __mul__(self, other: Any) -> "Tallied":
        Tallied.products += 1
        return Tallied(float(self) * float(other))

    def __add__(self, other: Any) -> "Tallied":
        Tallied.sums += 1
        return Tallied(float(self) + float(other))


def test_online_rules_are_their_equations_written_out() -> None:
    """Each rule as a loop over synapses of one linear layer that sees the data."""
    fan_in, fan_out = 4, 3
    x = (torch.rand(STEPS, 1, fan_in) < 0.5).float()
    net = nn.Sequential(nn.Linear(fan_in, fan_out, bias=False), LIF())
    counts = count(net, x)
    rows = x[:, 0].tolist()
    error, decay = Tallied(0.5), 0.9

    Tallied.products = Tallied.sums = 0
    traces = [Tallied(0.0)] * fan_in
    gradient = [[Tallied(0.0)] * fan_in for _ in range(fan_out)]
    for row in rows:
        traces = [trace * decay + z for trace, z in zip(traces, row, strict=True)]
        gradient = [[g + error * a for g, a in zip(gs, traces, strict=True)] for gs in gradient]
    found = with_learning(counts, net, rule="ottt")
    (done,) = learning(found, "weight gradient")
    assert done.effective_macs + done.multiplications == Tallied.products
    assert done.effective_macs + done.additions == Tallied.sums
    assert done.state_writes == STEPS * fan_in

    # One state: e <- a e + z (an addition where z is a spike), gradient += L e.
    Tallied.products = Tallied.sums = 0
    eligible = [[Tallied(0.0)] * fan_in for _ in range(fan_out)]
    for row in rows:
        eligible = [
            [e * decay + z if z else e * decay for e, z in zip(es, row, strict=True)]
            for es in eligible
        ]
        gradient = [
            [g + error * e for g, e in zip(gs, es, strict=True)]
            for gs, es in zip(gradient, eligible, strict=True)
        ]
    (done,) = learning(with_learning(counts, net, rule="eprop"), "eligibility")
    assert done.effective_macs == Tallied.products
    # The decay of the only state is a product without a sum to join.
    recursion = STEPS * fan_in * fan_out
    assert done.effective_macs + done.effective_acs - recursion == Tallied.sums
    assert done.effective_acs == fan_out * x.sum()
    assert done.macs == 3 * recursion
    assert done.state_reads == done.state_writes == recursion


def test_eprop_products_are_those_of_our_own_online_learning() -> None:
    """Eligibilities of neurons with two states, a step at a time: torch counts its products."""
    from spikesim.neurons import ALIF
    from spikesim.online.cell import derivatives
    from spikesim.online.layer import Layer
    from spikesim.online.parts import parts

    net = nn.Sequential(nn.Linear(4, 3, bias=False), ALIF())
    layer = Layer(parts(net, ())[0], net[1], None, False)
    (own,) = layer.eligibilities
    z = torch.ones(1, BATCH, 4)
    _, _, state = layer.run(z, None, None)
    kept = state.kept[0]
    start = tuple(one.requires_grad_() for one in own.tie(state.cells, kept))
    x = net[0](z)
    _, _, end = layer.cell.run(x, start)
    by = derivatives(end, x, start)
    with FlopCounterMode(display=False) as flops:
        own.advance(kept, z, by)
        sum(one.sum() for one in own.tie(state.cells, kept)).backward()
    counts = count(net, torch.ones(1, BATCH, 4))
    (done,) = learning(with_learning(counts, net, rule="eprop"), "eligibility")
    assert done.macs == flops.get_total_flops() / 2 / BATCH


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_update_is_the_published_one(name: str) -> None:
    """Written out in numbers that count, and against torch's optimisers."""
    net = nn.Linear(3, 2)
    counts = count(net, torch.ones(2, 1, 3))
    layers = with_learning(counts, net, optimizer=name, batch=4).layers
    found, states = layers[-1], OPTIMIZERS[name].states
    weight, grad, lr = 0.7, 0.3, 0.01
    Tallied.products = Tallied.sums = 0
    w, g = Tallied(weight), Tallied(grad)
    roots = 0
    if name == "sgd":
        w = w + g * -lr
    elif name == "momentum":
        w = w + (Tallied(0.0) * 0.9 + g) * -lr
    else:
        b1, b2, eps, decay = 0.9, 0.999, 1e-8, 0.1
        size = lr * math.sqrt(1 - b2) / (1 - b1)
        m = Tallied(0.0) * b1 + g * (1 - b1)
        v = Tallied(0.0) * b2 + g * g * (1 - b2)
        root, roots = Tallied(math.sqrt(v)) + eps * math.sqrt(1 - b2), 1
        moved = m * (1 / root) * -size  # the quotient is one product
        w = w + w * (-lr * decay) + moved if name == "adamw" else w + moved
    parameters = 8 / 4
    assert found.multiplications == parameters * Tallied.products
    assert found.additions == parameters * Tallied.sums
    assert found.functions == parameters * roots
    assert found.state_reads == parameters * states
    theirs = nn.Parameter(torch.tensor([weight], dtype=torch.float64))
    theirs.grad = torch.tensor([grad], dtype=torch.float64)
    how: dict[str, Any] = {
        "sgd": (torch.optim.SGD, {}),
        "momentum": (torch.optim.SGD, {"momentum": 0.9}),
        "adam": (torch.optim.Adam, {}),
        "adamw": (torch.optim.AdamW, {"weight_decay": 0.1}),
    }
    make, options = how[name]
    make([theirs], lr=lr, **options).step()
    assert theirs.item() == pytest.approx(float(w), rel=1e-12)


def test_what_is_not_counted_is_named() -> None:
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.ReLU())
    x = torch.rand(4, 2, 3)
    counts = with_learning(count(net, x, forward=lambda m, x: m(x.flatten(0, 1))), net)
    assert counts.uncovered == (
        "1 (norm): its backward pass",
        "2 (elementwise): its backward pass",
    )


def test_products_of_activations_have_two_gradients() -> None:
    layer = LayerCounts(name="qk", kind="attention", macs=100.0, ann_macs=25.0, passes=4.0)
    counts = with_learning(Counts((layer,), samples=1, steps=4), nn.Identity())
    done = named(counts, "qk gradients")
    assert (done.macs, done.effective_macs, done.ann_macs) == (200, 200, 50)
    assert replace(done, kind="attention").is_weighted


def test_refusals() -> None:
    counts = Counts((), samples=1, steps=1)
    with pytest.raises(UserError, match=r"no learning rule 'bppt'.*bptt"):
        with_learning(counts, nn.Identity(), rule="bppt")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="no optimizer 'adamax'"):
        with_learning(counts, nn.Identity(), optimizer="adamax")
    with pytest.raises(UserError, match="batch must be >= 1, got 0"):
        with_learning(counts, nn.Identity(), batch=0)

"""A module and the network it becomes: the same spikes, in float64.

Weights of :func:`dyadic` are multiples of 1/64, so that sums of them are exact in floating point
and in quanta: trains are then equal bit by bit. Other weights round differently, but no membrane
comes as near to its threshold as that by chance.
"""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from spikesim.batch_norm import BatchNorm
from spikesim.layers import SpikingSequential, TimeDistributed
from spikesim.models import create
from spikesim.network.convert import Converted, first_difference, plan, to_network
from spikesim.neuron import Neuron
from spikesim.neurons import ALIF, CUBALIF, IF, LI, LIF, PLIF
from spikesim.pool import MaxPool2d
from spikesim.recurrent import Recurrent

NEURONS: dict[str, Callable[[], Neuron]] = {
    "lif": lambda: LIF(v_threshold=0.5),
    "lif, soft": lambda: LIF(3.0, 0.5, None, decay_input=False, leak="exact"),
    "lif, refractory": lambda: LIF(tau=3.0, v_threshold=0.4, v_reset=-0.1, refractory=2.0),
    "if": lambda: IF(v_threshold=0.7),
    "plif": lambda: PLIF(tau=2.5, v_threshold=0.4),
    "alif": lambda: ALIF(tau=3.0, tau_adaptation=9.0, v_threshold=0.3),
    "cuba": lambda: CUBALIF(tau=4.0, tau_synapse=2.0, v_threshold=0.4),
    "slow": lambda: LIF(tau=20.0, v_threshold=0.05, dt=5.0),
}


@pytest.fixture(autouse=True)
def _reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules run in plain torch: no kernel of the network's kind stands on both sides."""
    monkeypatch.setattr(Neuron, "backend", "torch")


def dyadic(module: nn.Module, scale: float = 1.0) -> nn.Module:
    """Weights of few binary digits, and batch norm that multiplies by powers of two."""
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Conv1d | nn.Conv2d):
            for weight in part.parameters():
                weight.data = torch.randn(weight.shape).mul(scale * 40).round() / 64
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            part.eps = 0.0
            part.running_var.fill_(4.0)
            part.running_mean.copy_(torch.randn(part.num_features).mul(16).round() / 64)
            part.weight.data = 2.0 ** torch.randint(-1, 3, (part.num_features,))
            part.bias.data = torch.randn(part.num_features).mul(16).round() / 64
    return module


def calibrated(module: nn.Module, x: Tensor) -> nn.Module:
    """Batch norm with the statistics of ``x``, so that layers fire."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.reset_running_stats()
            part.momentum = None
    with torch.no_grad():
        module.train()(x.float())
    return module


def events(*shape: int, rate: float = 0.4) -> Tensor:
    return (torch.rand(shape) < rate).double()


def check(module: nn.Module, x: Tensor, *, exact: bool = False) -> Converted:
    """Equal spikes in all layers, none of them silent, and equal outputs."""
    network = to_network(module, x)
    difference = first_difference(module, network, x)
    assert difference is None, str(difference)
    found = network.run(x)
    with torch.no_grad():
        expected = module.double().eval()(x)
    if exact:
        assert torch.equal(found, expected)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    rates = {name: float(network.spikes(name).mean()) for name in network.modules}
    assert rates
    assert all(0.001 < rate < 0.999 for rate in rates.values()), rates
    return network


@pytest.mark.parametrize("name", NEURONS)
@pytest.mark.parametrize("exact", [True, False])
def test_layers_of_linear_maps_and_neurons_fire_alike(name: str, exact: bool) -> None:
    make = NEURONS[name]
    module = nn.Sequential(nn.Linear(12, 20), make(), nn.Linear(20, 9, bias=False), make())
    for layer in (module[0], module[2]):
        nn.init.normal_(layer.weight, std=0.5)
    check(dyadic(module) if exact else module, events(30, 2, 12), exact=exact)


def test_parameters_of_each_neuron_and_channel_are_kept() -> None:
    each = torch.rand(6, dtype=torch.float64) + 0.2
    module = nn.Sequential(
        *(nn.Linear(8, 6), LIF(tau=1.0 + each, v_threshold=each), nn.Unflatten(2, (3, 2, 1))),
        PLIF(tau=torch.tensor([2.0, 3.0, 4.0]), v_threshold=0.3),
    )
    nn.init.normal_(module[0].weight, std=0.8)
    check(module, events(40, 2, 8))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    neurons=st.lists(st.sampled_from(sorted(set(NEURONS) - {"slow"})), min_size=1, max_size=3),
    channels=st.lists(st.integers(1, 4), min_size=3, max_size=3),
    size=st.tuples(st.integers(4, 9), st.integers(4, 9)),
    between=st.lists(st.sampled_from(["average", "maximum", "none"]), min_size=3, max_size=3),
    strides=st.lists(st.integers(1, 2), min_size=3, max_size=3),
    head=st.booleans(),
)
def test_stacks_of_convolutions_norms_and_pools_fire_alike(
    seed: int,
    neurons: list[str],
    channels: list[int],
    size: tuple[int, int],
    between: list[str],
    strides: list[int],
    head: bool,
) -> None:
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    width, low = 2, min(size)
    for name, out, pool, stride in zip(neurons, channels, between, strides, strict=False):
        conv = nn.Conv2d(width, out, 3, stride, padding=1, bias=stride == 1)
        layers += [TimeDistributed(conv, BatchNorm(out)), NEURONS[name]()]
        low = -(-low // stride)
        if pool != "none" and low >= 2:
            kind = nn.AvgPool2d(2) if pool == "average" else MaxPool2d(2)
            layers.append(TimeDistributed(kind))
            low //= 2
        width = out
    if head:
        layers.append(TimeDistributed(nn.Flatten(), nn.LazyLinear(5)))
    x = events(6, 2, 2, *size)
    module = SpikingSequential(*layers)
    module.float()(x.float())  # lazy layers take their size
    module = dyadic(module)
    difference = first_difference(module, to_network(module, x), x)
    assert difference is None, str(difference)
    with torch.no_grad():
        expected = module.double().eval()(x)
    assert torch.equal(to_network(module, x).run(x), expected)


@pytest.mark.parametrize(
    "sizes",
    [
        ("spiking_vgg", {"layers": "6-A-8-M-fc16", "neuron": "plif"}),
        ("sew_resnet", {"blocks": "1-2", "width": 6, "small_stem": True}),
        ("sew_resnet", {"blocks": "2-1", "width": 6, "connect": "and"}),
        ("sew_resnet", {"blocks": "2-1", "width": 6, "connect": "iand", "neuron": "if"}),
    ],
    ids=str,
)
def test_models_of_the_package_fire_alike(sizes: tuple[str, dict[str, object]]) -> None:
    name, options = sizes
    task = {"num_classes": 5, "steps": 6, "image_size": 12, "in_channels": 2}
    module = create(name, **task, **options, threshold=0.4)  # type: ignore[arg-type]
    check(calibrated(module, events(6, 8, 2, 12, 12)), events(6, 2, 2, 12, 12))


@pytest.mark.parametrize("name", ["lif", "alif", "plif", "lif, refractory"])
def test_a_recurrent_layer_hears_itself_a_step_later(name: str) -> None:
    layer = Recurrent(NEURONS[name](), nn.Linear(15, 15))
    module = nn.Sequential(nn.Linear(6, 15), layer, nn.Linear(15, 3), LI(tau=4.0))
    network = check(dyadic(module), events(50, 3, 6), exact=True)
    back = next(p for _, p in network.synapses if p.pre is p.post)
    assert back.delay == 1
    assert {p.delay for _, p in network.synapses if p is not back} == {0}


def test_a_recurrent_convolution_fires_alike() -> None:
    neuron = Recurrent(LIF(tau=3.0, v_threshold=0.4), nn.Conv2d(4, 4, 3, padding=1, bias=False))
    module = nn.Sequential(TimeDistributed(nn.Conv2d(1, 4, 3)), neuron)
    check(dyadic(module, 0.5), events(20, 2, 1, 7, 6), exact=True)


class Joined(nn.Module):
    """Sums, differences, products and joints of spikes, constants, and views."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(6, 8), nn.Linear(6, 8)
        self.a, self.b, self.c, self.d = (LIF(v_threshold=0.3) for _ in range(4))
        self.shift = nn.Parameter(torch.randn(8).mul(8).round() / 64)
        self.mix, self.tokens = nn.Linear(16, 8), nn.Linear(2, 3)
        self.along = nn.Conv1d(3, 5, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.a(self.one(x)), self.b(self.two(x))
        both = torch.cat([a + b, 1.0 - a * (1 - b)], dim=-1)
        c = self.c(self.mix(both) / 2 - 0.25 + self.shift)
        pairs = self.tokens((-c * 2 + a * b).view(*c.shape[:2], 4, 2))  # [T, B, 4, 3]
        maps = pairs.transpose(-1, -2).flatten(0, 1)  # [T * B, 3, 4]
        d = self.d(self.along(maps).view(*x.shape[:2], 5, 4)[..., 1:].flip(-1))
        return d.mean(-1) + d.sum(dim=(-1,)) - x[..., :5]


def test_views_sums_and_products_of_spikes_are_followed() -> None:
    module = Joined()
    check(dyadic(module), events(25, 3, 6))


def test_norms_after_any_map_fire_alike() -> None:
    linear = TimeDistributed(nn.Linear(6, 12), BatchNorm(12))
    maps = TimeDistributed(nn.Linear(12, 12), nn.Unflatten(1, (3, 2, 2)), BatchNorm(3))
    tokens = TimeDistributed(nn.Linear(2, 5, bias=False), BatchNorm(3), BatchNorm(3))
    bare = TimeDistributed(BatchNorm(3))
    neurons = [LIF(v_threshold=threshold) for threshold in (0.4, 0.3, 0.2, 0.05)]
    layers = zip((linear, maps, tokens, bare), neurons, strict=True)
    module = SpikingSequential(*(part for pair in layers for part in pair))
    check(dyadic(module), events(20, 2, 6), exact=True)


def test_pools_of_every_kind_are_torchs() -> None:
    for kind in (
        nn.AvgPool2d(3, stride=2, padding=1),
        nn.AvgPool2d((2, 3), stride=1, padding=(1, 1), count_include_pad=False),
        nn.AvgPool2d(2, divisor_override=3),
        nn.AdaptiveAvgPool2d((3, 2)),
        nn.AdaptiveAvgPool2d(1),
        nn.MaxPool2d(3, stride=2, padding=1, dilation=1),
        nn.MaxPool2d(2, stride=1, dilation=2),
    ):
        conv = nn.Conv2d(2, 3, 3, padding=1)
        pooled = TimeDistributed(kind, nn.Conv2d(3, 4, 1))
        layers = (TimeDistributed(conv), LIF(v_threshold=0.2), pooled, IF(v_threshold=0.2))
        check(dyadic(nn.Sequential(*layers)), events(10, 2, 2, 7, 8))
    flat = nn.Sequential(TimeDistributed(nn.Conv1d(2, 3, 3, groups=1), nn.BatchNorm1d(3)), IF(0.4))
    flat.extend([TimeDistributed(nn.MaxPool1d(2)), TimeDistributed(nn.AvgPool1d(2))])
    check(flat, events(10, 2, 2, 11))


def test_counts_and_values_come_in_as_currents() -> None:
    conv = TimeDistributed(nn.Conv2d(2, 4, 3, padding=1), BatchNorm(4))
    module = SpikingSequential(conv, LIF(v_threshold=0.5), TimeDistributed(nn.Flatten()))
    module.append(nn.LazyLinear(6)).append(LIF(v_threshold=0.2))
    x = torch.poisson(torch.full((12, 2, 2, 6, 5), 0.7))
    module(x)
    dyadic(module)
    network = to_network(module, x, inputs="currents")
    assert "(input)" not in network.populations
    assert first_difference(module, network, x.double()) is None
    assert network.spikes("4").mean() > 0.01
    module[3].weight.data.abs_()
    module[0][0].weight.data.uniform_(0.1, 0.9)
    full = torch.full((4, 1, 2, 6, 5), 0.7)  # the largest input, all of it at once
    assert first_difference(module, to_network(module, full, inputs="currents"), full) is None
    values = nn.Sequential(LIF(v_threshold=0.3))
    x = torch.randn(30, 2, 5)
    assert first_difference(values, to_network(values, x, inputs="currents"), x) is None


def test_float32_gives_the_spikes_of_float32() -> None:
    module = nn.Sequential(nn.Linear(12, 20), LIF(), nn.Linear(20, 9), PLIF(v_threshold=0.3))
    dyadic(module)
    x = events(30, 2, 12)
    network = to_network(module, x, dtype="float32")
    assert network.run(x).dtype == torch.float32
    assert first_difference(module, network, x) is None
    assert network.spikes("1").sum() > 50


@pytest.mark.parametrize("threads", [1, 2])
def test_a_run_goes_on_and_starts_again(threads: int) -> None:
    layer = Recurrent(ALIF(tau=3.0, v_threshold=0.2), nn.Linear(9, 9))
    module = nn.Sequential(nn.Linear(5, 9), layer, nn.Linear(9, 4), LIF(v_threshold=0.2))
    x = events(24, 1, 5)
    network = to_network(module, x, threads=threads)
    whole = network.run(x)
    network.run(x[:7])
    parts = [network.spikes("1")]
    kept = network.network.state_dict()
    network.run(x[7:15], restart=False)
    parts.append(network.spikes("1"))
    rest = network.run(x[15:], restart=False)
    parts.append(network.spikes("1"))
    assert torch.equal(rest, whole[15:])
    assert torch.equal(network.run(x), whole)
    assert torch.equal(torch.cat(parts), network.spikes("1"))
    again = to_network(module, x, threads=threads)
    again.network.load_state_dict(kept)
    assert torch.equal(again.run(x[7:], restart=False), whole[7:])


def test_the_first_difference_is_named() -> None:
    module = nn.Sequential(nn.Linear(2, 3, bias=False), IF(v_threshold=1.0))
    module[0].weight.data = torch.tensor([[0.1, 0.0], [0.0, 0.25], [0.5, 0.0]])
    x = torch.ones(12, 2, 2).double()
    x[:, 0, 1] = 0.0
    network = to_network(module, x)
    # Ten times float32's 0.1 is above 1; a network of another weight fires later.
    other = nn.Sequential(nn.Linear(2, 3, bias=False), IF(v_threshold=1.0))
    other[0].weight.data = torch.tensor([[0.1, 0.0], [0.0, 0.2], [0.5, 0.0]])
    found = first_difference(other, network, x)
    assert found is not None
    assert (found.layer, found.step, found.sample, found.neuron) == ("1", 3, 1, (1,))
    assert not found.by_module
    assert found.network == {"v": 0.0}
    assert found.module["v"] == pytest.approx(0.8)
    text = "layer '1', step 3, sample 1, neuron [1]: the network fires, the module does not"
    assert str(found).startswith(text)


def test_synapses_are_told_before_they_are_made() -> None:
    module = create("spiking_vgg", num_classes=5, steps=4, image_size=8, layers="4-M-6-A-fc7")
    x = events(4, 1, 2, 8, 8)
    told = plan(module, x)
    network = to_network(module, x)
    assert told.synapses == network.network.synapses
    by_layer = {row.name: row.synapses for row in told.rows()}
    assert by_layer["features.1"] == 2 * 4 * (3 * 8 - 2) ** 2  # borders have 2 taps an axis
    assert by_layer["linear.1"] == 6 * 4 * 4 * 7
    text = str(told)
    assert f"{told.synapses:,}" in text
    assert "features.4" in text


def test_synaptic_events_are_weights_times_spikes() -> None:
    module = nn.Sequential(nn.Linear(6, 10), LIF(v_threshold=0.2), nn.Linear(10, 4), IF())
    x = events(9, 3, 6)
    network = to_network(module, x)
    network.run(x)
    expected = x.sum() * 10 + network.spikes("1").sum() * 4
    assert network.synaptic_events == pytest.approx(float(expected) / 3)

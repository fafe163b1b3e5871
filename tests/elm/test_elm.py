"""The ELM neuron against its equations written out, closed forms and published sizes."""

import math

import pytest
import torch
from torch import Tensor, nn

from spikesim.elm import ELM, windows
from spikesim.errors import UserError
from spikesim.types import Named

PUBLISHED = {
    1: 4601, 2: 4708, 3: 4823, 5: 5077, 7: 5363, 10: 5852, 15: 6827, 20: 8002, 25: 9377,
    30: 10952, 40: 14702, 50: 19252, 75: 34127, 100: 54002,
}  # fmt: skip
"""Parameters of the released models of NeuronIO, by memory units."""


def neuronio(n_memory: int) -> ELM:
    return ELM(
        1278, 2, n_memory=n_memory, n_branch=45, synapses=100, routing="windows",
        tau_m=(1.0, 150.0), activation="silu",
    )  # fmt: skip


def silenced(value: float, **options: object) -> ELM:
    """An ELM whose MLP proposes the same all the time, such that g of it is ``value``."""
    elm = ELM(3, 2, n_memory=6, **options).double()  # type: ignore[arg-type]
    last = elm.mlp[-1]
    assert isinstance(last, nn.Linear)
    nn.init.zeros_(last.weight)
    nn.init.constant_(last.bias, 1.5 * math.atanh(value / 1.7159))
    return elm


def by_hand(elm: ELM, x: Tensor, synapse_wise: bool) -> Tensor:
    """The published equations, step by step; version 1 filters each synapse by itself."""
    w = elm.weight.relu()
    source = torch.arange(elm.n_in).view_as(w) if elm.source is None else elm.source
    valid = torch.ones_like(w) if elm.valid is None else elm.valid
    kappa_s, kappa = math.exp(-elm.dt / float(elm.branch.tau)), torch.exp(-elm.dt / elm.tau_m)
    s, m, outputs = 0.0, torch.zeros(x.shape[1], len(kappa)).double(), []
    for now in x:
        arriving = w * now[:, source] * valid
        s = kappa_s * s + (arriving if synapse_wise else arriving.sum(-1))
        b = s.sum(-1) if synapse_wise else s
        h = torch.cat([b, kappa * m], 1)
        for layer in elm.mlp[:-1]:
            h = elm.activation(layer(h))
        proposed = 1.7159 * torch.tanh(2.0 / 3.0 * elm.mlp[-1](h))
        if elm.version == 1:
            m = kappa * m + elm.lam * (1.0 - kappa) * proposed
        else:
            m = kappa * m + (1.0 - torch.exp(-elm.dt * elm.lam / elm.tau_m)) * proposed
        outputs.append(elm.readout(m))
    return torch.stack(outputs)


@pytest.mark.parametrize("n_memory", PUBLISHED)
def test_has_as_many_parameters_as_released(n_memory: int) -> None:
    elm = neuronio(n_memory)
    assert sum(p.numel() for p in elm.parameters()) == PUBLISHED[n_memory]


@pytest.mark.parametrize(
    "options",
    [
        {"version": 1},
        {"version": 2, "synapses": 2, "activation": "silu", "dt": 2.0},
        {"version": 2, "n_branch": 3, "synapses": 4, "routing": "windows", "layers": 2},
        {"version": 1, "n_branch": 5, "synapses": 3, "routing": "random", "lam": 2.0},
        {"n_branch": 2, "synapses": 2, "routing": torch.tensor([[0, 0], [7, 3]]), "hidden": 9},
    ],
)
@pytest.mark.parametrize("learnable", [(), ("tau_m",)])
def test_outputs_and_gradients_are_those_of_the_equations(options: dict, learnable) -> None:
    torch.manual_seed(0)
    elm = ELM(8, 3, n_memory=5, tau_m=(2.0, 60.0), learnable=learnable, **options).double()
    nn.init.normal_(elm.weight)  # some below zero: those synapses are silent
    x = torch.poisson(torch.full((12, 4, 8), 0.3)).double().requires_grad_()
    found, expected = elm(x), by_hand(elm, x, elm.version == 1)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    probe = torch.randn_like(found)
    wanted = [x, *elm.parameters()]
    for ours, theirs in zip(
        torch.autograd.grad((found * probe).sum(), wanted),
        torch.autograd.grad((expected * probe).sum(), wanted),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("dt", [1.0, 10.0])
def test_memory_alone_decays_by_its_time_constant(dt: float) -> None:
    elm = silenced(0.0, dt=dt)
    start = Named(b=torch.zeros(2, 3).double(), m=torch.randn(2, 6).double())
    m = elm.trace(torch.randn(40, 2, 3).double(), start).m
    t = torch.arange(1, 41).double()[:, None, None]
    torch.testing.assert_close(m, start.m * torch.exp(-dt * t / elm.tau_m), rtol=1e-12, atol=0)


@pytest.mark.parametrize("version", [1, 2])
def test_memory_settles_where_the_proposal_holds_it(version: int) -> None:
    c, lam = 0.7, 5.0
    elm = silenced(c, version=version, lam=lam, tau_m=(1.0, 20.0))
    m = elm.trace(torch.zeros(800, 1, 3).double()).m[-1, 0]
    rate = 1.0 / elm.tau_m
    limit = torch.full_like(m, lam * c)
    if version == 2:
        limit = c * (1 - torch.exp(-lam * rate)) / (1 - torch.exp(-rate))
    torch.testing.assert_close(m, limit, rtol=1e-10, atol=0)


@pytest.mark.parametrize("dt", [1.0, 2.0, 10.0])
def test_trace_of_one_spike_is_an_exponential(dt: float) -> None:
    elm = ELM(3, 1, dt=dt, tau_b=5.0).double()
    nn.init.uniform_(elm.weight)
    x = torch.zeros(30, 1, 3).double()
    x[4] = 1.0
    t = torch.arange(26).double()[:, None]
    b = elm.trace(x).b[:, 0]
    assert not b[:4].any()
    torch.testing.assert_close(b[4:], elm.weight[:, 0] * torch.exp(-dt * t / 5.0))


def test_versions_agree_to_second_order_where_memory_is_slow() -> None:
    """The gains differ by ``lam (lam - 1) / 2 (dt / tau)**2``: a quarter at twice the tau."""
    x = torch.poisson(torch.full((50, 2, 3), 0.3)).double()
    apart, gains = [], []
    for tau in (500.0, 1000.0, 2000.0):  # 100 lam dt and above
        torch.manual_seed(0)
        one, two = (
            ELM(3, 2, n_memory=4, version=version, tau_m=(tau, tau + 1.0)).double()
            for version in (1, 2)
        )
        two.load_state_dict(one.state_dict())
        gains.append(float((one.writing() - two.writing()).abs().max()) * (tau / 5.0) ** 2)
        # Memory is filled for 50 steps: differences of one step add up.
        apart.append(float((one(x) - two(x)).detach().abs().max()) * (tau / 5.0) ** 2)
    assert all(0.38 < gain < 0.4 for gain in gains)  # lam (lam - 1) / 2 / lam**2 = 0.4
    assert all(0.0 < error < 50 * 0.4 * 1.7159 for error in apart)
    assert max(apart) < 1.3 * min(apart)


def test_run_goes_on_where_it_ended() -> None:
    elm, x = neuronio(5), torch.poisson(torch.full((20, 2, 1278), 0.02))
    whole, at_last = elm.run(x)
    first, state = elm.run(x[:7])
    second, end = elm.run(x[7:], state)
    torch.testing.assert_close(torch.cat([first, second]), whole)
    torch.testing.assert_close((end.b, end.m), (at_last.b, at_last.m))


def test_compiles_as_one_graph() -> None:
    elm, x = ELM(6, 2, n_memory=4), torch.rand(5, 3, 6)
    compiled = torch.compile(elm, backend="eager", fullgraph=True)
    found, expected = (
        torch.autograd.grad(one(x).square().sum(), elm.weight)[0] for one in (compiled, elm)
    )
    torch.testing.assert_close(found, expected)


def test_windows_are_those_of_neuronio() -> None:
    source, valid = windows(1278, 45, 100)
    assert source[0, :4].tolist() == [0, 639, 1, 640]  # excitatory and inhibitory in turn
    assert source[1, :2].tolist() == [639 + 14, 15]  # from the 29th in turn on
    assert valid[:41].all()
    assert valid[44].sum() == 1278 - 44 * 29
    assert set(source[valid].tolist()) == set(range(1278))


def test_silent_synapses_pass_nothing_on() -> None:
    elm = ELM(4, 1, n_memory=2, n_branch=2, synapses=3, routing="windows")
    assert elm.valid is not None
    assert not elm.valid.all()
    drive = elm.drive(torch.ones(1, 1, 4))
    assert drive.flatten().tolist() == [1.5, 1.0]  # weights of 0.5; the second branch has two


def test_time_constants_span_their_range_and_learn_within_it() -> None:
    fixed, learned = (ELM(2, 1, n_memory=9, learnable=l) for l in ((), ("tau_m",)))  # noqa: E741
    expected = torch.logspace(0, 3, 9)
    torch.testing.assert_close(fixed.tau_m, expected)
    torch.testing.assert_close(learned.tau_m, expected)
    assert learned.raw_tau_m.dtype == fixed.tau_m.dtype == torch.float32
    assert "raw_tau_m" not in dict(fixed.named_parameters())
    with torch.no_grad():
        learned.raw_tau_m += torch.linspace(-90, 90, 9)
    assert bool(((learned.tau_m >= 1.0) & (learned.tau_m <= 1000.0)).all())


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"n_branch": 3}, "choose a routing"),
        ({"n_branch": 3, "synapses": 2, "routing": "windows"}, "leave some of 8 inputs out"),
        ({"routing": "next"}, "routing must be"),
        ({"routing": torch.full((8, 1), 8)}, "indices"),
        ({"version": 3}, "version must be 1 or 2, got 3"),
        ({"activation": "gelu"}, "activation must be relu or silu, got 'gelu'"),
        ({"layers": 0}, "layers must be a whole number >= 1, got 0"),
        ({"tau_m": (5.0, 5.0)}, "least < greatest"),
        ({"dt": 0.0}, "dt must be > 0, got 0"),
        ({"lam": float("nan")}, "lam must be a finite number, got nan"),
        ({"weight": float("nan")}, "weight must be a finite number, got nan"),
        ({"synapses": 0}, "synapses must be a whole number >= 1, got 0"),
        ({"learnable": ("tau_b",)}, "names no parameter"),
    ],
)
def test_refuses_what_makes_no_neuron(options: dict, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        ELM(8, 2, **options)


def test_refuses_other_inputs() -> None:
    with pytest.raises(UserError, match=r"takes \[T, B, 8\], got \[3, 2, 7\]"):
        ELM(8, 2)(torch.zeros(3, 2, 7))


def test_traces_die_out_before_they_are_subnormal() -> None:
    """The MLP sees nothing of a spike 350 ms ago, and gradients of silent inputs stay."""
    elm = ELM(1, 1, n_memory=2, activation="silu")  # ReLU has no gradient at 0
    x = torch.zeros(500, 1, 1)
    x[0] = 1.0
    x.requires_grad_()
    b = elm.trace(x).b.flatten()
    assert 0.0 < float(b[440].detach()) < 1.2e-38
    seen: list[Tensor] = []
    activation = elm.activation
    elm.activation = lambda h: (seen.append(h), activation(h))[1]
    # Only the branch reaches the hidden layer, without a bias.
    first = elm.mlp[0]
    assert isinstance(first, nn.Linear)
    nn.init.zeros_(first.bias)
    with torch.no_grad():
        first.weight[:, 1:] = 0.0
        first.weight[:, 0] = 1.0
    elm(x)[-1].sum().backward()
    assert bool((seen[300] > 0.0).all())
    assert not seen[360].any()
    assert x.grad is not None
    assert bool(x.grad[499] != 0.0)

"""The Expressive Leaky Memory neuron.

Shape legend: ``T`` steps, ``B`` batch, ``I`` inputs, ``K`` branches, ``M`` memory units, ``H``
hidden units, ``O`` outputs.
"""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, cast

import torch
from torch import Tensor, nn

from spikesim.constraint import Constraint
from spikesim.elm.routing import random_routing, windows
from spikesim.errors import UserError
from spikesim.network.given import real, whole
from spikesim.neurons import LI
from spikesim.parameters import Parameters
from spikesim.types import Named

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "silu": nn.functional.silu,
}
INSET = 1e-6
"""Of the first and last time constant from the ends of their range, where a sigmoid has no raw
value; as published."""

NEGLIGIBLE = 1e-30
"""A trace of a branch, in weights of a spike, that the MLP does not see: float32 bears 1e-38."""


@dataclass(frozen=True)
class Between(Constraint):
    """``value = low + (high - low) sigmoid(raw)``."""

    low: float
    high: float

    @property
    def wish(self) -> str:  # type: ignore[override]
        """The range in words."""
        return f"between {self.low} and {self.high}"

    def holds(self, value: Tensor) -> Tensor:
        """Where ``value`` lies in the range."""
        return (value >= self.low) & (value <= self.high)

    def value(self, raw: Tensor) -> Tensor:
        """The scaled sigmoid."""
        return self.low + (self.high - self.low) * raw.sigmoid()

    def raw(self, value: Tensor) -> Tensor:
        """``log((value - low) / (high - value))``."""
        return torch.log((value - self.low) / (self.high - value))


class ELM(Parameters):
    r"""One cortical neuron: synapses on branches, slow memory, and a small network between them.

    .. math::
        b_t &= \kappa_b b_{t-1} + \sum_{i \in branch} \mathrm{relu}(w_i) x_{i,t} \\
        \Delta m_t &= g(\mathrm{MLP}([b_t, \kappa_m m_{t-1}])), \quad g(z) = 1.7159 \tanh(2z/3) \\
        m_t &= \kappa_m m_{t-1} + \gamma \Delta m_t, \qquad y_t = W_y m_t + c

    with :math:`\kappa = e^{-dt/\tau}`, and :math:`\gamma = \lambda (1 - \kappa_m)` in version 1,
    :math:`1 - \kappa_m^\lambda` in version 2. Where version 1 filters each synapse and then adds up
    a branch, here the branch is filtered: with one time constant this is the same.

    All that is linear in the inputs is computed for all steps at once (the synapses, their leak,
    the first layer's share of them, the outputs); only the memory goes step by step.

    Args:
        n_in, n_out: inputs and outputs.
        n_memory: memory units, with time constants spaced evenly in their logarithm.
        n_branch: branches; by default as many as leave ``synapses`` inputs to each.
        synapses: of each branch.
        routing: which input each synapse has: ``None`` the next one, so that there is one synapse
            for each input; ``"windows"`` (:func:`~spikesim.elm.windows`, published for NeuronIO);
            ``"random"`` (:func:`~spikesim.elm.random_routing`); or indices
            ``[n_branch, synapses]``.
        version: of the update of memory, 1 or 2; that of SHD is 1.
        lam: :math:`\lambda`, how strongly a step writes to memory, > 0.
        tau_m: least and greatest time constant of memory, in the unit of ``dt``; ``learnable=
            ("tau_m",)`` trains those of all units within the range.
        tau_b: time constant of synapses, in the unit of ``dt``, > 0; never trained.
        hidden: width of the MLP's hidden layers; by default ``2 * n_memory``.
        layers: hidden layers, >= 1.
        activation: of hidden layers, ``"relu"`` (SHD) or ``"silu"`` (NeuronIO).
        weight: first value of all synapses, >= 0.
        dt: step length, ms for the published time constants.
        generator: of random routing.

    Shape: ``[T, B, I]`` -> ``[T, B, O]``; state ``b`` ``[B, K]`` and ``m`` ``[B, M]``, initially 0.

    Raises:
        UserError: a setting out of its range, or synapses and inputs that do not match.

    Reference: Spieler, Rahaman, Martius, Schölkopf, Levina (2024), *The Expressive Leaky Memory
    neuron*, ICLR, arXiv 2306.16922.

    >>> elm = ELM(1278, 2, n_memory=20, n_branch=45, synapses=100, routing="windows",
    ...           tau_m=(1.0, 150.0), activation="silu")
    >>> sum(p.numel() for p in elm.parameters())
    8002
    """

    tau_m: Tensor
    source: Tensor | None
    valid: Tensor | None

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        n_memory: int = 100,
        n_branch: int | None = None,
        synapses: int = 1,
        routing: Literal["windows", "random"] | Tensor | None = None,
        version: Literal[1, 2] = 2,
        lam: float = 5.0,
        tau_m: tuple[float, float] = (1.0, 1000.0),
        tau_b: float = 5.0,
        hidden: int | None = None,
        layers: int = 1,
        activation: str = "relu",
        weight: float = 0.5,
        learnable: Collection[str] = (),
        dt: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(learnable)
        n_branch = n_in // max(synapses, 1) if n_branch is None else n_branch
        hidden = 2 * n_memory if hidden is None else hidden
        counts = {"n_in": n_in, "n_out": n_out, "n_memory": n_memory, "synapses": synapses}
        counts |= {"n_branch": n_branch, "hidden": hidden, "layers": layers}
        for name, count in counts.items():
            whole(name, count, 1)
        for name, number in {"lam": lam, "tau_b": tau_b, "dt": dt}.items():
            if not real(name, number) > 0.0:
                raise UserError(f"{name} must be > 0, got {number}")
        if real("weight", weight) < 0.0:
            raise UserError(f"weight must be >= 0, got {weight}")
        if version not in (1, 2):
            raise UserError(f"version must be 1 or 2, got {version}")
        if activation not in ACTIVATIONS:
            raise UserError(f"activation must be {' or '.join(ACTIVATIONS)}, got {activation!r}")
        low, high = tau_m
        if not 0.0 < low < high - 2 * INSET or not math.isfinite(high):
            raise UserError(f"tau_m must be two numbers with 0 < least < greatest, got {tau_m}")
        self.n_in, self.n_branch, self.version, self.lam, self.dt = n_in, n_branch, version, lam, dt
        self._route(n_branch, synapses, routing, generator)
        self.weight = nn.Parameter(torch.full((n_branch, synapses), weight))
        ends = math.log10(low + INSET), math.log10(high - INSET)
        spaced = torch.logspace(*ends, n_memory, dtype=torch.float64)
        taus = spaced.clamp(low + INSET, high - INSET)  # rounding must not put one outside
        self.add_parameter("tau_m", taus, Between(low, high))
        self.check_learnable()
        self.to(torch.get_default_dtype())
        self.branch = LI(tau_b, leak="exact", dt=dt)
        sizes = [n_branch + n_memory, *[hidden] * layers, n_memory]
        self.mlp = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(sizes))
        self.activation = ACTIVATIONS[activation]
        self.readout = nn.Linear(n_memory, n_out)

    def _route(
        self,
        n_branch: int,
        synapses: int,
        routing: str | Tensor | None,
        generator: torch.Generator | None,
    ) -> None:
        """Set ``source`` and ``valid``, the input of each synapse; ``None``: the next one."""
        source = valid = None
        shape = n_branch, synapses
        if routing is None:
            if n_branch * synapses != self.n_in:
                raise UserError(
                    f"{n_branch} branches of {synapses} synapses do not take {self.n_in} inputs "
                    "each once; choose a routing"
                )
        elif isinstance(routing, Tensor):
            source, valid = routing, torch.ones_like(routing, dtype=torch.bool)
            known = source.shape == shape and not source.is_floating_point()
            if not known or not 0 <= int(source.min()) <= int(source.max()) < self.n_in:
                raise UserError(
                    f"routing must be indices {list(shape)} of {self.n_in} inputs, got "
                    f"{source.dtype} {list(source.shape)}"
                )
        elif routing == "windows":
            source, valid = windows(self.n_in, *shape)
        elif routing == "random":
            source, valid = random_routing(self.n_in, *shape, generator)
        else:
            raise UserError(f"routing must be 'windows', 'random', or indices, got {routing!r}")
        self.register_buffer("source", source)
        self.register_buffer("valid", valid)

    def drive(self, x: Tensor) -> Tensor:
        """What each branch gets in each step, ``[T, B, I]`` -> ``[T, B, K]``."""
        if x.dim() != 3 or x.shape[2] != self.n_in:
            raise UserError(f"the ELM takes [T, B, {self.n_in}], got {list(x.shape)}")
        w_KS = self.weight.relu()
        if self.source is None or self.valid is None:
            return (x.reshape(*x.shape[:2], *w_KS.shape) * w_KS).sum(3)
        # A matrix: routed inputs [T, B, K, S] would take several times the memory of x.
        branch = torch.arange(self.n_branch, device=x.device)[:, None].expand_as(w_KS)
        w_IK = w_KS.new_zeros(self.n_in, self.n_branch)
        return x @ w_IK.index_put((self.source, branch), w_KS * self.valid, accumulate=True)

    def writing(self) -> Tensor:
        r"""How much of :math:`\Delta m` a step adds to memory, :math:`\gamma`, ``[M]``."""
        rate = self.dt / self.tau_m
        if self.version == 1:
            return -self.lam * torch.expm1(-rate)
        return -torch.expm1(-self.lam * rate)

    def trace(self, x: Tensor, state: Named | None = None) -> Named:
        """Branches ``b`` ``[T, B, K]`` and memory ``m`` ``[T, B, M]`` at each step."""
        # LI adds the fraction it loses of its input: divided by it, a spike adds its weight.
        gain = -1.0 / math.expm1(-self.dt / float(self.branch.tau))
        before = None if state is None else Named(v=state.b)
        b, _ = self.branch.run(self.drive(x) * gain, before)
        m = b.new_zeros(b.shape[1], len(self.tau_m)) if state is None else state.m
        return Named(b=b, m=self._memory(b, m))

    def _memory(self, b_TBK: Tensor, m: Tensor) -> Tensor:
        """Memory at each step; what a step would multiply each time is multiplied once here."""
        first, *middle, last = cast(list[nn.Linear], list(self.mlp))
        kappa = torch.exp(-self.dt / self.tau_m)
        from_branches = first.weight[:, : self.n_branch]
        from_memory = first.weight[:, self.n_branch :]
        # Traces of old spikes become subnormal, which makes products on a CPU 2.5 times slower.
        # Gradients pass: a silent input has one too.
        traces = b_TBK + (nn.functional.hardshrink(b_TBK, NEGLIGIBLE) - b_TBK).detach()
        drive_TBH = nn.functional.linear(traces, from_branches, first.bias)
        remembered = (from_memory * kappa).T
        # g stretches its argument by 2/3, and its value by 1.7159.
        proposal, offset = last.weight.T * (2.0 / 3.0), last.bias * (2.0 / 3.0)
        gain = 1.7159 * self.writing()
        memory = []
        for drive in drive_TBH.unbind(0):
            h = self.activation(torch.addmm(drive, m, remembered))
            for layer in middle:
                h = self.activation(layer(h))
            m = torch.addcmul(kappa * m, gain, torch.addmm(offset, h, proposal).tanh())
            memory.append(m)
        return torch.stack(memory)

    def run(self, x: Tensor, state: Named | None = None) -> tuple[Tensor, Named]:
        """Outputs ``[T, B, O]``, and the state ``b``, ``m`` after the last step."""
        states = self.trace(x, state)
        y: Tensor = self.readout(states.m)
        return y, states.map(lambda values: values[-1])

    def forward(self, x: Tensor) -> Tensor:
        """The whole sequence from the initial state; nothing is kept."""
        return self.run(x)[0]

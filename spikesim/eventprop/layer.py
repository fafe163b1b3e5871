"""A layer of CUBA-LIF neurons that is trained by events, with a delay for each synapse."""

import torch
from torch import Tensor, nn

from spikesim.errors import UserError
from spikesim.eventprop.functional import cuba_lif
from spikesim.eventprop.spikes import Spikes

Pair = tuple[float, float]


class EventLIF(nn.Module):
    r"""CUBA-LIF neurons whose gradients are exact, of weights, delays and spike times.

    Equations: :func:`spikesim.eventprop.functional.cuba_lif`. Each call first brings delays back
    into 0 to ``max_delay``, where an optimiser took them out.

    Args:
        inputs, outputs: neurons before, and of the layer.
        recurrent: the layer's own spikes come back to all its neurons.
        tau_m, tau_s: time constants of membrane and current, ms, > 0.
        v_threshold: in units of the weights, > 0.
        weight: mean and standard deviation of the first weights.
        delay: least and largest of the first delays, ms; drawn uniformly.
        own_weight, own_delay: the same of synapses among the layer's neurons.
        max_delay: ms.
        dt: ``None`` for exact spike times, else the step, ms.

    Attributes:
        weight, delay: ``[outputs, inputs]``; ``delay`` in ms, larger is later.
        own_weight, own_delay: ``[outputs, outputs]``, or ``None``.

    Raises:
        UserError: sizes that are not positive, first delays outside 0 to ``max_delay``; in calls,
            what ``cuba_lif`` raises.

    >>> layer = EventLIF(2, 1, weight=(4.0, 0.0), delay=(0.0, 3.0))
    >>> spikes = layer(Spikes.of([([1.0, 4.0], [0, 1])], size=2, duration=50.0))
    >>> spikes.counts().tolist()
    [[1]]
    >>> spikes.times.sum().backward()
    >>> layer.delay.grad.shape
    torch.Size([1, 2])
    """

    own_weight: nn.Parameter | None
    own_delay: nn.Parameter | None

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        recurrent: bool = False,
        tau_m: float = 20.0,
        tau_s: float = 5.0,
        v_threshold: float = 1.0,
        weight: Pair = (0.03, 0.01),
        delay: Pair = (0.0, 0.0),
        own_weight: Pair = (0.0, 0.02),
        own_delay: Pair = (0.0, 0.0),
        max_delay: float = 1000.0,
        dt: float | None = None,
    ) -> None:
        super().__init__()
        if inputs < 1 or outputs < 1:
            raise UserError(f"a layer needs inputs and outputs, got {inputs} and {outputs}")
        for name, (low, high) in {"delay": delay, "own_delay": own_delay}.items():
            if not 0.0 <= low <= high <= max_delay:
                raise UserError(f"{name} must be within 0 to {max_delay:g} ms, got {low} to {high}")
        self.inputs, self.outputs = inputs, outputs
        self.tau_m, self.tau_s, self.v_threshold = tau_m, tau_s, v_threshold
        self.max_delay, self.dt = max_delay, dt
        self.weight, self.delay = _synapses(outputs, inputs, weight, delay)
        self.own_weight, self.own_delay = (
            _synapses(outputs, outputs, own_weight, own_delay) if recurrent else (None, None)
        )

    def forward(self, spikes: Spikes) -> Spikes:
        """The layer's spikes in the same time; nothing is kept."""
        if spikes.size != self.inputs:
            raise UserError(f"input has {spikes.size} neurons, the layer takes {self.inputs}")
        self.clamp_delays()
        return cuba_lif(
            spikes,
            self.weight,
            self.delay,
            self.own_weight,
            self.own_delay,
            tau_m=self.tau_m,
            tau_s=self.tau_s,
            v_threshold=self.v_threshold,
            dt=self.dt,
        )

    @torch.no_grad()
    def clamp_delays(self) -> None:
        """Bring all delays into 0 to ``max_delay``; each call begins with it."""
        for delay in (self.delay, self.own_delay):
            if delay is not None:
                # .data: an earlier call of the same step may have kept the delays.
                delay.data.clamp_(0.0, self.max_delay)

    @torch.no_grad()
    def wake(self, counts: Tensor, amount: float = 0.002) -> int:
        """Add to all input weights of the neurons that were silent; how many these are.

        Args:
            counts: spikes of each neuron ``[outputs]``, such as the sum over an epoch.
            amount: the published one by default.
        """
        silent = counts == 0
        self.weight[silent] += amount
        return int(silent.sum())

    def extra_repr(self) -> str:
        """Sizes and how time passes."""
        kind = ", recurrent" if self.own_weight is not None else ""
        time = "exact" if self.dt is None else f"dt={self.dt:g} ms"
        return f"{self.inputs} -> {self.outputs}{kind}, max_delay={self.max_delay:g} ms, {time}"


def _synapses(
    outputs: int, inputs: int, weight: Pair, delay: Pair
) -> tuple[nn.Parameter, nn.Parameter]:
    mean, deviation = weight
    return (
        nn.Parameter(mean + deviation * torch.randn(outputs, inputs)),
        nn.Parameter(torch.empty(outputs, inputs).uniform_(*delay)),
    )

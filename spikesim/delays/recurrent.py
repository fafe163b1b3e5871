"""Neurons whose spikes come back to their layer after delays that learn."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spikesim.delays.functional import bumps
from spikesim.delays.layer import NARROW, Delayed, Kind
from spikesim.errors import UserError
from spikesim.kernels.delay_taps import Shape
from spikesim.neuron import Neuron
from spikesim.types import Named


class DelayedRecurrent(Delayed):
    r"""A layer of neurons whose output comes back through synapses with learned delays.

    .. math:: s_t = \mathrm{SN}\Big(x_t + \sum_{n=0}^{N} k[n]\, s_{t - 1 - n}\Big)

    with the kernel ``k`` of :mod:`spikesim.delays.functional`: a spike comes back a step later, and
    the delay later than that; without delays this is :class:`~spikesim.recurrent.Recurrent`. What
    is under way is a ring of ``max_delay + 1`` steps, so that a call costs memory and time in
    proportion to it.

    Args:
        neuron: with one input.
        features: neurons of the layer.
        max_delay: the largest delay beyond the first step, in the unit of ``dt``.
        delays: per ``"axon"``, which costs least, ``"dendrite"`` or ``"synapse"``.
        shape, width, dt: see :class:`~spikesim.delays.layer.Delayed`.
        learn_width: each delay's width is ``2 width sigmoid(spread)``, of which ``spread``, at
            first 0, learns.

    Attributes:
        weight: ``[features, features]``, to and from; orthogonal at first.

    Shape: ``[T, B, features]`` -> the same.

    Raises:
        UserError: the neuron has several inputs, an argument out of its range, or an input of
            another size.

    Reference: Queant et al. (2025), DelRec, arXiv 2509.24852. There a triangle is divided by
    ``(width + 1)**2`` and what of it would arrive before the next step is lost; here its weights
    always add up to 1, which is the same wherever a triangle of whole width lies inside.

    >>> from spikesim.neurons import IF
    >>> layer = DelayedRecurrent(IF(), 1, max_delay=3).eval()
    >>> _ = nn.init.ones_(layer.weight), nn.init.constant_(layer.delay, 1.0)
    >>> layer(torch.tensor([1.0, 0.0, 0.0, 0.0, 0.0]).view(5, 1, 1)).flatten().tolist()
    [1.0, 0.0, 1.0, 0.0, 1.0]
    """

    spread: nn.Parameter | None

    def __init__(
        self,
        neuron: Neuron,
        features: int,
        *,
        max_delay: float,
        delays: Kind = "axon",
        shape: Shape = "triangle",
        width: float = NARROW,
        learn_width: bool = False,
        dt: float = 1.0,
    ) -> None:
        if len(neuron.inputs) > 1:
            raise UserError(
                f"{type(neuron).__name__} takes the inputs {', '.join(neuron.inputs)}; a recurrent "
                "layer has one"
            )
        super().__init__(
            (features, features),
            max_delay=max_delay,
            delays=delays,
            shape=shape,
            width=width,
            dt=dt,
        )
        self.neuron, self.features = neuron, features
        spread = nn.Parameter(torch.zeros_like(self.delay)) if learn_width else None
        self.register_parameter("spread", spread)

    def reset_parameters(self) -> None:
        """Draw weights and delays anew."""
        super().reset_parameters()
        nn.init.orthogonal_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        """The whole sequence from the initial state; nothing is kept."""
        return self.run(x)[0]

    def run(
        self, x: Tensor, state: tuple[Named, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Named, Tensor]]:
        """Run ``[T, B, features]`` on from the neurons' state and the ring of what is under way.

        The ring is ``[max_delay + 1, B, features]``, what arrives next last: outputs, with delays
        per axon, otherwise what they bring.
        """
        self.check_input(x, x.dim() == 3 and x.shape[-1] == self.features, f"{self.features}")
        self.clamp_delays()
        g = bumps(
            self.delay_steps(),
            self.width if self.spread is None else 2.0 * self.width * self.spread.sigmoid(),
            max_delay=self.steps,
            shape=self.shape,
            rounded=self.rounded,
        )
        g = (self.weight[..., None] * g if self.delays == "synapse" else g).movedim(-1, 0)
        cells, ring = state if state is not None else (None, x.new_zeros(len(g), *x.shape[1:]))
        outputs = []
        for now in x.unbind(0):
            back = F.linear(ring[-1], self.weight) if self.delays == "axon" else ring[-1]
            output, cells = self.neuron.run((now + back)[None], cells)
            ring = F.pad(ring[:-1], (0, 0, 0, 0, 1, 0)) + self._sent(output[0], g)
            outputs.append(output[0])
        assert cells is not None
        return torch.stack(outputs), (cells, ring)

    def _sent(self, output: Tensor, g: Tensor) -> Tensor:
        """What one step puts into the ring, ``[D, B, features]``."""
        if self.delays == "synapse":
            return output @ g.mT  # [D, out, in]
        if self.delays == "axon":
            return output * g  # [D, 1, in]
        return F.linear(output, self.weight) * g.mT  # [D, out, 1]

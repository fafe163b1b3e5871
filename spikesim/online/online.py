"""Models that learn while they run: exact gradients through neurons, none through spikes back."""

from collections.abc import Collection
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from spikesim.errors import UserError
from spikesim.neurons.li import LI
from spikesim.online.cell import has_traces
from spikesim.online.eligibility import tied
from spikesim.online.layer import Layer, LayerState
from spikesim.online.parts import Part, parts

Rule: TypeAlias = Literal["eprop", "ottt"]
Feedback: TypeAlias = Literal["symmetric", "random", "adaptive"]


class Online(nn.Module):
    r"""A model whose weights learn by e-prop or OTTT, in memory that does not grow with time.

    .. math::
        \frac{dE}{dW_{ji}} = \sum_t L_j(t)\, e_{ji}(t), \qquad
        e_{ji}(t) = \frac{\partial s_j(t)}{\partial h_j(t)} \frac{dh_j(t)}{dW_{ji}}

    :math:`h_j` are the receiver's states; their derivative by the weight, through the receiver's
    own past and nothing else, is carried forward in time. :math:`L_j` is what the loss says of the
    receiver's spike in the same step, by the layers above; the way back through recurrent synapses
    is left out. Time is run in chunks of any length, with the same result: within one, states and
    gradients are those of fused kernels and a weight's gradient is one matrix product.

    ``rule="ottt"`` takes neurons whose states follow the input alone, by soft and detached resets
    (``IF``, ``LIF``, ``CUBALIF``, the readout ``LI``): all that a weight needs is the sender's
    trace :math:`\hat a_i`, as many numbers as senders, behind any affine map. ``rule="eprop"``
    takes all neurons, adaptive ones such as ``ALIF``, hard resets, refractoriness, with whatever
    part of their step is not detached; where no such trace exists, eligibilities are kept for each
    synapse and sample (``[B, N, S, M]`` for ``S`` states) behind ``nn.Linear``. It also learns
    through the leak :math:`\kappa` of a readout ``LI`` at the end: the eligibilities of the layer
    before it (with direct feedback: of all layers) are filtered; OTTT takes the same step alone.

    So the gradient is that of backpropagation through time (a) of a layer of neurons, with any loss
    on its output or that of a linear readout, with ``"eprop"`` of a leaky one too, (b) if it is
    recurrent, with spikes that come back detached, (c) of any model, for one step. Biases have
    traces as weights do; the published program of OTTT leaves these out.

    Args:
        model: a row (``nn.Sequential``, maybe nested) of affine maps, neurons and
            :class:`~spikesim.recurrent.Recurrent`; it keeps the weights, and is what is evaluated.
        rule: ``"eprop"`` or ``"ottt"``.
        feedback: how errors reach layers below: ``"symmetric"``, through the weights above, layer
            by layer; or from the output right to each layer, by fixed ``"random"`` weights or by
            ``"adaptive"`` ones, which begin as random and learn with the readout's gradient (with
            weight decay in the optimizer both become alike).
        x: an input ``[T, B, ...]`` to find the sizes of random feedback from.
        affine: types of modules that are affine in each step, beside those known.

    Attributes:
        feedback_weights: of each layer below the readout, ``[neurons, outputs]``.

    Raises:
        UserError: a module that cannot learn online, named; random feedback without ``x``.

    Reference: Bellec et al. (2020), *A solution to the learning dilemma for recurrent networks of
    spiking neurons*, Nat. Commun. 11:3625; Xiao et al. (2022), *Online training through time for
    spiking neural networks*, NeurIPS.

    >>> from spikesim.neurons import ALIF, LI
    >>> from spikesim.recurrent import Recurrent
    >>> layer = Recurrent(ALIF(detach_reset=True), nn.Linear(8, 8, bias=False))
    >>> model = nn.Sequential(nn.Linear(3, 8), layer, nn.Linear(8, 2), LI(20.0, leak="exact"))
    >>> online, state = Online(model), None
    >>> for chunk in torch.rand(100, 1, 3).split(25):
    ...     output, state = online.run(chunk, state)
    ...     output.square().sum().backward()  # adds to the gradients; an optimizer may step here
    >>> model[0].weight.grad.shape
    torch.Size([8, 3])
    """

    feedback_weights: nn.ParameterList

    def __init__(
        self,
        model: nn.Module,
        *,
        rule: Rule = "eprop",
        feedback: Feedback = "symmetric",
        x: Tensor | None = None,
        affine: Collection[type[nn.Module]] = (),
    ) -> None:
        super().__init__()
        for name, value, known in (("rule", rule, Rule), ("feedback", feedback, Feedback)):
            if value not in get_args(known):
                raise UserError(
                    f"{name} must be one of {', '.join(get_args(known))}, got {value!r}"
                )
        self.model, self.rule, self.feedback = model, rule, feedback
        self._layers, self._output = _layers(parts(model, affine), rule, feedback)
        self.feedback_weights = nn.ParameterList()
        if feedback != "symmetric":
            if x is None:
                raise UserError(f"feedback={feedback!r} needs an example input x to find sizes")
            self._draw_feedback(x)

    def _draw_feedback(self, x: Tensor) -> None:
        shown, output, _ = self._run(x[:1], None)
        outputs = output[0, 0].numel()
        for layer in shown:
            neurons = layer[0, 0].numel()
            weight = torch.randn(neurons, outputs, dtype=x.dtype, device=x.device) / neurons**0.5
            learns = self.feedback == "adaptive"
            self.feedback_weights.append(nn.Parameter(weight, requires_grad=learns))

    def run(
        self, x: Tensor, state: tuple[LayerState, ...] | None = None
    ) -> tuple[Tensor, tuple[LayerState, ...]]:
        """Run a chunk ``[K, B, ...]`` on from a state, or from the beginning.

        ``backward()`` of a loss that is a sum over the output's steps adds their share to the
        gradients. The output is the model's; the state holds eligibilities, and no graph.

        Raises:
            UserError: without gradients; the model itself answers then.
        """
        if not torch.is_grad_enabled():
            raise UserError("online learning needs gradients; without them, call the model itself")
        shown, output, after = self._run(x, state)
        for layer, weight in zip(shown, self.feedback_weights, strict=False):
            back = layer.flatten(2) @ weight
            output = tied(output, back.view(output.shape))
        return output, after

    def _run(
        self, x: Tensor, state: tuple[LayerState, ...] | None
    ) -> tuple[list[Tensor], Tensor, tuple[LayerState, ...]]:
        """What each layer below the output shows, the output, and the state after."""
        z, signal = x.detach(), None
        shown, after = [], []
        for n, layer in enumerate(self._layers):
            z, seen, own = layer.run(z, signal, None if state is None else state[n])
            shown.append(seen)
            after.append(own)
            signal = seen if self.feedback == "symmetric" else None
        if self._output is None:
            return shown[:-1], shown[-1], tuple(after)
        return shown, self._output(z if signal is None else signal), tuple(after)


def _layers(
    found: list[Part], rule: Rule, feedback: Feedback
) -> tuple[list[Layer], nn.Module | None]:
    """The layers with neurons, and the maps behind them."""
    output = found.pop().maps if found[-1].neuron is None else None
    last = found[-1].neuron
    leak = last if isinstance(last, LI) and rule == "eprop" and output is None else None
    if leak is not None and not isinstance(leak.tau, float):
        raise UserError(f"{found[-1].name}, LI, must have one tau for e-prop to learn through it")
    layers = []
    for n, part in enumerate(found):
        assert part.neuron is not None
        if rule == "ottt" and not has_traces(part.neuron):
            raise UserError(
                f"{part.name}, {type(part.neuron).__name__}, has no trace that says all of a "
                "weight, as OTTT needs: give it one time constant, v_reset=None and "
                "detach_reset=True (IF, LIF, CUBALIF, LI), or use rule='eprop'"
            )
        below = len(found) - 1 - n
        hears = below == 1 if feedback == "symmetric" else below > 0
        is_readout = leak is not None and feedback == "symmetric" and below == 0 and n > 0
        layers.append(Layer(part, part.neuron, leak if hears else None, is_readout))
    return layers, output

r"""Memory accesses, addressing and operations after Lemaire et al. (2022).

Each layer has its own memories; an access to a word of 32 bits costs what an SRAM of the memory's
size does, straight lines through 0, 8 KB, 32 KB and 1 MB. With :math:`\theta` input spikes,
:math:`S` synaptic operations, :math:`N` outputs and :math:`T` steps a layer of spikes costs

======================  ====================================  ==============================
part                    words or operations                   memory
======================  ====================================  ==============================
inputs                  :math:`\theta` read                   queue of 1000 words
weights, biases         :math:`S + TN` (with bias) read       all parameters
potentials              :math:`S` read, :math:`S` written     :math:`N` words
operations              :math:`S` additions, :math:`TN` of
                        biases
addressing              :math:`S` additions, :math:`2\theta`
                        products in a convolution
neurons                 :math:`TN` potentials read and        :math:`N` words
                        written, :math:`TN` products and
                        additions of the leak, an addition a
                        spike
outputs                 spikes written                        queue
======================  ====================================  ==============================

and one of real numbers, with :math:`M` products, reads :math:`M` inputs in a convolution, all
inputs once in a linear map, :math:`M` weights, writes its outputs, and adds an address for each
input and output.

The paper's text could not be read: equations are those of two programs that quote them by number,
SpikingJelly 2.0 (``op_counter``) and the SNN plugin of Qualia, from the authors' laboratory.
Differences: operations at borders of maps are counted exactly, and additions for the addresses of a
kernel's elements in a convolution of real numbers are left out.

Reference: E. Lemaire, L. Cordone, A. Castagnetti, P.-E. Novac, J. Courtois, B. Miramond (2022), An
analytical estimation of spiking neural networks energy efficiency, ICONIP, arXiv 2210.13107.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from spikesim.energy.layer import BINARY, Counts, LayerCounts, Widths
from spikesim.energy.model import Constant, EnergyModel, Term
from spikesim.energy.models import operations, source
from spikesim.errors import UserError

WORD = 32
"""Bits of an access."""

SIZES = ((8 * 1024, "sram_8k"), (32 * 1024, "sram_32k"), (1024 * 1024, "sram_1m"))

_WIDTHS = Widths()


@dataclass(frozen=True)
class Lemaire:
    """Accesses, addresses and operations.

    Args:
        constants: of operations and of accesses.
        widths: bits; ``weight`` of parameters, ``activation`` of inputs and outputs, ``state`` of
            potentials.
        queue: words that the input and output queues of spikes hold.
        leak: whether neurons leak.
    """

    constants: Mapping[str, Constant]
    widths: Widths
    queue: int
    leak: bool
    title: str
    name: str = "lemaire"

    def terms(self, layer: LayerCounts, run: Counts) -> list[Term]:
        """Accesses, addresses and operations of a layer."""
        if layer.kind == "neuron":
            terms = self._neurons(layer)
        elif layer.is_weighted:
            terms = self._spikes(layer) if layer.values == BINARY else self._numbers(layer)
        else:
            terms = []
        return [term for term in terms if term.count]

    def _spikes(self, layer: LayerCounts) -> list[Term]:
        widths = layer.widths(self.widths)
        done = layer.effective_acs
        biases = layer.outputs if layer.biases else 0.0
        places = 2.0 * layer.spikes if layer.kind in ("conv", "delay") else 0.0
        return [
            *operations.additions(done + biases, WORD),
            *operations.additions(done, WORD, "addressing"),
            *operations.multiplications(places, WORD, WORD, "addressing"),
            *self._access("activations", layer.spikes, self.queue, widths.activation),
            *self._parameters(layer, layer.weight_reads + biases, widths),
            *self._access("state", 2.0 * done, _elements(layer), widths.state),
        ]

    def _numbers(self, layer: LayerCounts) -> list[Term]:
        widths = layer.widths(self.widths)
        done = layer.effective_macs
        biases = layer.outputs if layer.biases else 0.0
        once = max(layer.passes, 1.0)
        read = done if layer.kind in ("conv", "delay") else layer.inputs
        return [
            *operations.products(
                done, 0.0, widths.weight, widths.activation, accumulator=WORD, is_float=False
            ),
            *operations.additions(biases, WORD),
            *operations.additions(layer.inputs + layer.outputs, WORD, "addressing"),
            *self._access("activations", read, layer.inputs / once, widths.activation),
            *self._access("activations", layer.outputs, layer.outputs / once, widths.activation),
            *self._parameters(layer, layer.weight_reads + biases, widths),
        ]

    def _neurons(self, layer: LayerCounts) -> list[Term]:
        width = self.widths.state
        leaking = layer.updates if self.leak else 0.0
        moved = layer.updates if layer.state_reads else 0.0
        return [
            *operations.additions(layer.spikes + leaking, WORD, "neurons"),
            *operations.multiplications(leaking, WORD, WORD, "neurons"),
            *self._access("state", 2.0 * moved, _elements(layer), width),
            *self._access("activations", layer.spikes, self.queue, self.widths.activation),
        ]

    def _parameters(self, layer: LayerCounts, reads: float, widths: Widths) -> list[Term]:
        return self._access("weights", reads, layer.weights + layer.biases, widths.weight)

    def _access(self, part: str, values: float, held: float, bits: int) -> list[Term]:
        """Accesses to a memory that holds ``held`` values: the line between two known sizes."""
        words = values * bits / WORD
        size = min(held * bits / 8, SIZES[-1][0])
        below, under = 0, ""
        for limit, constant in SIZES:
            if size <= limit:
                share = (size - below) / (limit - below)
                terms = [Term(part, constant, words * share)]
                return [*terms, Term(part, under, words * (1.0 - share))] if under else terms
            below, under = limit, constant
        raise AssertionError("a memory larger than the largest")

    def for_ann(self, weight_bits: int, activation_bits: int) -> EnergyModel:
        """The same memories with other widths."""
        widths = replace(self.widths, weight=weight_bits, activation=activation_bits)
        return replace(self, widths=widths)


def lemaire(widths: Widths = _WIDTHS, *, queue: int = 1000, leak: bool = True) -> Lemaire:
    """The model of Lemaire et al.; the settings are those of :class:`Lemaire`.

    Raises:
        UserError: a queue of no words.
    """
    if not queue >= 1:
        raise UserError(f"queue must hold >= 1 words, got {queue}")
    known = source.read("lemaire")
    integers = source.read("operations").constants
    names = ("add_8", "add_32", "multiply_8", "multiply_32")
    constants = {**{name: integers[name] for name in names}, **known.constants}
    return Lemaire(constants, widths, queue, leak, known.title)


def _elements(layer: LayerCounts) -> float:
    """Outputs of one step."""
    return layer.outputs / max(layer.passes, 1.0)

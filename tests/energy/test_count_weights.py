"""Weights that are not just a parameter: quantised, masked, sliced, tied, copied maps."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import snntorch
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spikesim.compression import fold, prune, quantize
from spikesim.energy import count
from spikesim.neurons import IF
from spikesim.recurrent import Recurrent


def recurrent() -> nn.Module:
    model = nn.Sequential(nn.Linear(6, 8), Recurrent(IF(0.3), nn.Linear(8, 8)), nn.Linear(8, 3))
    nn.init.uniform_(model[0].weight, 0, 0.5)
    return model


def recurrent_of_snntorch() -> nn.Module:
    cells = snntorch.RLeaky(0.9, linear_features=8, init_hidden=True)
    model = nn.Sequential(nn.Linear(6, 8), cells)
    nn.init.uniform_(model[0].weight, 0, 0.9)
    return model


@pytest.mark.parametrize("make", [recurrent, recurrent_of_snntorch])
@pytest.mark.parametrize(
    "change", [lambda m: prune(m, 0.5, scope="layer"), lambda m: quantize(m, 3)]
)
def test_a_compressed_recurrent_layer_counts_as_it_does_folded(
    make: Callable[[], nn.Module], change: Callable[[nn.Module], nn.Module]
) -> None:
    torch.manual_seed(0)
    model, x = change(make()), (torch.rand(5, 2, 6) < 0.5).float()

    def forward(model: nn.Module, x: Tensor) -> Any:
        return model(x) if make is recurrent else [model(step) for step in x]

    lines = [
        [
            (one.kind, one.weights, one.operations, one.weight_reads, one.weight_bits)
            for one in found
        ]
        for found in (count(model, x, forward=forward), count(fold(model), x, forward=forward))
    ]
    assert lines[0] == lines[1]
    assert any(kind == "recurrent" and reads > 0 for kind, _, _, reads, _ in lines[0])


def test_a_quantised_weight_that_another_module_reads_has_its_width() -> None:
    model = quantize(nn.MultiheadAttention(8, 2), 2)
    counts = count(model, torch.rand(3, 2, 8), forward=lambda m, x: m(x, x, x))
    bits = {one.name: one.weight_bits for one in counts if one.weights or one.note}
    assert bits == {"in_proj_weight": None, "out_proj.weight": 2}


def test_slices_of_a_parameter_are_all_its_weights() -> None:
    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.ones(4, 6, 5))
            self.w.data[:3] = 0

        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([x @ self.w[h] for h in range(4)], -1)

    counts = count(Heads(), torch.ones(3, 2, 6))
    assert (counts.layers[0].weights, counts.connection_sparsity) == (120, 0.75)


def test_masked_weights_are_those_of_their_layers() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(6, 6, bias=False) for _ in range(4))
            self.register_buffer("mask", torch.eye(6))

        def forward(self, x: Tensor) -> Tensor:
            for layer in self.layers:
                x = F.linear(x, layer.weight * self.mask)
            return x

    counts = count(Masked(), torch.ones(3, 2, 6))
    assert [(one.weights, one.nonzero_weights, one.note) for one in counts] == [(36, 6, "")] * 4


def test_footprint_of_tied_and_of_pruned_weights() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 6)
            self.b.weight = self.a.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.a(x))  # type: ignore[no-any-return]

    x = torch.ones(2, 2, 6)
    assert count(Tied(), x).footprint == 4 * (36 + 12)
    assert count(quantize(Tied(), 4), x).footprint == 36 / 2 + 4 * (12 + 2)  # a scale for each
    model = nn.Sequential(nn.Linear(6, 100), nn.Linear(100, 6))
    plain = count(model, x).footprint
    assert count(prune(copy.deepcopy(model), 0.9), x).footprint == plain
    quantised = count(quantize(copy.deepcopy(model), 4), x).footprint
    assert count(prune(quantize(model, 4), 0.9), x).footprint == quantised == 600 + 4 * (106 + 2)


@pytest.mark.parametrize("bits", [4, None])
def test_weight_bits_of_something_else(bits: int | None) -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight_bits, self.fc = bits, nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(x)  # type: ignore[no-any-return]

    counts = count(Block(), torch.ones(3, 2, 4))
    assert (counts.layers[0].weight_bits, counts.footprint) == (None, 80)


def test_folding_a_copy_leaves_the_model_as_it_was() -> None:
    model = prune(quantize(nn.Sequential(nn.Linear(4, 4)), 4), 0.5)
    x = torch.rand(2, 4)
    before = model(x)
    folded = fold(copy.deepcopy(model))
    assert torch.equal(folded(x), before)
    assert torch.equal(model(x), before)
    assert type(folded[0]) is nn.Linear
    model(x).sum().backward()
    fold(model)
    assert torch.equal(model(x), before)


@pytest.mark.parametrize(
    "copied",
    [
        lambda x: x.contiguous(memory_format=torch.channels_last),
        lambda x: x.double().float(),
        lambda x: x.clone(),
    ],
)
def test_a_copy_of_a_padded_map_is_padded(copied: Callable[[Tensor], Tensor]) -> None:
    model = nn.Sequential(nn.ZeroPad2d(1), nn.Conv2d(2, 2, 3))
    counts = count(
        model, torch.ones(2, 2, 5, 5), layout="B", forward=lambda m, x: m[1](copied(m[0](x)))
    )
    (conv,) = (one for one in counts if one.macs)
    assert (conv.macs, conv.rate) == (4 * 13**2, 1.0)

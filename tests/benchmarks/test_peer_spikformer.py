"""The Spikformer that the training step is compared with is ours: the same values and gradients."""

from pathlib import Path

import pytest
import torch

from spikesim import models
from spikesim.models.spikformer import SpikformerSizes

pytestmark = pytest.mark.peers
WHY = "needs SpikingJelly 2.0: see requirements-peers.txt"
FOLDER = Path(__file__).parents[2] / "benchmarks"


def test_peer_spikformer_equals_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("spikingjelly.activation_based", reason=WHY)
    monkeypatch.syspath_prepend(str(FOLDER))
    import spikformer_spikingjelly as peer

    sizes = SpikformerSizes(dim=16, depth=2, heads=2, pooling="0011")
    ours = models.create(
        "spikformer", num_classes=5, steps=3, image_size=16, dim=16, depth=2, heads=2,
        pooling="0011",
    )  # fmt: skip
    with torch.no_grad():
        for module in ours.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.uniform_(0.8, 2.5)
                module.bias.uniform_(-0.2, 0.8)
    theirs = peer.Spikformer(sizes, channels=2, classes=5)
    peer.copy_weights(ours, theirs)
    assert sum(p.numel() for p in theirs.parameters()) == sum(p.numel() for p in ours.parameters())
    ours.double(), theirs.double()
    x = torch.poisson(torch.full((3, 2, 2, 16, 16), 0.7)).double()
    mine, other = ours(x), theirs(x)
    assert mine.std() > 1e-3, "a dead network proves nothing"
    torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-9)
    mine.square().sum().backward(), other.square().sum().backward()
    for path in ("stem.0.0", "head"):
        grads = [
            next(module.get_submodule(path).parameters()).grad
            if path != "head"
            else next(module.head.parameters()).grad
            for module in (ours, theirs)
        ]
        torch.testing.assert_close(grads[0], grads[1], rtol=1e-6, atol=1e-9)
    theirs.forget()
    torch.testing.assert_close(theirs(x), other, rtol=0, atol=0)

"""Which code runs a layer with delays, and that it does not matter where delays are whole."""

import pytest
import torch
from torch import nn

from spikesim.backend import set_backend
from spikesim.delays import DelayedLinear
from spikesim.errors import BackendError
from spikesim.kernels import delay as kernels


@pytest.mark.parametrize("kind", ["synapse", "axon", "dendrite"])
def test_backends_agree_where_delays_are_whole(kind: str) -> None:
    layer = DelayedLinear(6, 4, max_delay=40, delays=kind).eval()  # type: ignore[arg-type]
    x = (torch.rand(60, 3, 6) < 0.2).float()
    found = [set_backend(layer, name)(x) for name in ("auto", "numba", "torch")]
    torch.testing.assert_close(found[0], found[2])
    torch.testing.assert_close(found[1], found[2])


def test_training_leaves_out_a_thousandth_of_a_bump() -> None:
    layer = DelayedLinear(6, 4, max_delay=40)
    x = (torch.rand(60, 3, 6) < 0.2).float()
    fused, whole = (set_backend(layer, name)(x) for name in ("numba", "torch"))
    assert 0 < float((fused - whole).detach().abs().max()) < 3e-3
    assert not torch.equal(fused, whole)


def test_layer_takes_the_backend_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float | None] = []

    def spy(x: torch.Tensor, weight: torch.Tensor, *_: object, **how: object) -> torch.Tensor:
        asked.append(how["widest"])  # type: ignore[arg-type]
        return x.new_zeros(*x.shape[:2], len(weight))

    monkeypatch.setattr(kernels, "delayed", spy)
    layer = DelayedLinear(3, 2, max_delay=4, width=1.5)
    x = torch.randn(5, 1, 3)
    assert set_backend(nn.Sequential(layer), "torch")(x).any()
    assert not asked
    set_backend(layer, "auto")(x)
    layer.width.fill_(0.5)
    layer(x)
    layer.load_state_dict(layer.state_dict() | {"width": torch.tensor(2.5)})
    layer(x)
    assert asked == [1.5, 0.5, 2.5]
    assert "backend=auto" in str(layer)
    with pytest.raises(BackendError, match="cpu"):
        set_backend(layer, "cupy")(x)

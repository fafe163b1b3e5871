"""What holds for every encoder of static values: shape, dtype, range, no change of the input."""

import dataclasses
import pickle

import pytest
import torch

from spikesim.encoders import (
    Burst,
    Delta,
    Direct,
    Encoder,
    Latency,
    Markov,
    Phase,
    Population,
    Rate,
)
from spikesim.errors import UserError

STEPS = 12
ENCODERS = [
    Rate(STEPS),
    Rate(STEPS, law="poisson"),
    Rate(STEPS, law="counts"),
    Markov(STEPS, 0.5),
    Latency(STEPS),
    Latency(STEPS, form="rc", threshold=0.1),
    Phase(STEPS),
    Burst(STEPS),
    Population(STEPS),
    Direct(STEPS),
]
each = pytest.mark.parametrize("encoder", ENCODERS, ids=repr)
ranged = pytest.mark.parametrize("encoder", ENCODERS[:-1], ids=repr)


@each
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(3,), (2, 5), (2, 1, 4, 3), (0, 3)])
def test_shape_dtype_and_input_are_kept(
    encoder: Encoder, dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    x = torch.rand(shape).to(dtype)
    before = x.clone()
    spikes = encoder(x)
    last = (encoder.neurons,) if isinstance(encoder, Population) else ()
    assert spikes.shape == (STEPS, *shape, *last)
    assert spikes.dtype == dtype
    assert torch.equal(x, before)


@ranged
def test_spikes_are_whole_numbers_and_zero_is_the_weakest(encoder: Encoder) -> None:
    spikes = encoder(torch.linspace(0, 1, 101))
    if getattr(encoder, "law", "") != "counts":
        assert set(spikes.unique().tolist()) <= {0.0, 1.0}
    assert torch.equal(spikes, spikes.round())
    if not isinstance(encoder, Population):
        assert spikes[:, 0].sum() == 0


@ranged
@pytest.mark.parametrize("bad", [-0.01, 1.01, float("nan"), float("inf")])
def test_values_out_of_range_are_refused(encoder: Encoder, bad: float) -> None:
    with pytest.raises(UserError, match=r"x must lie in \[0, 1\], got values from"):
        encoder(torch.tensor([0.5, bad]))


@each
def test_integers_and_missing_batch_axis_are_refused(encoder: Encoder) -> None:
    with pytest.raises(UserError, match=r"must be floating point, got torch.uint8; .* / 255"):
        encoder(torch.zeros(3, dtype=torch.uint8))
    with pytest.raises(UserError, match="add a batch axis"):
        encoder(torch.tensor(0.5))


@each
@pytest.mark.parametrize("steps", [0, -1, 2.5])
def test_steps_below_one_are_refused(encoder: Encoder, steps: int) -> None:
    with pytest.raises(UserError, match="steps must be a whole number >= 1"):
        dataclasses.replace(encoder, steps=steps)


@pytest.mark.parametrize("encoder", [*ENCODERS, Delta(0.1)], ids=repr)
def test_encoders_are_values(encoder: Encoder | Delta) -> None:
    assert pickle.loads(pickle.dumps(encoder)) == encoder
    assert eval(repr(encoder)) == encoder


@pytest.mark.parametrize("encoder", ENCODERS[4:], ids=repr)  # those that draw nothing
def test_samples_do_not_influence_each_other(encoder: Encoder) -> None:
    x = torch.rand(4, 3)
    assert torch.equal(encoder(x)[:, 1:2], encoder(x[1:2]))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@each
def test_same_on_cuda(encoder: Encoder) -> None:
    x = torch.rand(4, 3)
    spikes = encoder(x.cuda())
    assert spikes.is_cuda
    if not isinstance(encoder, Rate | Markov):
        assert torch.equal(spikes.cpu(), encoder(x))
    else:
        again = [encoder(x.cuda(), torch.Generator(device="cuda").manual_seed(1)) for _ in range(2)]
        assert torch.equal(*again)

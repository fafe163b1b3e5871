"""Both spiking transformers: invariants of the papers."""

import copy

import pytest
import torch
from torch import Tensor, nn

from spikesim import models
from spikesim.layers import TimeDistributed
from spikesim.models.sdt import SDTBlock, SDTSizes, SpikeDrivenAttention
from spikesim.models.spikformer import SpikformerBlock, SpikformerSizes
from spikesim.neuron import Neuron
from spikesim.neurons import LIF

NAMES = ["sdt", "spikformer"]


def build(name: str, **more: object) -> models.SpikingModel:
    settings = {
        "num_classes": 3,
        "steps": 4,
        "image_size": (16, 12),
        "dim": 32,
        "depth": 2,
        "heads": 4,
        "pooling": "0011",
    }
    return models.create(name, **settings | more)  # type: ignore[arg-type]


def events(*shape: int) -> Tensor:
    return torch.poisson(torch.full(shape, 0.5))


X = (4, 3, 2, 16, 12)


@pytest.mark.parametrize("dvs_mode", [False, True])
@pytest.mark.parametrize("pooling", ["0011", "1111", "0000"])
@pytest.mark.parametrize("training", [False, True])
def test_sdt_convolutions_see_spikes_only(dvs_mode: bool, pooling: str, training: bool) -> None:
    model = build("sdt", dvs_mode=dvs_mode, pooling=pooling, threshold=0.5).train(training)
    checked = models.assert_binary(model, events(*X))
    maps = [n for n, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert set(checked) == set(maps) - {"stem.stages.0.0"}


def test_binary_check_finds_the_sums_of_spikformer() -> None:
    with pytest.raises(AssertionError, match=r"blocks\.0"):
        models.assert_binary(build("spikformer", threshold=0.25), events(*X))


def test_binary_check_leaves_no_hook() -> None:
    model = build("sdt")
    models.assert_binary(model, events(*X))
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_spikformer_activations_are_small_whole_numbers() -> None:
    model = build("spikformer", threshold=0.25, depth=3)
    seen: list[Tensor] = []
    model.blocks.register_forward_hook(lambda module, inputs, output: seen.append(output))
    model(events(*X))
    assert torch.equal(seen[0], seen[0].round())
    assert 2 < seen[0].max() <= 2 + 2 * 3
    assert seen[0].min() >= 0


def test_head_count_does_not_change_sdt() -> None:
    for dvs_mode in (False, True):
        one, many = (build("sdt", heads=heads, dvs_mode=dvs_mode).eval() for heads in (1, 16))
        many.load_state_dict(one.state_dict())
        x = events(*X) * 3
        assert torch.equal(one(x), many(x))


@pytest.mark.parametrize("name", NAMES)
def test_block_without_position_follows_a_permutation(name: str) -> None:
    block: nn.Module
    if name == "sdt":
        block = SDTBlock(SDTSizes(16, 1, 4), (3, 4))
    else:
        block = SpikformerBlock(SpikformerSizes(16, 1, 4))
    x = torch.randint(0, 3, (4, 2, 16, 3, 4)).double()
    block.double().eval()
    order = torch.randperm(12)
    permuted = block(x.flatten(3)[..., order].view(x.shape))
    torch.testing.assert_close(permuted.flatten(3), block(x).flatten(3)[..., order])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("neuron", ["lif", "plif"])
def test_gradient_reaches_every_parameter(name: str, neuron: str) -> None:
    model = build(name, neuron=neuron, threshold=0.5, surrogate="atan")
    loss = nn.functional.cross_entropy(model(events(*X)).mean(0), torch.tensor([0, 1, 2]))
    loss.backward()
    # Batch norm removes the mean, so the biases just before it (published all the same) have
    # gradient 0 but for rounding.
    idle = {f"{key}.0.bias" for key, m in model.named_modules() if isinstance(m, TimeDistributed)}
    idle.discard("head.0.bias")
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert key in idle or parameter.grad.abs().sum() > 1e-6, key


@pytest.mark.parametrize("name", [*NAMES, "spiking_vgg", "sew_resnet"])
def test_zero_input_answers_with_the_bias_of_the_head(name: str) -> None:
    model = models.create(name, preset="tiny", num_classes=4, steps=5).eval()
    with torch.no_grad():
        model.head[0].bias.copy_(torch.arange(4.0))
    rates: list[Tensor] = []
    for module in model.modules():
        if isinstance(module, Neuron):
            module.register_forward_hook(lambda m, i, output: rates.append(output.max()))
    out = model(torch.zeros(5, 2, 2, 34, 34))
    assert torch.equal(out, torch.arange(4.0).expand(5, 2, 4))
    assert max(rates) == 0


@pytest.mark.parametrize("name", NAMES)
def test_zero_input_fires_where_the_norm_has_a_bias(name: str) -> None:
    model = build(name).eval()
    norm = next(module for module in model.modules() if isinstance(module, nn.BatchNorm2d))
    neuron = next(module for module in model.modules() if isinstance(module, Neuron))
    with torch.no_grad():
        norm.bias[1] = 1.5
    seen: list[Tensor] = []
    neuron.register_forward_hook(lambda module, inputs, output: seen.append(output))
    model(torch.zeros(X))
    fired = seen[0].amax((1, 3, 4))  # [T, C]
    expected = torch.zeros(4, 4)
    expected[1::2, 1] = 1  # 0.75, 1.125, 0.75, 1.125
    assert torch.equal(fired, expected)


@pytest.mark.parametrize("name", models.names())
def test_samples_do_not_meet_in_evaluation(name: str) -> None:
    model = models.create(name, preset="tiny", num_classes=4, steps=5).double().eval()
    x = events(5, 3, 2, 34, 34).double() * 4
    together = model(x)
    apart = torch.cat([model(x[:, i : i + 1]) for i in range(3)], 1)
    torch.testing.assert_close(together, apart)
    assert torch.equal(model(x), together), "a call must leave no state behind"


@pytest.mark.parametrize("name", models.names())
def test_later_steps_do_not_reach_earlier_ones(name: str) -> None:
    model = models.create(name, preset="tiny", num_classes=4, steps=5).eval()
    x = events(5, 2, 2, 34, 34) * 4
    changed = x.clone()
    changed[3:] = 7
    assert torch.equal(model(x)[:3], model(changed)[:3])


@pytest.mark.parametrize("name", models.names())
def test_copy_and_state_dict_carry_everything(name: str) -> None:
    model = models.create(name, preset="tiny", num_classes=4, steps=5, neuron="plif")
    x = events(5, 2, 2, 34, 34)
    model(x)  # moves the batch statistics
    model.eval()
    twin = models.create(name, preset="tiny", num_classes=4, steps=5, neuron="plif").eval()
    twin.load_state_dict(model.state_dict())
    expected = model(x)
    assert torch.equal(twin(x), expected)
    assert torch.equal(copy.deepcopy(model)(x), expected)


@pytest.mark.parametrize("name", models.names())
def test_tiny_learns_a_fixed_batch(name: str) -> None:
    model = models.create(name, preset="tiny", num_classes=4, steps=5)
    x, y = events(5, 4, 2, 34, 34), torch.arange(4)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    losses = []
    for _ in range(8):
        loss = nn.functional.cross_entropy(model(x).mean(0), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_bfloat16_autocast_keeps_the_shape_and_is_finite() -> None:
    for name in NAMES:
        with torch.autocast("cpu", torch.bfloat16):
            out = build(name)(events(*X))
        assert out.shape == (4, 3, 3)
        assert torch.isfinite(out).all()


def test_dvs_mode_takes_the_four_published_maxima() -> None:
    """Yao et al. (2023), released code: of K, V, K * V and Q * g; heads do not matter here."""
    attention = SpikeDrivenAttention(SDTSizes(16, 1, 4, dvs_mode=True), (6, 7)).double().eval()
    attention.product.neuron = LIF(v_threshold=8.0)
    for norm in attention.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_var.fill_(0.01)  # for some spikes
    x = torch.randn(4, 2, 16, 6, 7, dtype=torch.float64) + 0.5

    def widest(x: Tensor) -> Tensor:
        return nn.functional.max_pool2d(x.flatten(0, 1), 3, 1, 1).view_as(x)

    q, k, v = (made[:2](attention.neuron(x)) for made in (attention.q, attention.k, attention.v))
    gate = LIF(v_threshold=8.0)(widest(widest(k) * widest(v)).sum((-2, -1), keepdim=True))
    expected = widest(q * gate)
    assert 0.1 < gate.mean() < 0.9
    assert expected.mean() < 0.9
    torch.testing.assert_close(attention(x), attention.project(expected))


@pytest.mark.parametrize("name", NAMES)
def test_weights_begin_as_in_the_released_code(name: str) -> None:
    for module in build(name, dim=64).modules():
        if isinstance(module, nn.Conv2d | nn.Linear) and module.weight.numel() > 4000:
            assert module.weight.std().item() == pytest.approx(0.02, rel=0.1)
            assert module.bias is None or not module.bias.any()


def test_inner_residual_appears_at_ratio_one_only() -> None:
    for ratio, expected in ((1.0, True), (2.0, False)):
        block = SDTBlock(SDTSizes(16, 1, 4, mlp_ratio=ratio), (2, 2))
        assert block.inner_residual is expected
    x = torch.randn(2, 2, 16, 2, 2) * 3
    block = SDTBlock(SDTSizes(16, 1, 4, mlp_ratio=1.0), (2, 2)).eval()
    after = x + block.attention(x)
    middle = after + block.expand(after)
    torch.testing.assert_close(block(x), middle + block.contract(middle))

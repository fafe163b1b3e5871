"""Building by name, and what a wrong input says."""

import pytest
import torch

from spikesim import models
from spikesim.backend import set_backend
from spikesim.encoders import Direct
from spikesim.errors import UserError
from spikesim.neurons import LIF


def small(name: str = "sdt", **more: object) -> models.SpikingModel:
    sizes = {"dim": 16, "depth": 1, "heads": 2} if name in ("sdt", "spikformer") else {}
    settings = {"num_classes": 3, "steps": 4, "image_size": 16} | sizes | more
    return models.create(name, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "wish"),
    [
        ({"name": "sdtt"}, "did you mean 'sdt'"),
        ({"preset": "cifar10dv"}, "did you mean 'cifar10dvs'"),
        ({"dims": 32}, "did you mean 'dim'"),
        ({"dim": 20}, "multiple of 8"),
        ({"dim": 24, "heads": 5}, "try heads=4"),
        ({"depth": 0}, "depth must be >= 1"),
        ({"mlp_ratio": 0}, "mlp_ratio"),
        ({"pooling": "011"}, "four marks"),
        ({"pooling": 11}, "four marks"),
        ({"neuron": "liff"}, "did you mean 'lif'"),
        ({"surrogate": "atn"}, "did you mean 'atan'"),
        ({"threshold": 0.0}, "threshold must be > 0"),
        ({"steps": 0}, "steps must be >= 1"),
        ({"steps": "abc"}, "steps must be >= 1 and whole, got 'abc'"),
        ({"num_classes": 2.5}, "num_classes must be >= 1 and whole, got 2.5"),
        ({"image_size": 16.5}, "image_size"),
        ({"image_size": (8, 8, 2)}, "image_size"),
        ({"image_size": 0}, "image_size"),
        ({"name": "spikformer", "scale": 0.0}, "scale must be > 0"),
        ({"name": "spiking_vgg", "layers": "64-X"}, "layer 2 of '64-X' is 'X'"),
        ({"name": "spiking_vgg", "layers": "64-fc8-M"}, "layer 3"),
        ({"name": "spiking_vgg", "layers": "8-M-M-M-M-M"}, "too often"),
        ({"name": "sew_resnet", "connect": "nand"}, "did you mean 'and'"),
        ({"name": "sew_resnet", "blocks": "2-0"}, "blocks must be counts"),
    ],
)
def test_mistake_names_value_and_cure(arguments: dict[str, object], wish: str) -> None:
    name = str(arguments.pop("name", "sdt"))
    with pytest.raises(UserError, match=wish) as caught:
        small(name, **arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("shape", "wish"),
    [
        ((4, 2, 3, 16, 16), "in_channels=3"),
        ((4, 2, 2, 16, 18), r"image_size=\(16, 18\)"),
        ((2, 4, 2, 16, 16), r"looks like \[B, T, ...\]: use x.transpose\(0, 1\)"),
        ((5, 3, 2, 16, 16), "steps=5"),
        ((2, 2, 16, 16), r"spikesim.encoders.Direct\(4\)\(x\)"),
        ((4, 2, 16), r"takes \[T=4, B, 2, 16, 16\]"),
    ],
)
def test_wrong_shape_names_cure(shape: tuple[int, ...], wish: str) -> None:
    with pytest.raises(UserError, match=wish):
        small()(torch.zeros(shape))


@pytest.mark.parametrize("name", models.names())
def test_every_model_maps_non_square_input(name: str) -> None:
    model = models.create(name, num_classes=7, steps=3, preset="tiny", image_size=(33, 20))
    assert model(torch.rand(3, 2, 2, 33, 20)).shape == (3, 2, 7)
    assert (model.steps, model.num_classes, model.input_shape) == (3, 7, (2, 33, 20))


@pytest.mark.parametrize("name", ["sdt", "spikformer"])
@pytest.mark.parametrize("size", [(1, 1), (5, 64), (17, 16)])
def test_any_image_size_builds(name: str, size: tuple[int, int]) -> None:
    assert small(name, image_size=size, pooling="1111")(torch.rand(4, 2, 2, *size)).shape == (
        4,
        2,
        3,
    )


def test_cure_for_images_works() -> None:
    assert small()(Direct(4)(torch.rand(2, 2, 16, 16))).shape == (4, 2, 3)


@pytest.mark.parametrize(
    ("given", "wish"),
    [
        ({"dim": "wide"}, "dim must be a whole number, got 'wide'"),
        ({"dim": 32.5}, r"dim must be a whole number, got 32\.5"),
        ({"mlp_ratio": None}, "mlp_ratio must be a number, got None"),
        ({"dvs_mode": 1}, "dvs_mode must be true or false, got 1"),
        ({"pooling": [1, 1]}, "pooling must be a text"),
    ],
)
def test_a_size_of_another_type_is_named(given: dict[str, object], wish: str) -> None:
    with pytest.raises(UserError, match=wish):
        small(**given)  # type: ignore[arg-type]


def test_a_number_serves_as_text_and_a_whole_float_as_number() -> None:
    assert small(pooling=1111, dim=32.0)(torch.rand(4, 1, 2, 16, 16)).shape == (4, 1, 3)


def test_preset_gives_task_unless_told() -> None:
    preset = models.create("sdt", num_classes=10, steps=4, preset="cifar10", dim=32, depth=1)
    assert preset.input_shape == (3, 32, 32)
    other = models.create(
        "sdt", num_classes=10, steps=4, preset="cifar10", dim=32, in_channels=1, image_size=[28, 30]
    )
    assert other.input_shape == (1, 28, 30)


@pytest.mark.parametrize("neuron", ["lif", "lif_soft", "plif", "if", "alif", "cuba_lif", "ilif"])
def test_neuron_is_swappable_by_name(neuron: str) -> None:
    model = small(neuron=neuron, surrogate="atan", threshold=0.5)
    set_backend(model, "torch")  # there is nothing to compile
    out = model(torch.rand(4, 2, 2, 16, 16) * 3)
    out.sum().backward()
    assert torch.isfinite(out).all()


def test_neuron_is_swappable_by_factory() -> None:
    asked: list[float] = []

    def factory(v_threshold: float) -> LIF:
        asked.append(v_threshold)
        return LIF(tau=3.0, v_threshold=v_threshold)

    model = small(neuron=factory)
    found = [module for module in model.modules() if isinstance(module, LIF)]
    assert len(found) == len(asked) == 4 + 7 + 1
    assert all(module.tau == 3.0 for module in found)
    assert sorted(asked)[:2] == [0.5, 1.0]


def test_published_neuron_is_default() -> None:
    found = [module for module in small("spikformer").modules() if isinstance(module, LIF)]
    assert sorted(module.v_threshold for module in found) == [0.5] + [1.0] * 11
    for module in found:
        assert (module.tau, module.v_reset, module.decay_input) == (2.0, 0.0, True)
        assert module.detach_reset
        assert module.surrogate.alpha == 4.0

"""Parameter counts: published numbers, closed forms, and figures of other libraries."""

import pytest

from spikesim import models

# Counts of the released code, less what it never uses (Zhou et al. 2023; Yao et al. 2023).
SPIKFORMER = {
    "cifar10-4-256": 4_155_178,
    "cifar10-2-384": 5_765_050,
    "cifar10": 9_324_730,
    "cifar100": 9_359_380,
    "cifar10dvs": 2_566_666,
    "dvsgesture": 2_567_051 - 2 * 64,
    "imagenet-8-384": 16_816_024,
    "imagenet-6-512": 23_373_352,
    "imagenet-8-512": 29_689_384,
    "imagenet-10-512": 36_005_416,
    "imagenet-8-768": 66_338_632,
}
# As shipped, and the blocks: each holds 8 x 8 weights between heads that are never used.
SDT_SHIPPED = {
    "cifar10": (10_233_546, 2),
    "cifar100": (10_279_716, 2),
    "cifar10dvs": (2_566_794, 2),
    "dvsgesture": (2_567_051, 2),
    "imagenet-8-384": (16_816_536, 8),
    "imagenet-6-512": (23_373_736, 6),
    "imagenet-8-512": (29_689_896, 8),
    "imagenet-10-512": (36_006_056, 10),
    "imagenet-8-768": (66_339_144, 8),
}
# ResNet-18 and -34 as in torchvision; VGG-11 and -16 for CIFAR with batch norm, less the biases
# that batch norm makes idle (9,231,114 - 2,752 and 14,728,266 - 4,224).
OTHERS = {
    ("sew_resnet", "sew18"): 11_689_512,
    ("sew_resnet", "sew34"): 21_797_672,
    ("spiking_vgg", "vgg11"): 9_228_362,
    ("spiking_vgg", "vgg16"): 14_724_042,
}


@pytest.mark.parametrize(("preset", "count"), SPIKFORMER.items())
def test_spikformer_count_is_published(preset: str, count: int) -> None:
    assert models.info("spikformer").parameters(preset) == count


@pytest.mark.parametrize(("preset", "shipped"), SDT_SHIPPED.items())
def test_sdt_count_is_published_less_dead(preset: str, shipped: tuple[int, int]) -> None:
    count, blocks = shipped
    assert models.info("sdt").parameters(preset) == count - blocks * 64


@pytest.mark.parametrize(
    ("preset", "pooling", "scale"),
    [
        ("cifar10", "0011", 0.125),
        ("cifar100", "0011", 0.125),
        ("cifar10dvs", "1111", 0.25),
        ("dvsgesture", "1111", 0.25),
        ("imagenet-8-512", "1111", 0.125),
    ],
)
def test_spikformer_pools_and_scales_as_published(preset: str, pooling: str, scale: float) -> None:
    sizes = models.info("spikformer").presets[preset].sizes
    assert (sizes.pooling, sizes.scale) == (pooling, scale)


@pytest.mark.parametrize(
    ("preset", "pooling", "dvs_mode"),
    [
        ("cifar10", "0011", False),
        ("cifar100", "0011", False),
        ("cifar10dvs", "0011", True),
        ("dvsgesture", "0111", False),
        ("imagenet-8-768", "1111", False),
    ],
)
def test_sdt_pools_as_published(preset: str, pooling: str, dvs_mode: bool) -> None:
    sizes = models.info("sdt").presets[preset].sizes
    assert (sizes.pooling, sizes.dvs_mode) == (pooling, dvs_mode)


@pytest.mark.parametrize(("key", "count"), OTHERS.items())
def test_other_counts_are_known(key: tuple[str, str], count: int) -> None:
    assert models.info(key[0]).parameters(key[1]) == count


@pytest.mark.parametrize("name", ["sdt", "spikformer"])
@pytest.mark.parametrize(("dim", "depth", "channels", "classes"), [(32, 1, 1, 3), (80, 3, 4, 7)])
def test_count_follows_closed_form(
    name: str, dim: int, depth: int, channels: int, classes: int
) -> None:
    sizes = {"dim": dim, "depth": depth, "heads": 4, "pooling": "1111"}
    model = models.create(
        name, num_classes=classes, steps=2, in_channels=channels, image_size=16, **sizes
    )
    stem = 9 * (channels * dim // 8 + 53 * dim**2 // 32)
    norms = 2 * (dim // 8 + dim // 4 + dim // 2 + 2 * dim)
    block = 12 * dim**2 + 24 * dim
    expected = stem + norms + depth * block + (dim + 1) * classes
    assert sum(p.numel() for p in model.parameters()) == expected


def test_linear_variant_adds_three_biases_a_block() -> None:
    counts = [
        sum(
            p.numel()
            for p in models.create(
                "spikformer", num_classes=2, steps=1, dim=16, depth=3, heads=2, qkv_bias=bias
            ).parameters()
        )
        for bias in (False, True)
    ]
    assert counts[1] - counts[0] == 3 * 3 * 16


@pytest.mark.parametrize("name", models.names())
def test_info_counts_what_create_builds(name: str) -> None:
    task = models.info(name).presets["tiny"].task
    built = models.create(name, preset="tiny", num_classes=task.num_classes, steps=task.steps)
    assert sum(p.numel() for p in built.parameters()) == models.info(name).parameters("tiny")
    assert built.input_shape == (task.in_channels, *task.image_size)

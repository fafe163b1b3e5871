"""The published sizes, and a tiny one of each model for two CPU cores."""

from typing import Any

from spikesim.models.base import Model, Preset, Task
from spikesim.models.delay_mlp import DelayMLP, DelayMLPSizes
from spikesim.models.sdt import SDT, SDTSizes
from spikesim.models.sew_resnet import SEWResNet, SEWResNetSizes
from spikesim.models.spikformer import Spikformer, SpikformerSizes
from spikesim.models.vgg import SpikingVGG, VGGSizes

ZHOU = "Zhou et al. (2023), Spikformer, ICLR"
YAO = "Yao et al. (2023), Spike-driven Transformer, NeurIPS"
DENG = "Deng et al. (2022), Temporal efficient training, ICLR"
FANG = "Fang et al. (2021), Deep residual learning in SNNs, NeurIPS"
SIMONYAN = "Simonyan and Zisserman (2015), Very deep convolutional networks, ICLR"
RATHI = "after Rathi and Roy (2021), DIET-SNN, with narrower linear layers"
KIM = "after Kim and Panda (2021), Batch normalization through time"
HAMMOUAMRI = "Hammouamri et al. (2024), Learning delays in SNNs using DCLS, ICLR"
OURS = "for two CPU cores; not published"

NMNIST = Task(10, 5, 2, (34, 34))
CIFAR10 = Task(10, 4, 3, (32, 32))
CIFAR100 = Task(100, 4, 3, (32, 32))
IMAGENET = Task(1000, 4, 3, (224, 224))
CIFAR10DVS = Task(10, 16, 2, (128, 128))
GESTURE = Task(11, 16, 2, (128, 128))
SHD = Task(20, 100, 1, (1, 140))
SSC = Task(35, 100, 1, (1, 140))
GSC = Task(35, 101, 1, (1, 140))

IMAGENET_SIZES = ((8, 384, 6), (6, 512, 8), (8, 512, 8), (10, 512, 8), (8, 768, 12))
"""Blocks, channels, heads of the ImageNet models, for both transformers."""

LIVELY: dict[str, Any] = {"threshold": 0.5, "surrogate": "atan"}
"""The tiny transformers: few channels and few batches learn faster from more spikes."""

VGG11 = "64-M-128-M-256-256-M-512-512-M-512-512-M"
VGG16 = "64-64-M-128-128-M-256-256-256-M-512-512-512-M-512-512-512-M"


def _speech(layers: int, bumps: int) -> DelayMLPSizes:
    hidden = "-".join(["512"] * layers)
    return DelayMLPSizes(
        hidden=hidden, max_delay=30, bumps=bumps, lengthen=True, dropout=0.25, tau=1.5
    )


def _cifar_spikformer(depth: int, dim: int, heads: int) -> SpikformerSizes:
    return SpikformerSizes(dim, depth, heads, pooling="0011", scale=0.125, qkv_bias=True)


MODELS = (
    Model(
        "spikformer",
        Spikformer,
        SpikformerSizes,
        {
            "tiny": Preset(SpikformerSizes(80, 2, 5, pooling="1110", **LIVELY), NMNIST, OURS),
            "cifar10dvs": Preset(SpikformerSizes(), CIFAR10DVS, ZHOU),
            "dvsgesture": Preset(SpikformerSizes(), GESTURE, ZHOU),
            "cifar10": Preset(_cifar_spikformer(4, 384, 12), CIFAR10, ZHOU),
            "cifar100": Preset(_cifar_spikformer(4, 384, 12), CIFAR100, ZHOU),
            "cifar10-4-256": Preset(_cifar_spikformer(4, 256, 8), CIFAR10, ZHOU),
            "cifar10-2-384": Preset(_cifar_spikformer(2, 384, 12), CIFAR10, ZHOU),
        }
        | {
            f"imagenet-{depth}-{dim}": Preset(
                SpikformerSizes(dim, depth, heads, scale=0.125), IMAGENET, ZHOU
            )
            for depth, dim, heads in IMAGENET_SIZES
        },
        ZHOU,
    ),
    Model(
        "sdt",
        SDT,
        SDTSizes,
        {
            "tiny": Preset(SDTSizes(96, 2, 8, pooling="0111", **LIVELY), NMNIST, OURS),
            "cifar10dvs": Preset(
                SDTSizes(pooling="0011", dvs_mode=True), Task(10, 16, 2, (64, 64)), YAO
            ),
            "dvsgesture": Preset(SDTSizes(), GESTURE, YAO),
            "cifar10": Preset(SDTSizes(512, pooling="0011"), CIFAR10, YAO),
            "cifar100": Preset(SDTSizes(512, pooling="0011"), CIFAR100, YAO),
        }
        | {
            f"imagenet-{depth}-{dim}": Preset(
                SDTSizes(dim, depth, heads, pooling="1111"), IMAGENET, YAO
            )
            for depth, dim, heads in IMAGENET_SIZES
        },
        YAO,
    ),
    Model(
        "spiking_vgg",
        SpikingVGG,
        VGGSizes,
        {
            "tiny": Preset(VGGSizes("16-M-32-M-64-M-128-M-fc128"), NMNIST, OURS),
            "vgg5": Preset(VGGSizes("64-A-128-128-A-fc1024-fc1024"), CIFAR10, RATHI),
            "vgg9": Preset(VGGSizes("64-64-A-128-128-A-256-256-256-A-fc1024"), CIFAR10, KIM),
            "vgg11": Preset(VGGSizes(VGG11), CIFAR10, SIMONYAN),
            "vgg16": Preset(VGGSizes(VGG16), CIFAR10, SIMONYAN),
            "vggsnn": Preset(
                VGGSizes("64-128-A-256-256-A-512-512-A-512-512-A"), Task(10, 10, 2, (48, 48)), DENG
            ),
        },
        SIMONYAN,
    ),
    Model(
        "sew_resnet",
        SEWResNet,
        SEWResNetSizes,
        {
            "tiny": Preset(SEWResNetSizes("1-1-1", 24), NMNIST, OURS),
            "sew18": Preset(SEWResNetSizes(), IMAGENET, FANG),
            "sew34": Preset(SEWResNetSizes("3-4-6-3"), IMAGENET, FANG),
        },
        FANG,
    ),
    Model(
        "delay_mlp",
        DelayMLP,
        DelayMLPSizes,
        {
            "tiny": Preset(DelayMLPSizes(hidden="32-32", max_delay=4, dropout=0.0), NMNIST, OURS),
            "shd": Preset(DelayMLPSizes(lengthen=True), SHD, HAMMOUAMRI),
        }
        | {
            f"{name}-{layers}l-{bumps}kc": Preset(_speech(layers, bumps), task, HAMMOUAMRI)
            for name, task in (("ssc", SSC), ("gsc", GSC))
            for layers, bumps in ((2, 1), (2, 2), (3, 1), (3, 2))
        },
        HAMMOUAMRI,
    ),
)
"""Every model that can be built by name."""

"""Training speed and memory of the CIFAR10-DVS spike-driven transformer on synthetic events.

    python benchmarks/model_h200.py --out benchmarks/results/model_h200.json
    python benchmarks/model_h200.py --device cpu --smoke

The full model (2 blocks, 256 channels, 64 x 64 pixels), T = 16, B = 16, one training step: forward,
cross-entropy, backward, AdamW; nothing compiled. Times are medians of single steps after warm-up,
by CUDA events. Prints JSON; ``--out`` writes it too.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from spikesim import models
from spikesim.train.loss import CrossEntropy


@dataclass(frozen=True)
class Setting:
    """What is measured."""

    steps: int = 16
    batch: int = 16
    size: int = 64
    warmup: int = 10
    repeats: int = 40
    dtype: str = "bfloat16"
    channels_last: bool = False


SMOKE = Setting(steps=2, batch=2, size=16, warmup=1, repeats=3)


def synthetic_events(setting: Setting, device: torch.device) -> tuple[Tensor, Tensor]:
    """Event counts ``[T, B, 2, H, W]`` around one moving spot a recording, and labels ``[B]``."""
    generator = torch.Generator().manual_seed(0)
    start, drift = (
        torch.rand(setting.batch, 2, generator=generator) * scale - shift
        for scale, shift in ((setting.size, 0.0), (2.0, 1.0))
    )
    centre = start + drift * torch.arange(setting.steps).view(-1, 1, 1)  # [T, B, 2]
    axis = torch.arange(setting.size).float()
    gap = (axis - centre.unsqueeze(-1) % setting.size) / (setting.size / 8)  # [T, B, 2, size]
    spot = torch.exp(-(gap[:, :, :1, :, None] ** 2) - gap[:, :, 1:, None, :] ** 2)
    rate = (0.05 + 2.0 * spot).expand(-1, -1, 2, -1, -1)
    labels = torch.randint(0, 10, (setting.batch,), generator=generator)
    return torch.poisson(rate, generator).to(device), labels.to(device)


def time_steps(step: Callable[[], None], setting: Setting, device: torch.device) -> list[float]:
    """Milliseconds of each repeat."""
    for _ in range(setting.warmup):
        step()
    if device.type == "cuda":
        marks = [torch.cuda.Event(enable_timing=True) for _ in range(setting.repeats + 1)]
        marks[0].record()
        for mark in marks[1:]:
            step()
            mark.record()
        torch.cuda.synchronize()
        return [a.elapsed_time(b) for a, b in pairwise(marks)]
    times = []
    for _ in range(setting.repeats):
        start = time.perf_counter()
        step()
        times.append(1e3 * (time.perf_counter() - start))
    return times


def measure(setting: Setting, device: torch.device) -> dict[str, object]:
    """Step time, samples a second, peak memory and firing rate of one setting."""
    torch.manual_seed(0)
    model = models.create(
        "sdt", preset="cifar10dvs", num_classes=10, steps=setting.steps, image_size=setting.size
    ).to(device)
    if setting.channels_last:
        model = model.to(memory_format=torch.channels_last)
    x, labels = synthetic_events(setting, device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    loss_of, dtype = CrossEntropy(label_smoothing=0.1), getattr(torch, setting.dtype)

    def forward() -> Tensor:
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            logits: Tensor = model(x)
        return logits

    def train() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss_of(forward(), labels).backward()
        optimizer.step()

    @torch.no_grad()
    def infer() -> None:
        forward()

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    training = time_steps(train, setting, device)
    peak = torch.cuda.max_memory_allocated() / 2**20 if device.type == "cuda" else None
    rates = firing_rates(model, forward)
    loss_after = float(loss_of(forward(), labels).detach())
    model.eval()
    inference = time_steps(infer, setting, device)
    return {
        "setting": asdict(setting),
        "train_step_ms": summary(training),
        "train_samples_per_s": 1e3 * setting.batch / statistics.median(training),
        "inference_ms": summary(inference),
        "inference_samples_per_s": 1e3 * setting.batch / statistics.median(inference),
        "peak_memory_mib": peak,
        "loss_after": loss_after,
        "mean_firing_rate": statistics.mean(rates),
    }


@torch.no_grad()
def firing_rates(model: nn.Module, forward: Callable[[], Tensor]) -> list[float]:
    """Spikes per neuron and step of each spiking layer."""
    from spikesim.neuron import Neuron

    rates: list[float] = []
    hooks = [
        module.register_forward_hook(
            lambda m, i, output: rates.append(float(output.float().mean()))
        )
        for module in model.modules()
        if isinstance(module, Neuron)
    ]
    forward()
    for hook in hooks:
        hook.remove()
    return rates


def summary(times: list[float]) -> dict[str, float]:
    """Median and spread, in ms."""
    return {"median": statistics.median(times), "min": min(times), "max": max(times)}


def machine(device: torch.device) -> dict[str, object]:
    """Where and with what it ran."""
    name = platform.processor() or platform.machine()
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    return {
        "device": name,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if device.type == "cuda" else None,
        "threads": torch.get_num_threads(),
        "tf32": torch.backends.cuda.matmul.allow_tf32,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, to see that it runs")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.error("no CUDA device here; use --device cpu --smoke to see that it runs")
    if options.smoke:
        settings = [SMOKE]
    else:
        settings = [
            Setting(),
            Setting(channels_last=True),
            Setting(dtype="float32"),
            Setting(batch=64),
        ]
    task = models.info("sdt").presets["cifar10dvs"]
    result = {
        "benchmark": "sdt cifar10dvs training step, eager",
        "machine": machine(device),
        "model": asdict(task.sizes) | {"parameters": models.info("sdt").parameters("cifar10dvs")},
        "runs": [measure(setting, device) for setting in settings],
    }
    text = json.dumps(result, indent=2)
    print(text)
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()

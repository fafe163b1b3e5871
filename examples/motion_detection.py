"""Twelve directions at three speeds, told by synapses of all delays from the events of a scene.

Clouds of natural statistics move at a velocity that changes every 24 ms on average; an event camera
sees them. A layer of 36 neurons, the same at each place, has a weight for each place of its
neighbourhood and each delay. They are learned as 36 logistic regressions of the motion that there
is; then evidence is averaged over the frame. Last, the smallest weights are taken away, or the
longest delays, and operations counted.

    python examples/motion_detection.py [--seed 0] [--picture motion_detection.png]

The defaults are small. The published sizes, for a GPU (natural images excepted, see the docs):

    python examples/motion_detection.py --device cuda --delays 21 --kernel 17 --size 128
        --steps 200 --movies 1024 --tests 200 --epochs 100 --batch 1 --rate 1e-5 --last-rate 1e-5
        --stride 1 --exponent 0

Reference: A. Grimaldi and L. U. Perrinet (2023), *Learning heterogeneous delays in a layer of
spiking neurons for fast motion detection*, Biol. Cybern. They told 91 % of 36 motions; pruned to
652 of 436,968 synapses, the layer was half as good.
"""

import argparse
import time
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikesim.datasets.synthetic_motion import Cloud, Gaze, moving_clouds
from spikesim.motion import (
    MotionDetector,
    fit,
    half_saturation,
    mean_evidence,
    operations,
    pruned,
    scatter,
    shortened,
)

KEPT = (1.0, 0.3, 0.1, 0.05, 0.03, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0003)

OTHER = {
    "clouds of 0.05 to 0.2 cycles per pixel": Cloud(exponent=0.0, frequency=0.1, bandwidth=0.35),
    "clouds across 45 degrees, spread 30": Cloud(exponent=0.5, orientation=45.0, spread=30.0),
    "clouds whose speeds deviate by 0.1": Cloud(exponent=0.5, speed_bandwidth=0.1),
}


@dataclass(frozen=True)
class Movies:
    """Events ``[T, N, P, H, W]`` and the motion at each step ``[T, N]``."""

    x: Tensor
    labels: Tensor


def movies(count: int, size: int, steps: int, seed: int, cloud: Cloud, threshold: float) -> Movies:
    """Of clouds; other seeds give other ones."""
    x, labels = moving_clouds(count, size, steps, cloud=cloud, threshold=threshold, seed=seed)
    return Movies(torch.from_numpy(x), torch.from_numpy(labels))


def accuracy(
    detector: MotionDetector, known: Movies, test: Movies, stride: tuple[int, int, int]
) -> tuple[float, float]:
    """Share of steps told by the largest mean evidence, and by the largest standardised one.

    The latter takes off each class's mean over known movies and divides by its deviation; one
    without synapses has none.
    """
    labels = test.labels[detector.weight.shape[2] - 1 :: stride[0]]
    evidence = mean_evidence(detector, test.x, stride=stride)
    before = mean_evidence(detector, known.x, stride=stride)
    standard = (evidence - before.mean((0, 1))) / before.std((0, 1)).clamp(min=1e-3)
    plain, standardised = (
        (e.argmax(2) == labels).float().mean().item() for e in (evidence, standard)
    )
    return plain, standardised


def with_weights(
    detector: MotionDetector, weights: list[Tensor], known: Movies, test: Movies
) -> list[float]:
    """Standardised accuracy with each of these weights in turn, on a coarse grid."""
    learned, found = detector.weight.detach().clone(), []
    for weight in weights:
        detector.weight.data = weight
        found.append(accuracy(detector, known, test, stride=(5, 6, 6))[1])
    detector.weight.data = learned
    return found


def draw(
    path: str, weight: NDArray[np.float32], curve: tuple[list[int], list[float]], chance: float
) -> None:
    """ON minus OFF weights of six neurons across delay and place, and the pruning curve."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 4, figsize=(12, 6), layout="constrained")
    third = len(weight) // 3
    for axis, k in zip(axes[:, :3].flat, (0, third, 2 * third, 6, third + 6, 2 * third + 6),
                       strict=True):  # fmt: skip
        plane = weight[k, 1, :, weight.shape[3] // 2] - weight[k, 0, :, weight.shape[3] // 2]
        largest = np.abs(plane).max()
        axis.imshow(plane, cmap="PuOr", vmin=-largest, vmax=largest, aspect="auto")
        axis.set(title=f"class {k}", xlabel="x (px)", ylabel="delay (ms)")
    axes[0, 3].semilogx(*curve, "o-")
    axes[0, 3].axhline(chance, color="gray", linestyle=":")
    axes[0, 3].set(xlabel="synapses kept", ylabel="accuracy", title="pruned")
    sizes = np.sort(np.abs(weight[weight != 0]))[::-1]
    axes[1, 3].loglog(1 + np.arange(len(sizes)), sizes)
    axes[1, 3].set(xlabel="rank", ylabel="|weight|")
    figure.savefig(path, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in (("seed", 0), ("movies", 384), ("tests", 10), ("size", 48), ("steps", 100),
                        ("delays", 11), ("kernel", 9), ("epochs", 16), ("batch", 2),
                        ("stride", 6)):  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--rate", type=float, default=1e-2, help="of Adam, at first")
    parser.add_argument("--last-rate", type=float, default=3e-4)
    parser.add_argument(
        "--exponent", type=float, default=0.5, help="amplitude falls as f^-exponent"
    )
    parser.add_argument("--threshold", type=float, default=1.0, help="of an event, deviations")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--picture", default="motion_detection.png")
    o = parser.parse_args()

    cloud, gaze = Cloud(exponent=o.exponent), Gaze()
    train = movies(o.movies, o.size, o.steps, 2 * o.seed, cloud, o.threshold)
    test = movies(o.tests, 128, 200, 2 * o.seed + 1, cloud, o.threshold)
    known = movies(o.tests, 128, 200, 2 * o.seed + 10**6, cloud, o.threshold)  # to standardise
    print(f"{gaze.classes} motions; {1e3 * float(train.x.float().mean()):.1f} events per second, "
          "pixel and polarity")  # fmt: skip
    generator = torch.Generator().manual_seed(o.seed)
    detector = MotionDetector(gaze.classes, o.delays, o.kernel, scale=0.03, generator=generator)
    detector.to(o.device)
    start = time.perf_counter()
    fit(detector, train.x, train.labels, epochs=o.epochs, batch=o.batch, lr=o.rate,
        last_lr=o.last_rate, stride=(o.stride,) * 3, seed=o.seed,
        tell=lambda epoch, loss: print(f"epoch {epoch + 1}: loss {loss:.4f}"))  # fmt: skip
    print(f"learned in {time.perf_counter() - start:.0f} s")
    plain, standardised = accuracy(detector, known, test, stride=(3, 4, 4))
    print(f"told: {plain:.1%} of steps by mean evidence, {standardised:.1%} standardised; "
          f"published 91 %, chance {1 / gaze.classes:.1%}")  # fmt: skip
    for name, other in OTHER.items():
        novel = movies(5, 128, 100, 2 * o.seed + 1, other, o.threshold)
        plain, standardised = accuracy(detector, known, novel, stride=(4, 5, 5))
        print(f"{name}: {plain:.1%} by mean evidence, {standardised:.1%} standardised")

    weight = (detector.weight * detector.mask).detach()
    synapses = int((weight != 0).sum())
    kept = [max(1, round(share * synapses)) for share in KEPT]
    sparse = [pruned(weight, n) for n in kept]
    told = with_weights(detector, sparse, known, test)
    few = test.x[:60, :1, :, :48, :48].float()
    dense = operations(few, weight)
    for n, share, some in zip(kept, told, sparse, strict=True):
        print(f"{n:>7} synapses kept: {share:.1%}, {dense / max(1, operations(few, some)):.0f} x "
              "fewer operations")  # fmt: skip
    half = half_saturation(kept[::-1], told[::-1], 1 / gaze.classes)
    if half is not None:
        print(f"half of it with {half:.0f} synapses, {half / synapses:.2%} of all; published 652 "
              "of 436,968, 0.15 %")  # fmt: skip
    lengths = range(1, o.delays + 1, 2)
    short = with_weights(detector, [shortened(weight, d) for d in lengths], known, test)
    print("shortest delays only: " + ", ".join(
        f"{d}: {share:.1%}" for d, share in zip(lengths, short, strict=True)))  # fmt: skip

    some = pruned(weight, kept[3])
    _, additions = scatter(few, some)
    print(f"events times synapses: {operations(few, some)}, additions counted: {additions}")
    detector.cpu()
    evidence = detector(few).detach()
    spikes = detector.spikes(evidence, detector.threshold(evidence))
    print(f"output: {1e3 * float(spikes.mean()):.2f} spikes per second and neuron, wanted 1")
    draw(o.picture, weight.cpu().numpy(), (kept, told), 1 / gaze.classes)
    print(f"picture: {o.picture}")


if __name__ == "__main__":
    main()

"""A synthetic event camera looks at moving patterns, and four directions are told apart.

First, one pixel against the camera's equation (Lichtsteiner, Posch and Delbruck, 2008, figure 2):
a ramp of log intensity gives one event per threshold. Then pictures of what the camera sends for
bars, a grating, a natural texture and an image on three saccades (Orchard et al., 2015, who
recorded N-MNIST so). Last, textures that move right, down, left or up are told apart from events
alone, by the shift that best maps one count frame onto the next.

    python examples/event_camera.py
"""

import argparse
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spikesim.datasets.synthetic import EventCamera, Pattern, labelled
from spikesim.datasets.synthetic_patterns import (
    Bars,
    Grating,
    MovingImage,
    Texture,
    directions,
    saccades,
)

CAMERA = EventCamera(
    width=64, height=64, threshold_sigma=0.03, refractory_us=500.0, background_hz=0.5
)
DURATION_US = 300_000.0
SHIFTS = ((1, 0), (0, 1), (-1, 0), (0, -1))  # right, down, left, up: the classes in order


def ramp_counts(depth: float) -> tuple[int, int]:
    """Events of one pixel whose log intensity rises by ``depth``, and the number expected."""
    pixel = EventCamera(width=1, height=1, threshold_on=0.2, dark=0.0)
    events = pixel.convert(np.exp([[[0.0]], [[depth]]]), [0, 100_000])
    return len(events), int(depth / 0.2)


def count_frames(events: NDArray[np.void], bins: int) -> NDArray[np.float64]:
    """ON minus OFF events in equal time windows, ``[bins, H, W]``."""
    frames = np.zeros((bins, CAMERA.height, CAMERA.width))
    window = (events["t"] * bins // (DURATION_US + 1)).astype(int)
    np.add.at(frames, (window, events["y"], events["x"]), np.where(events["p"], 1.0, -1.0))
    return frames


def direction(events: NDArray[np.void]) -> int:
    """Which one-pixel shift best maps the frames onto their successors."""
    frames = count_frames(events, bins=40)
    match = [
        (frames[:-1] * np.roll(frames[1:], (-dy, -dx), axis=(1, 2))).sum() for dx, dy in SHIFTS
    ]
    return int(np.argmax(match))


def ring() -> NDArray[np.float64]:
    """A digit nought, bright on dark, ``[40, 40]``."""
    y, x = np.mgrid[0:40, 0:40]
    return np.where(np.abs(np.hypot(1.4 * (x - 20), y - 20) - 14) < 3, 0.9, 0.05)


def picture(patterns: dict[str, Pattern], path: Path) -> None:
    """Each pattern at 50 ms, and its events in the 10 ms around it: red ON, blue OFF."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    y, x = np.mgrid[0 : CAMERA.height, 0 : CAMERA.width].astype(float)
    figure, axes = plt.subplots(2, len(patterns), figsize=(3 * len(patterns), 6))
    for (above, below), (name, pattern) in zip(axes.T, patterns.items(), strict=True):
        CAMERA.record(pattern, 1000.0)  # compiles the kernel before the clock starts
        start = time.perf_counter()
        events = CAMERA.record(pattern, DURATION_US)
        seconds = time.perf_counter() - start
        rate = len(events) / DURATION_US * 1e3
        print(f"{name:<10}{len(events):>9} events{rate:>9.1f} per ms{seconds:>8.2f} s to make")
        above.imshow(pattern(x, y, 50_000.0), cmap="gray", vmin=0)
        above.set_title(name)
        near = events[np.abs(events["t"] - 50_000) < 5_000]
        below.imshow(count_frames(near, 1)[0], cmap="bwr", vmin=-3, vmax=3)
        above.axis("off")
        below.axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=40, help="recordings to tell apart, >= 1")
    parser.add_argument("--out", type=Path, default=Path("event_camera.png"))
    arguments = parser.parse_args()

    for depth in (0.5, 1.3, 4.7):
        events, expected = ramp_counts(depth)
        print(f"ramp of {depth} log units, threshold 0.2: {events} events, {expected} expected")
    picture(
        {
            "bars": Bars(angle=30, speed=200.0),
            "grating": Grating(angle=60, speed=200.0, wavelength=24.0),
            "texture": Texture(angle=0, speed=100.0),
            "saccades": MovingImage(ring(), saccades(amplitude=10.0, duration_us=DURATION_US)),
        },
        arguments.out,
    )
    recordings = labelled(
        directions(4, speed=133.0), arguments.samples, CAMERA, DURATION_US, step_us=2000.0
    )
    right = sum(direction(events) == label for events, label in recordings)
    print(f"four directions of motion: {right} of {len(recordings)} told from events alone")
    print(f"picture: {arguments.out}")


if __name__ == "__main__":
    main()

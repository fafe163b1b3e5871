r"""Clouds of random phase that change their velocity, as an event camera's frames and labels.

x is to the right and y down; angles are degrees, 0 to the right and 90 down. Velocities are in
pixels per step, a step is 1 ms.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from spikesim.errors import UserError

Array: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Cloud:
    r"""Random-phase texture ("Motion Cloud") of given bands, moved along a path.

    The amplitude of spatial frequency :math:`(f, \varphi)`, polar, is

    .. math::
        f^{-\alpha} \exp\Big(-\frac{\ln^2(f / f_0)}{2 B_f^2}\Big)
        \exp\Big(\frac{\cos 2(\varphi - \varphi_0)}{4 B_\varphi^2}\Big),

    its phase is random, and the whole has mean 0 and variance 1. It is moved by turning phases, so
    by any part of a pixel, and is periodic. With a speed bandwidth each frequency drifts at a speed
    of its own beside the common motion, normal with mean 0 and deviation :math:`B_v`.

    Args:
        exponent: :math:`\alpha`; 1 is a natural scene, 0 a whitened one.
        frequency: :math:`f_0`, cycles per pixel; ``None``: all frequencies.
        bandwidth: :math:`B_f`, natural log units, > 0.
        orientation: :math:`\varphi_0`, degrees, across the stripes; ``None``: all orientations.
        spread: :math:`B_\varphi`, degrees, > 0; the deviation where it is narrow.
        speed_bandwidth: :math:`B_v`, pixels per step, >= 0.

    Raises:
        UserError: a parameter out of its range.

    Reference: Leon, Vanzetta, Masson and Perrinet (2012), *Motion clouds: model-based stimulus
    synthesis of natural-like random textures*; theirs has a band of temporal frequencies for each
    spatial one, ours draws one of them.
    """

    exponent: float = 1.0
    frequency: float | None = None
    bandwidth: float = 0.5
    orientation: float | None = None
    spread: float = 15.0
    speed_bandwidth: float = 0.0

    def __post_init__(self) -> None:
        if self.frequency is not None and not 0 < self.frequency <= 0.5:
            raise UserError(f"frequency must lie in (0, 0.5] per pixel, got {self.frequency}")
        for name in ("bandwidth", "spread"):
            if not getattr(self, name) > 0:
                raise UserError(f"{name} must be > 0, got {getattr(self, name)}")
        if not self.speed_bandwidth >= 0:
            raise UserError(f"speed_bandwidth must be >= 0, got {self.speed_bandwidth}")

    def amplitude(self, size: int) -> Array:
        """Of each spatial frequency, ``[size, size // 2 + 1]``; 0 for the mean and for Nyquist's.

        The latter has no phase that could be turned by half a pixel.
        """
        fy, fx = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :]
        f = np.hypot(fx, fy)
        f[0, 0] = 1.0
        amplitude: Array = f**-self.exponent
        if self.frequency is not None:
            amplitude *= np.exp(-0.5 * (np.log(f / self.frequency) / self.bandwidth) ** 2)
        if self.orientation is not None:
            angle = np.arctan2(fy, fx) - np.deg2rad(self.orientation)
            # against the peak, so that a narrow band does not pass the largest float
            amplitude *= np.exp((np.cos(2 * angle) - 1) / (2 * np.deg2rad(self.spread)) ** 2)
        amplitude[0, 0] = 0.0
        amplitude[(np.abs(fy) == 0.5) | (fx == 0.5)] = 0.0
        return amplitude

    def movie(self, path: Array, size: int, rng: np.random.Generator) -> Array:
        """Frames ``[T, size, size]`` of one texture displaced by ``path [T, 2]``, (x, y) in px."""
        spectrum = np.fft.rfft2(rng.normal(size=(size, size))) * self.amplitude(size)
        fy, fx = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :]
        drift = self.speed_bandwidth * np.hypot(fx, fy) * rng.normal(size=spectrum.shape)
        turns = fx * path[:, 0, None, None] + fy * path[:, 1, None, None]
        turns = turns + drift * np.arange(len(path))[:, None, None]
        frames: Array = np.fft.irfft2(spectrum * np.exp(-2j * np.pi * turns), s=(size, size))
        normal: Array = frames / frames[0].std()
        return normal


@dataclass(frozen=True)
class Gaze:
    """Motion at constant velocities, one after the other, each one of the classes.

    Class ``k`` is direction ``k % directions`` at ``speeds[k // directions]``.

    Args:
        directions: equally spaced, the first to the right.
        speeds: pixels per step. The default ratio of 2 below the published unit of 1 px/ms is ours.
        mean_steps: of the Poisson law that segment lengths follow; none is shorter than a step.

    Raises:
        UserError: a parameter out of its range.
    """

    directions: int = 12
    speeds: tuple[float, ...] = (0.25, 0.5, 1.0)
    mean_steps: float = 24.0

    def __post_init__(self) -> None:
        if self.directions < 1 or not self.speeds or not min(self.speeds) > 0:
            raise UserError(
                f"directions must be >= 1 and speeds > 0, got {self.directions} and {self.speeds}"
            )
        if not self.mean_steps > 0:
            raise UserError(f"mean_steps must be > 0, got {self.mean_steps}")

    @property
    def classes(self) -> int:
        """Their number."""
        return self.directions * len(self.speeds)

    def velocities(self) -> Array:
        """``[classes, 2]``, (x, y) in pixels per step."""
        angle = 2 * np.pi * np.arange(self.directions) / self.directions
        unit = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        velocities: Array = np.concatenate([speed * unit for speed in self.speeds])
        return velocities

    def labels(self, steps: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """The class at each step ``[steps]``."""
        labels: list[int] = []
        while len(labels) < steps:
            length = max(1, int(rng.poisson(self.mean_steps)))
            labels += [int(rng.integers(self.classes))] * length
        return np.array(labels[:steps])

    def path(self, labels: NDArray[np.int64]) -> Array:
        """Where the scene is at each step and before the first, ``[steps + 1, 2]`` px."""
        way: Array = np.cumsum(self.velocities()[labels], axis=0)
        return np.concatenate([np.zeros((1, 2)), way])


def residual_events(frames: Array, threshold: float) -> tuple[NDArray[np.bool_], Array]:
    r"""Events of a residual image: what changed and was not told yet.

    Each step adds the difference of two frames to R, and where :math:`|R| > \theta` sends one event
    of R's sign and takes :math:`\theta` off. A larger jump is told over several steps. Unlike
    :class:`~spikesim.datasets.synthetic.EventCamera`, values are linear, and steps are all the time
    there is.

    Args:
        frames: values ``[T + 1, H, W]`` of any sign.
        threshold: :math:`\theta`, their unit, > 0.

    Returns:
        Events ``[T, 2, H, W]``, OFF and ON as in the frames of data sets, and R at last ``[H, W]``:
        last frame - first = :math:`\theta` (ON - OFF) + R.

    Raises:
        UserError: a threshold not above 0.
    """
    if not threshold > 0:
        raise UserError(f"threshold must be > 0, got {threshold}")
    residual = np.zeros(frames.shape[1:])
    events = np.empty((len(frames) - 1, 2, *frames.shape[1:]), np.bool_)
    for t in range(len(events)):
        residual += frames[t + 1] - frames[t]
        events[t] = residual < -threshold, residual > threshold
        residual += threshold * (events[t, 0].astype(float) - events[t, 1])
    return events, residual


def moving_clouds(
    count: int,
    size: int = 128,
    steps: int = 200,
    *,
    cloud: Cloud | None = None,
    gaze: Gaze | None = None,
    threshold: float = 0.2,
    seed: int = 0,
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Movies of events and the motion at each step.

    Args:
        count: movies; movie i depends on (seed, i) only.
        size: width and height, px.
        steps: of 1 ms.
        cloud, gaze: texture and motion; ``None``: natural ones, with the published law of motion.
        threshold: of an event, standard deviations of the texture.
        seed: draws all.

    Returns:
        Events ``[T, count, 2, H, W]``, OFF and ON, and classes ``[T, count]``.
    """
    cloud, gaze = cloud or Cloud(), gaze or Gaze()
    x = np.empty((steps, count, 2, size, size), np.bool_)
    y = np.empty((steps, count), np.int64)
    for i in range(count):
        rng = np.random.default_rng([seed, i])
        y[:, i] = gaze.labels(steps, rng)
        x[:, i], _ = residual_events(cloud.movie(gaze.path(y[:, i]), size, rng), threshold)
    return x, y

r"""Moving patterns for the synthetic camera: luminance as a function of place and time.

Each is called as ``pattern(x, y, t_us)`` with pixel coordinates ``[H, W]``, x to the right and y
down. Angles are directions of motion in degrees: 0 to the right, 90 down. Along the motion a
pattern depends on :math:`u = x \cos\alpha + y \sin\alpha - v t` only. White is 1.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from spikesim.datasets.synthetic import Maker, Pattern
from spikesim.errors import UserError

Array: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Bars:
    """Bright bars on a dark ground, across the direction of motion; edges one pixel soft.

    Args:
        angle: direction of motion, degrees.
        speed: px/s.
        width: of a bar, px, > 0.
        period: from bar to bar, px, > ``width``.
        bright, dark: luminance of bar and ground, >= 0.
        offset: where along the motion a bar's middle starts, px.

    Raises:
        UserError: a parameter out of its range.
    """

    angle: float
    speed: float
    width: float = 4.0
    period: float = 32.0
    bright: float = 0.9
    dark: float = 0.1
    offset: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.width < self.period:
            raise UserError(
                f"width must lie between 0 and period = {self.period} px, got {self.width}"
            )
        if not (self.bright >= 0 and self.dark >= 0):
            raise UserError(f"bright and dark must be >= 0, got {self.bright} and {self.dark}")

    def __call__(self, x: Array, y: Array, t_us: float) -> Array:
        """Luminance ``[H, W]``."""
        u = _along(x, y, self.angle) - self.offset - self.speed * t_us * 1e-6
        from_middle = np.abs((u + self.period / 2) % self.period - self.period / 2)
        inside = np.clip(self.width / 2 - from_middle + 0.5, 0.0, 1.0)
        return self.dark + (self.bright - self.dark) * inside


@dataclass(frozen=True)
class Grating:
    r"""Drifting sine grating, :math:`I = (1 + c \sin(2\pi u / \lambda + \varphi)) / 2`.

    Args:
        angle: direction of motion, degrees.
        speed: px/s; the temporal frequency is ``speed / wavelength``.
        wavelength: :math:`\lambda`, px, > 0.
        contrast: Michelson contrast c, in [0, 1].
        phase: :math:`\varphi`, radians.

    Raises:
        UserError: a parameter out of its range.
    """

    angle: float
    speed: float
    wavelength: float = 16.0
    contrast: float = 0.8
    phase: float = 0.0

    def __post_init__(self) -> None:
        if not self.wavelength > 0:
            raise UserError(f"wavelength must be > 0 px, got {self.wavelength}")
        if not 0 <= self.contrast <= 1:
            raise UserError(f"contrast must lie in [0, 1], got {self.contrast}")

    def __call__(self, x: Array, y: Array, t_us: float) -> Array:
        """Luminance ``[H, W]``."""
        u = _along(x, y, self.angle) - self.speed * t_us * 1e-6
        wave: Array = np.sin(2.0 * np.pi * u / self.wavelength + self.phase)
        return 0.5 * (1.0 + self.contrast * wave)


@dataclass(frozen=True)
class Texture:
    r"""Moving texture with the statistics of natural scenes, :math:`I = e^{c z} / 2`.

    ``z`` is periodic Gaussian noise of mean 0 and variance 1 whose amplitude falls as
    :math:`1 / f^\alpha` with spatial frequency.

    Args:
        angle: direction of motion, degrees.
        speed: px/s.
        contrast: c, standard deviation of log luminance, >= 0.
        size: period of the texture, px, >= 2.
        exponent: :math:`\alpha`; about 1 in natural scenes.
        seed: draws the texture.

    Raises:
        UserError: a parameter out of its range.

    Reference: Field (1987), *Relations between the statistics of natural images ...*
    """

    angle: float
    speed: float
    contrast: float = 0.7
    size: int = 128
    exponent: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.size < 2:
            raise UserError(f"size must be >= 2 px, got {self.size}")
        if not self.contrast >= 0:
            raise UserError(f"contrast must be >= 0, got {self.contrast}")

    @cached_property
    def z(self) -> Array:
        """The texture itself, ``[size, size]``."""
        white = np.random.default_rng(self.seed).normal(size=(self.size, self.size))
        f = np.hypot(np.fft.fftfreq(self.size)[:, None], np.fft.rfftfreq(self.size)[None, :])
        f[0, 0] = np.inf  # no constant part
        z: Array = np.fft.irfft2(np.fft.rfft2(white) * f**-self.exponent, s=white.shape)
        normal: Array = z / z.std()
        return normal

    def __call__(self, x: Array, y: Array, t_us: float) -> Array:
        """Luminance ``[H, W]``."""
        way = self.speed * t_us * 1e-6
        angle = np.deg2rad(self.angle)
        z = _bilinear(
            self.z, (x - way * np.cos(angle)) % self.size, (y - way * np.sin(angle)) % self.size
        )
        shade: Array = np.exp(self.contrast * z)
        return 0.5 * shade


@dataclass(frozen=True)
class Path:
    """Where a thing is: straight lines between corners, at rest before and after.

    Args:
        times_us: time at each corner, us, increasing.
        x, y: position at each corner, px.

    Raises:
        UserError: the three differ in length, or times do not increase.

    >>> Path((0, 100), (0, 10), (0, 0))(50)
    (5.0, 0.0)
    """

    times_us: tuple[float, ...]
    x: tuple[float, ...]
    y: tuple[float, ...]

    def __post_init__(self) -> None:
        if not len(self.times_us) == len(self.x) == len(self.y) > 0:
            raise UserError(
                f"times_us, x and y must be equally long, got {len(self.times_us)}, "
                f"{len(self.x)} and {len(self.y)} corners"
            )
        if any(a >= b for a, b in zip(self.times_us, self.times_us[1:], strict=False)):
            raise UserError(f"times_us must increase, got {self.times_us}")

    def __call__(self, t_us: float) -> tuple[float, float]:
        """Position ``(x, y)`` at a time."""
        x, y = (float(np.interp(t_us, self.times_us, xy)) for xy in (self.x, self.y))
        return x, y


def saccades(amplitude: float, duration_us: float = 300_000.0) -> Path:
    """Three equal times along an isosceles triangle of base and height ``amplitude`` px.

    Reference: Orchard et al. (2015), who so recorded N-MNIST from still images.
    """
    corners = tuple(duration_us * k / 3 for k in range(4))
    return Path(corners, (0.0, amplitude / 2, amplitude, 0.0), (0.0, amplitude, 0.0, 0.0))


@dataclass(frozen=True, eq=False)
class MovingImage:
    """Any image moved along a path, between pixels by bilinear interpolation.

    Args:
        image: luminance ``[h, w]``, >= 0; beyond its border the border goes on.
        path: where its upper left pixel is over time.
        scale: sensor pixels per image pixel, > 0.

    Raises:
        UserError: a parameter out of its range.
    """

    image: Array
    path: Path
    scale: float = 1.0

    def __post_init__(self) -> None:
        if np.ndim(self.image) != 2:
            raise UserError(f"image must be [h, w], got {list(np.shape(self.image))}; one channel")
        if not self.scale > 0:
            raise UserError(f"scale must be > 0, got {self.scale}")

    def __call__(self, x: Array, y: Array, t_us: float) -> Array:
        """Luminance ``[H, W]``."""
        left, top = self.path(t_us)
        h, w = self.image.shape
        column = np.clip((x - left) / self.scale, 0, w - 1)
        row = np.clip((y - top) / self.scale, 0, h - 1)
        return _bilinear(self.image, column, row)


def directions(count: int = 4, speed: float = 100.0) -> tuple[Maker, ...]:
    """Classes for :func:`~spikesim.datasets.synthetic.labelled`: textures moving ``count`` ways.

    Class k moves at ``360 k / count`` degrees, at 0.7 to 1.3 times ``speed`` (px/s), each sample
    with a texture of its own: no single frame gives the class away.
    """

    def maker(angle: float) -> Maker:
        def draw(rng: np.random.Generator) -> Pattern:
            own_speed = speed * rng.uniform(0.7, 1.3)
            return Texture(angle, own_speed, seed=int(rng.integers(2**32)))

        return draw

    return tuple(maker(360.0 * k / count) for k in range(count))


def _along(x: Array, y: Array, angle: float) -> Array:
    radians = np.deg2rad(angle)
    u: Array = x * np.cos(radians) + y * np.sin(radians)
    return u


def _bilinear(image: Array, x: Array, y: Array) -> Array:
    """``image`` at columns ``x`` and rows ``y`` in [0, size); past the last pixel is the first."""
    h, w = image.shape
    column, row = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    fx, fy = x - column, y - row
    # x % size may round up to size itself
    here, right, below = column % w, (column + 1) % w, (row + 1) % h
    upper = image[row % h, here] * (1 - fx) + image[row % h, right] * fx
    lower = image[below, here] * (1 - fx) + image[below, right] * fx
    mixed: Array = upper * (1 - fy) + lower * fy
    return mixed

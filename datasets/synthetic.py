"""A synthetic event camera: luminance over time in, events out."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikesim.datasets.source import EVENT_DTYPE, Events
from spikesim.errors import UserError
from spikesim.kernels.event_camera import crossings

Array: TypeAlias = NDArray[np.float64]
Pattern: TypeAlias = Callable[[Array, Array, float], Array]
"""``pattern(x, y, t_us)``: luminance >= 0 at pixel coordinates ``[H, W]`` (y down) and a time."""
Maker: TypeAlias = Callable[[np.random.Generator], Pattern]
"""Draws one pattern of a class."""


@dataclass(frozen=True)
class EventCamera:
    r"""Event camera with the log-intensity threshold model.

    A pixel compares :math:`L = \ln(I + I_\mathrm{dark})`, optionally low-passed, with its
    reference level. Each time :math:`L` has risen by :math:`\theta_\mathrm{on}` or fallen by
    :math:`\theta_\mathrm{off}`, it sends an event and moves the reference by that threshold. L runs
    in straight lines between samples, so crossing times are exact for that line and one interval
    may hold several. The reference starts at the first sample. Background activity is an
    independent Poisson process per pixel of either polarity, laid over the rest: it moves no
    reference and waits for no refractory time.

    Args:
        width, height: pixels.
        threshold_on, threshold_off: :math:`\theta`, natural log units, >= 0.001.
        threshold_sigma: standard deviation of both over pixels, log units; a pixel keeps at least
            a tenth of the threshold. 0.03 is typical.
        refractory_us: a crossing sooner than this after the pixel's last event is lost.
        background_hz: rate of background activity, events per second and pixel.
        cutoff_hz: cut-off frequency of a first-order low-pass on L, exact for straight lines;
            ``None``: no filter.
        dark: :math:`I_\mathrm{dark}`, in the unit of the luminance: what a black pixel still has.
        seed: which camera: draws the thresholds.

    The defaults are an ideal camera without noise.

    Raises:
        UserError: a parameter out of its range.

    Reference: Lichtsteiner, Posch and Delbruck (2008); the sampled model as in Rebecq, Gehrig and
    Scaramuzza (2018), noise terms as in Hu, Liu and Delbruck (2021), whose cut-off depends on
    intensity while ours does not.

    >>> camera = EventCamera(width=1, height=1, threshold_on=0.5, dark=0.0)
    >>> camera.convert(np.exp([[[0.0]], [[1.25]]]), [0, 1000])["t"].tolist()
    [400, 800]
    """

    width: int
    height: int
    threshold_on: float = 0.2
    threshold_off: float = 0.2
    threshold_sigma: float = 0.0
    refractory_us: float = 0.0
    background_hz: float = 0.0
    cutoff_hz: float | None = None
    dark: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        top = np.iinfo(EVENT_DTYPE["x"]).max + 1
        for name in ("width", "height"):
            if not 1 <= getattr(self, name) <= top:
                raise UserError(f"{name} must lie in 1 to {top} pixels, got {getattr(self, name)}")
        for name in ("threshold_on", "threshold_off"):
            if not getattr(self, name) >= 1e-3:
                raise UserError(f"{name} must be >= 0.001 log units, got {getattr(self, name)}")
        for name in ("threshold_sigma", "refractory_us", "background_hz", "dark"):
            if not 0 <= getattr(self, name) < np.inf:
                raise UserError(f"{name} must be >= 0 and finite, got {getattr(self, name)}")
        if self.cutoff_hz is not None and not self.cutoff_hz > 0:
            raise UserError(f"cutoff_hz must be > 0 Hz, or None, got {self.cutoff_hz}")

    @property
    def sensor_size(self) -> tuple[int, int, int]:
        """``(W, H, P)``, as Tonic has it."""
        return self.width, self.height, 2

    def thresholds(self) -> tuple[Array, Array]:
        """The ON and OFF threshold of each pixel, ``[H, W]`` each."""
        rng = np.random.default_rng(self.seed)
        on, off = (
            np.maximum(
                rng.normal(threshold, self.threshold_sigma, (self.height, self.width)),
                0.1 * threshold,
            )
            for threshold in (self.threshold_on, self.threshold_off)
        )
        return on, off

    def convert(self, frames: ArrayLike, times_us: ArrayLike, *, recording: int = 0) -> Events:
        """Events of a video.

        Args:
            frames: luminance ``[F, H, W]``, >= 0, floating point; linear, not gamma-coded.
            times_us: time of each frame ``[F]``, us, increasing.
            recording: which recording of this camera: draws the background activity.

        Raises:
            UserError: shapes, times or luminance that make no video.
        """
        video, times = np.asarray(frames), np.asarray(times_us, dtype=np.float64)
        if video.ndim != 3 or video.shape[1:] != (self.height, self.width):
            raise UserError(
                f"frames must be [F, {self.height}, {self.width}] (rows, columns) for this camera, "
                f"got {list(video.shape)}"
            )
        if not np.issubdtype(video.dtype, np.floating):
            raise UserError(f"frames must be floating point, got {video.dtype}; e.g. frames / 255")
        if times.shape != video.shape[:1]:
            raise UserError(f"{len(video)} frames need as many times, got {list(times.shape)}")
        return self._events(zip(times.tolist(), video, strict=True), recording)

    def record(
        self,
        pattern: Pattern,
        duration_us: float,
        *,
        step_us: float = 1000.0,
        recording: int = 0,
    ) -> Events:
        """Events of a pattern that can be evaluated at any time, from 0 on.

        Args:
            pattern: luminance as a function of place and time.
            duration_us: length of the recording, us.
            step_us: longest sampling interval, us; short enough that nothing moves by more than
                about a pixel.
            recording: which recording of this camera: draws the background activity.

        Raises:
            UserError: a time not above 0, or a pattern that returns no luminance.
        """
        if not (0 < duration_us < np.inf and step_us > 0):
            raise UserError(f"duration_us and step_us must be > 0, got {duration_us} and {step_us}")
        y, x = np.mgrid[0 : self.height, 0 : self.width].astype(np.float64)
        times = np.linspace(0.0, duration_us, 1 + int(np.ceil(duration_us / step_us))).tolist()
        return self._events(((t, pattern(x, y, t)) for t in times), recording)

    def _events(self, samples: Iterable[tuple[float, NDArray[np.floating]]], seed: int) -> Events:
        on, off = (threshold.ravel() for threshold in self.thresholds())
        logs = self._log_intensity(samples)
        first_us, log = next(logs, (0.0, None))
        if log is None:
            raise UserError("a video needs at least two frames, got none")
        reference, last_us = log.copy(), np.full(log.shape, -np.inf)
        parts, t_us = [], first_us
        for end_us, after in logs:
            span = (t_us, end_us)
            parts.append(
                crossings((log, after), span, (on, off), self.refractory_us, reference, last_us)
            )
            t_us, log = end_us, after
        if not parts:
            raise UserError("a video needs at least two frames, got one")
        parts.append(self._background(first_us, t_us, seed))
        t, pixel, p = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.argsort(t, kind="stable")
        events = np.empty(len(t), EVENT_DTYPE)
        events["t"], events["p"] = t[order], p[order]
        events["y"], events["x"] = np.divmod(pixel[order], self.width)
        return events

    def _log_intensity(
        self, samples: Iterable[tuple[float, NDArray[np.floating]]]
    ) -> Iterator[tuple[float, Array]]:
        """Time and ``L [H * W]`` of each sample, checked and low-passed."""
        before_us, before, filtered = -np.inf, np.empty(0), np.empty(0)
        for t_us, luminance in samples:
            if luminance.shape != (self.height, self.width):
                raise UserError(
                    f"the pattern must return [{self.height}, {self.width}], got "
                    f"{list(luminance.shape)}"
                )
            if not before_us < t_us < np.inf:
                raise UserError(f"times must increase, got {t_us:g} us after {before_us:g} us")
            total = luminance.astype(np.float64).ravel() + self.dark
            if not bool(((total > 0) & (total < np.inf)).all()) or luminance.min() < 0:
                raise UserError(
                    f"luminance + dark must be > 0 and finite, got luminance from "
                    f"{luminance.min():g} to {luminance.max():g} with dark {self.dark:g} at "
                    f"{t_us:g} us; raise dark (e.g. 1e-3 of white) or clip the luminance"
                )
            log = np.log(total)
            if self.cutoff_hz is None or not before.size:
                filtered = log
            else:
                filtered = self._low_pass(filtered, before, log, t_us - before_us)
            yield t_us, filtered
            before_us, before = t_us, log

    def _low_pass(self, filtered: Array, before: Array, after: Array, span_us: float) -> Array:
        r"""Solution of :math:`\tau \dot F = L - F` for L in a straight line over the interval."""
        assert self.cutoff_hz is not None
        tau_us = 1e6 / (2.0 * np.pi * self.cutoff_hz)
        lag = (after - before) * (tau_us / span_us)
        left: Array = after - lag + (filtered - before + lag) * np.exp(-span_us / tau_us)
        return left

    def _background(
        self, start_us: float, end_us: float, recording: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        rng = np.random.default_rng([self.seed, recording])
        pixels = self.width * self.height
        n = rng.poisson(self.background_hz * (end_us - start_us) * 1e-6 * pixels)
        t = np.floor(rng.uniform(start_us, end_us, n)).astype(np.int64)
        return t, rng.integers(pixels, size=n), rng.integers(2, size=n).astype(np.bool_)


def labelled(
    classes: Sequence[Maker],
    samples: int,
    camera: EventCamera,
    duration_us: float,
    *,
    step_us: float = 1000.0,
    seed: int = 0,
) -> list[tuple[Events, int]]:
    """Recordings ``(events, label)``, the classes in turn: a data set made of patterns.

    Args:
        classes: one function per class that draws a pattern from a random generator, such as
            :func:`spikesim.datasets.synthetic_patterns.directions` gives.
        samples: number of recordings.
        camera: the camera that sees them all.
        duration_us, step_us: as for :meth:`EventCamera.record`.
        seed: draws patterns and background activity; recording i depends on (seed, i) only.

    Raises:
        UserError: no classes, or a time not above 0.
    """
    if not classes:
        raise UserError("labelled needs at least one class, got none")
    recordings = []
    for i in range(samples):
        rng = np.random.default_rng([seed, i])
        pattern = classes[i % len(classes)](rng)
        noise = int(rng.integers(2**32))
        events = camera.record(pattern, duration_us, step_us=step_us, recording=noise)
        recordings.append((events, i % len(classes)))
    return recordings

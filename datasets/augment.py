r"""Event augmentation: what is drawn for a sample, and from which random numbers.

The numbers of a sample are Philox4x32-10 words keyed by the seed, with the counter (sample,
epoch, draw): a batch is a pure function of ``(seed, epoch, indices)``, whichever process makes
it and in whatever order, so that a resumed run sees what an uninterrupted one would.

Reference: Salmon et al., *Parallel random numbers: as easy as 1, 2, 3* (2011).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spikesim.errors import UserError, nearest
from spikesim.kernels.events import WARP_DTYPE, Warps

Array: TypeAlias = NDArray[np.float64]
Indices: TypeAlias = Sequence[int] | NDArray[np.int64]

_GEOMETRY = ("roll", "translate", "rotate", "shear", "scale", "cutout")


@dataclass(frozen=True)
class Augment:
    """Random changes of a sample's events; one draw per sample, the same for all its steps.

    Lengths are in pixels of the frame (after ``size``). Events move one by one, so a rotation
    keeps the number of events, up to those that leave the frame.

    Args:
        flip: probability of mirroring left and right.
        roll: largest shift along each axis, wrapping around; whole pixels, uniform.
        translate: largest shift along each axis, not wrapping.
        rotate: largest angle about the centre, degrees, uniform in both directions.
        shear: largest horizontal shear angle, degrees.
        scale: largest relative change of size, in [0, 1).
        cutout: side of an empty square with uniformly drawn centre (DeVries and Taylor, 2017).
        drop: probability that EventDrop acts (Gu et al., 2021): one of nothing, a time interval
            of 10 to 90 %, a box of 5 to 25 % of each side, or 10 to 90 % of all events is dropped.
        one_of: apply one geometric change, drawn among those not 0, instead of all of them.
        or_none: with ``one_of``: no change is one of the choices.

    Raises:
        UserError: a value out of its range.

    Reference: Li et al., *Neuromorphic data augmentation for training spiking neural networks*
    (2022), whose policy is :func:`preset` ``"nda"``. Their frames are rotated by nearest pixel.

    >>> Augment.of("nda").rotate
    30.0
    """

    flip: float = 0.0
    roll: int = 0
    translate: int = 0
    rotate: float = 0.0
    shear: float = 0.0
    scale: float = 0.0
    cutout: int = 0
    drop: float = 0.0
    one_of: bool = False
    or_none: bool = False

    def __post_init__(self) -> None:
        for name, low, high in (
            ("flip", 0, 1),
            ("drop", 0, 1),
            ("roll", 0, None),
            ("translate", 0, None),
            ("cutout", 0, None),
            ("rotate", 0, 180),
            ("shear", 0, 80),
            ("scale", 0, 0.99),
        ):
            value = getattr(self, name)
            if not low <= value <= (np.inf if high is None else high):
                wish = f">= {low}" if high is None else f"in [{low}, {high}]"
                raise UserError(f"augment.{name} must be {wish}, got {value}")

    @classmethod
    def of(cls, value: "Augment | Mapping[str, Any] | str | None") -> "Augment | None":
        """An augmentation from a preset's name or a mapping of its fields, as in a recipe."""
        if value is None or isinstance(value, Augment):
            return value
        if isinstance(value, str):
            if value not in PRESETS:
                raise UserError(f"no augmentation {value!r}{nearest(value, tuple(PRESETS))}")
            return PRESETS[value]
        known = tuple(field.name for field in fields(cls))
        for name in value:
            if name not in known:
                raise UserError(f"augment has no {name!r}{nearest(name, known)}")
        return cls(**value)

    def draw(
        self,
        seed: int,
        epoch: int,
        indices: Indices,
        size: tuple[int, int],
    ) -> Warps:
        """What happens to each sample: records ``[B]`` for frames of ``size`` ``(H, W)``."""
        u = uniforms(seed, epoch, indices, 24)
        warps = np.zeros(len(u), WARP_DTYPE)
        on = self._choose(u[:, 0])
        warps["flip"] = u[:, 1] < self.flip
        if self.roll:
            warps["roll"] = on["roll"][:, None] * _whole(u[:, 2:4], self.roll)
        warps["affine"] = self._affine(u, on)
        if self.cutout:
            centre = np.floor(u[:, 9:11] * size[::-1])
            _cut(
                warps, 0, centre - self.cutout // 2, np.full_like(centre, self.cutout), on["cutout"]
            )
        if self.drop:
            self._event_drop(u[:, 12:20], warps, size)
        return warps

    def _choose(self, u: Array) -> dict[str, NDArray[np.bool_]]:
        """Which geometric changes apply to which sample."""
        names = [name for name in _GEOMETRY if getattr(self, name)]
        if not self.one_of:
            return dict.fromkeys(_GEOMETRY, np.ones(len(u), np.bool_))
        chosen = np.floor(u * (len(names) + self.or_none))
        return {name: chosen == i for i, name in enumerate(names)}

    def _affine(self, u: Array, on: Mapping[str, NDArray[np.bool_]]) -> Array:
        none = np.zeros(len(u), np.bool_)

        def drawn(name: str, draw: Array) -> Array:
            values: Array = on.get(name, none) * getattr(self, name) * (2.0 * draw - 1.0)
            return values

        angle = np.deg2rad(drawn("rotate", u[:, 4]))
        slope = np.tan(np.deg2rad(drawn("shear", u[:, 5])))
        factor = 1.0 + drawn("scale", u[:, 6])
        shift = on.get("translate", none)[:, None] * _whole(u[:, 7:9], self.translate)
        cos, sin = factor * np.cos(angle), factor * np.sin(angle)
        # rotation and scale after the shear
        rows = (cos, cos * slope - sin, shift[:, 0], sin, sin * slope + cos, shift[:, 1])
        return np.stack(rows, axis=1)

    def _event_drop(self, u: Array, warps: Warps, size: tuple[int, int]) -> None:
        kind = np.where(u[:, 0] < self.drop, np.floor(u[:, 1] * 4), 0)
        tenths = (1 + np.floor(u[:, 2] * 9)) / 10
        start = u[:, 3]
        warps["gap"][kind == 1] = np.stack([start, start + tenths], axis=1)[kind == 1]
        extent = np.array(size[::-1])
        side = np.floor((1 + np.floor(u[:, 4:5] * 5)) / 20 * extent)
        _cut(warps, 1, np.floor(u[:, 5:7] * extent), side, kind == 2)
        random = kind == 3
        warps["rate"][random] = (tenths[random] * 2.0**64).astype(np.uint64)
        warps["key"][random] = (u[random, 7] * 2.0**32).astype(np.uint64) << np.uint64(32)


PRESETS: Mapping[str, Augment] = {
    "nda": Augment(roll=5, rotate=30.0, shear=30.0, one_of=True),
    "eventdrop": Augment(drop=1.0),
    "flip-roll": Augment(flip=0.5, roll=5),
}
"""Published policies: ``nda`` (Li et al., 2022, CIFAR10-DVS at 48 x 48), ``eventdrop``
(Gu et al., 2021), ``flip-roll`` (mirroring and rolling by 5 pixels, as most of them begin)."""


def _whole(u: Array, largest: int) -> NDArray[np.int64]:
    """Whole numbers in ``[-largest, largest]``, uniform."""
    return np.floor(u * (2 * largest + 1)).astype(np.int64) - largest


def _cut(warps: Warps, hole: int, corner: Array, side: Array, on: NDArray[np.bool_]) -> None:
    box = np.concatenate([corner, corner + side], axis=1).astype(np.int64)
    warps["holes"][on, hole] = box[on]


def uniforms(seed: int, epoch: int, indices: Indices, count: int) -> Array:
    """Uniform numbers in [0, 1), ``[len(indices), count]``, with 32 random bits each."""
    blocks = -(-count // 4)
    counter = np.empty((len(indices), blocks, 4), np.uint32)
    counter[..., 0] = np.asarray(indices, np.int64)[:, None].astype(np.uint32)
    counter[..., 1] = np.uint32(epoch)
    counter[..., 2] = np.arange(blocks)
    counter[..., 3] = 0
    words = philox(counter, (seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF))
    return words.reshape(len(indices), -1)[:, :count] / 2.0**32


def philox(counter: NDArray[np.uint32], key: tuple[int, int]) -> NDArray[np.uint32]:
    """Philox4x32 with 10 rounds: random words ``[..., 4]`` of counters ``[..., 4]``."""
    low, high = np.uint64(0xFFFFFFFF), np.uint64(32)
    c0, c1, c2, c3 = (counter[..., i].astype(np.uint64) for i in range(4))
    k0, k1 = key
    for _ in range(10):
        p0, p1 = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
        c0, c1, c2, c3 = (
            (p1 >> high) ^ c1 ^ np.uint64(k0),
            p1 & low,
            (p0 >> high) ^ c3 ^ np.uint64(k1),
            p0 & low,
        )
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=-1).astype(np.uint32)

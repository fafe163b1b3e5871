"""Event recordings as small films, without a script: one strip of frames moved by CSS."""

import base64
import html
import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spikesim.report.data import Clip

OFF, ON = (255, 138, 76), (86, 180, 255)
"""Colours of the polarities 0 and 1 on the dark ground of the film, in both themes."""
GROUND = (13, 17, 23)
SECONDS_PER_STEP = 0.22
MIN_SECONDS = 1.6
MIN_ROWS = 3
"""Sensors with fewer rows, such as a cochlea, are shown as one picture over time."""
SHOWN = 3
"""Classes with a line in the plot of the evidence."""


def strip(frames: NDArray[np.float32]) -> str:
    """Frames ``[T, P, H, W]`` side by side as a PNG, in a ``data:`` address.

    Brightness is the number of events over the 99th percentile of the pixels that have any, and
    never so low that a single event is invisible.
    """
    from PIL import Image

    counts = np.asarray(frames, dtype=np.float32)
    T, P, H, W = counts.shape
    some = counts[counts > 0]
    full = float(np.quantile(some, 0.99)) if some.size else 1.0
    light = np.where(counts > 0, 0.35 + 0.65 * np.minimum(counts / full, 1.0), 0.0)
    colors = np.array((OFF, ON) if P == 2 else (ON,) * P, dtype=np.float32) - GROUND
    picture = np.asarray(GROUND, np.float32) + np.einsum("tphw,pc->thwc", light, colors)
    wide = np.clip(picture, 0, 255).astype(np.uint8).transpose(1, 0, 2, 3).reshape(H, T * W, 3)
    buffer = io.BytesIO()
    Image.fromarray(wide).save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def film(clip: Clip, classes: Sequence[str]) -> str:
    """One recording as a card: the film, the answer, and the evidence step by step."""
    frames = clip.frames
    if frames.shape[2] < MIN_ROWS:
        frames = frames.sum(2).transpose(1, 2, 0)[None]  # [1, P, channels, T]: time to the right
    T, _, H, W = frames.shape
    shape = f"{W}/{H}" if T > 1 else "1"
    right = clip.truth == clip.predicted
    truth, answer = (html.escape(classes[i]) for i in (clip.truth, clip.predicted))
    verdict = f"<b>{answer}</b>" if right else f"<b>{answer}</b> instead of <b>{truth}</b>"
    seconds = max(MIN_SECONDS, SECONDS_PER_STEP * T)
    return (
        f'<figure class="clip {"right" if right else "wrong"}" style="--n:{T};--d:{seconds:.2f}s">'
        f'<div class="film" role="img" aria-label="events of {truth}" style="aspect-ratio:{shape};'
        f'background-image:url({strip(frames)})"></div>'
        f"<figcaption><span>{'✓' if right else '✗'} {verdict}</span>"
        f"<small>{html.escape(clip.title)}</small></figcaption>"
        f"{_evidence(clip, classes)}</figure>"
    )


def _evidence(clip: Clip, classes: Sequence[str]) -> str:
    """Probability of the leading classes (and the true one) after each step."""
    T = len(clip.evidence)
    leading = list(np.argsort(-clip.evidence[-1], kind="stable")[:SHOWN])
    if clip.truth not in leading:
        leading[-1] = clip.truth
    lines, keys = [], []
    for rank, label in enumerate(leading):
        points = " ".join(
            f"{100 * t / max(T - 1, 1):.1f},{38 - 36 * p:.1f}"
            for t, p in enumerate(clip.evidence[:, label])
        )
        lines.append(f'<polyline class="line{rank}" points="{points}"/>')
        name, final = html.escape(classes[label]), clip.evidence[-1, label]
        keys.append(f'<span class="key{rank}">{name} {final:.0%}</span>')
    return (
        '<div class="evidence"><svg viewBox="0 0 100 40" preserveAspectRatio="none" '
        f'aria-hidden="true">{"".join(lines)}</svg><i></i></div><p class="keys">{"".join(keys)}</p>'
    )

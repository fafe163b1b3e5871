"""Sound from WAV files, and at half its rate."""

import math
import wave
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from spikesim.errors import UserError

WIDTH, ROLLOFF = 6, 0.99
"""Zero crossings of the low-pass on either side, and its edge as a share of half the new rate."""


def read_wav(path: Path, sample_rate: float) -> Tensor:
    """The sound of a WAV file of one channel and 16 bits: ``[samples]``, from -1 to 1.

    Raises:
        UserError: a damaged file, or one of another kind or rate.
    """
    try:
        with wave.open(str(path), "rb") as file:
            kind = file.getnchannels(), 8 * file.getsampwidth(), file.getframerate()
            wanted = file.getnframes() * file.getnchannels() * file.getsampwidth()
            data = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise UserError(f"{path}: damaged or no WAV file ({error}); get it again") from None
    if kind != (1, 16, sample_rate):
        raise UserError(
            f"{path}: channels, bits and rate are {kind}; expected 1 channel of 16 bits at "
            f"{sample_rate:g} Hz"
        )
    if not data or len(data) < wanted:
        raise UserError(f"{path}: truncated WAV file; get it again")
    return torch.from_numpy(np.frombuffer(data, "<i2").astype(np.float32) / 2**15)


def halve_rate(x: Tensor) -> Tensor:
    r"""Every second sample of a sound without what lies above half of its new rate.

    .. math::
        y_m = \sum_n x_{2 m - n}\, \tfrac{1}{2} \rho\, \mathrm{sinc}(\tfrac{1}{2} \rho n)
            \cos^2 \frac{\pi \rho n}{4 W}, \qquad |\rho n| < 2 W

    with :math:`W = 6`, :math:`\rho = 0.99`; the defaults of torchaudio's ``Resample``.

    Shape: ``[B, samples]`` -> ``[B, ceil(samples / 2)]``.
    """
    reach = math.ceil(2 * WIDTH / ROLLOFF)
    t = ROLLOFF / 2 * torch.arange(-reach, reach + 1, dtype=torch.float64)
    window = torch.cos(t.clamp(-WIDTH, WIDTH) * math.pi / WIDTH / 2).square()
    kernel = (ROLLOFF / 2 * torch.sinc(t) * window).to(x)
    return F.conv1d(x[:, None], kernel[None, None], stride=2, padding=reach)[:, 0]

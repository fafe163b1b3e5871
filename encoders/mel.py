"""Sound to a mel spectrogram: power in bands that are spaced as pitch is heard."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from spikesim.encoders.base import check_sound
from spikesim.errors import UserError


def mel_filters(bands: int, f_min: float, f_max: float, n_fft: int, sample_rate: float) -> Tensor:
    r"""Triangles over the bins of a spectrum, evenly spaced in mel: ``[n_fft // 2 + 1, bands]``.

    .. math::
        m(f) = 2595 \log_{10}(1 + f / 700)

    Band ``b`` rises from the ``b``-th to the next of ``bands + 2`` such frequencies and falls to
    the one after it; its peak is 1. Bands beyond half the sample rate, and those narrower than a
    bin that hold none, stay empty.

    Reference: O'Shaughnessy (1987), *Speech communication*; "HTK" scale and no normalisation, the
    defaults of torchaudio.
    """
    low, high = (2595.0 * math.log10(1.0 + f / 700.0) for f in (f_min, f_max))
    edges = 700.0 * (10.0 ** (torch.linspace(low, high, bands + 2, dtype=torch.float64) / 2595) - 1)
    bins = torch.linspace(0.0, sample_rate / 2, n_fft // 2 + 1, dtype=torch.float64)[:, None]
    rise = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return torch.minimum(rise, fall).clamp(min=0.0)


@dataclass(frozen=True)
class MelSpectrogram:
    r"""Decibels of the power in mel bands, step by step.

    .. math::
        y_{tb} = 10 \log_{10} \max\Bigl(10^{-10},\; \sum_k F_{kb}
            \Bigl| \sum_n h_n\, x_{t H + n - n_\mathrm{fft}/2}\, e^{-2\pi i k n / n_\mathrm{fft}}
            \Bigr|^2 \Bigr)

    with a Hann window :math:`h`, hop :math:`H`, filters :math:`F` of :func:`mel_filters`; the
    sound is mirrored at its ends, so that step ``t`` is centred at sample ``t H``.

    Args:
        sample_rate: of the sound, Hz.
        n_fft: samples of a window.
        hop: samples of a step.
        bands: of the output.
        f_min, f_max: of the lowest and the highest band's edge, Hz.

    Shape: ``[B, samples]`` -> ``[1 + samples // hop, B, bands]``.

    Raises:
        UserError: a size that is not above 0, frequencies out of order, or too short a sound.

    The defaults are those of Hammouamri et al. (2024) for Speech Commands at 8 kHz, steps of 10 ms;
    their highest frequency is above half the sample rate, which leaves the last 53 bands at the
    floor of -100 dB.

    >>> MelSpectrogram()(torch.randn(2, 8000)).shape
    torch.Size([101, 2, 140])
    """

    sample_rate: float = 8000.0
    n_fft: int = 256
    hop: int = 80
    bands: int = 140
    f_min: float = 50.0
    f_max: float = 14000.0

    def __post_init__(self) -> None:
        for name in ("sample_rate", "n_fft", "hop", "bands"):
            if not getattr(self, name) > 0:
                raise UserError(f"{name} must be > 0, got {getattr(self, name)}")
        if not 0 <= self.f_min < self.f_max < math.inf:
            raise UserError(f"need 0 <= f_min < f_max < inf, got {self.f_min} and {self.f_max} Hz")

    def __call__(self, x: Tensor) -> Tensor:
        """The spectrogram of sounds, time first."""
        check_sound(x)
        if x.shape[-1] <= self.n_fft // 2:
            raise UserError(f"{x.shape[-1]} samples are too few; need over {self.n_fft // 2}")
        window = torch.hann_window(self.n_fft, dtype=x.dtype, device=x.device)
        spectrum = torch.stft(
            x, self.n_fft, self.hop, window=window, pad_mode="reflect", return_complex=True
        )  # [B, bins, T]
        filters = mel_filters(self.bands, self.f_min, self.f_max, self.n_fft, self.sample_rate)
        power = spectrum.abs().square().permute(2, 0, 1) @ filters.to(x)
        return 10.0 * power.clamp(min=1e-10).log10()

"""Sound to spikes of an auditory nerve: gammatone filters, hair cells, leaky neurons."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from spikesim.encoders.base import check_sound
from spikesim.errors import UserError
from spikesim.neurons import LIF


@dataclass(frozen=True)
class Cochlea:
    r"""A simple cochlea: a bank of filters whose rectified, compressed outputs drive neurons.

    A place on the basilar membrane is a gammatone filter of the sound :math:`x`, divided by its
    root mean square; the hair cell passes one half of the wave, compressed; the nerve fibre is a
    leaky integrate-and-fire neuron (:class:`~spikesim.neurons.LIF`) driven by it:

    .. math::
        g_c(t) &= a_c\, t^{n-1} e^{-2 \pi b_c t} \cos 2 \pi f_c t, \quad b_c = 1.019\, E(f_c) \\
        h_c &= G \max(0, g_c * x / \mathrm{rms}(x))^{p} \\
        \tau \dot v_c &= -v_c + h_c, \quad v_c \ge 1: \text{spike}, v_c \leftarrow 0

    :math:`E(f) = 24.7\,(4.37 f / 1000 + 1)` Hz is the bandwidth of hearing at :math:`f`; centres
    :math:`f_c` are evenly spaced on its scale, the lowest first; :math:`a_c` gives each filter a
    gain of about 1 at its centre. A loud or silent recording gives the same spikes.

    Args:
        sample_rate: of the sound, Hz; a step of the output is one sample.
        channels: places, ``C``.
        f_min, f_max: the lowest and the highest centre, Hz; below half the sample rate.
        order: of the filter, :math:`n`.
        span_ms: where the filter's response is cut off, ms.
        exponent: of the compression, :math:`p`, in (0, 1].
        gain: :math:`G`.
        tau_ms: of the fibre's membrane, ms.
        refractory_ms: after a spike, ms.

    Shape: ``[B, samples]`` -> spikes ``[samples, B, C]``, each 0 or 1.

    Raises:
        UserError: a parameter out of its range.

    Reference: Patterson et al. (1987), the gammatone filter; Glasberg and Moore (1990), bandwidths.
    The stages are those of the Heidelberg data (Cramer et al., 2022), which have a travelling
    wave in place of filters, a transmitter pool in the hair cell, and bushy cells that pool fibres.
    Gain, exponent and time constants are our choice, by the number of spikes alone.

    >>> tone = torch.sin(2 * torch.pi * 1000 * torch.arange(800) / 8000)
    >>> spikes = Cochlea(channels=20)(tone[None])
    >>> int(spikes.sum((0, 1)).argmax()), round(float(Cochlea(channels=20).centres()[10]))
    (10, 968)
    """

    sample_rate: float = 8000.0
    channels: int = 140
    f_min: float = 100.0
    f_max: float = 3600.0
    order: int = 4
    span_ms: float = 50.0
    exponent: float = 0.3
    gain: float = 6.0
    tau_ms: float = 5.0
    refractory_ms: float = 1.0

    def __post_init__(self) -> None:
        for name in ("sample_rate", "channels", "order", "span_ms", "gain", "tau_ms"):
            if not getattr(self, name) > 0:
                raise UserError(f"{name} must be > 0, got {getattr(self, name)}")
        if not 0 < self.f_min < self.f_max < self.sample_rate / 2:
            raise UserError(
                f"need 0 < f_min < f_max < {self.sample_rate / 2:g} Hz (half the sample rate), "
                f"got {self.f_min} and {self.f_max}"
            )
        if not 0 < self.exponent <= 1:
            raise UserError(f"exponent must be in (0, 1], got {self.exponent}")
        if self.refractory_ms < 0:
            raise UserError(f"refractory_ms must be >= 0, got {self.refractory_ms}")

    def centres(self) -> Tensor:
        """The centre frequency of each channel, Hz ``[C]`` float64."""
        # The integral of 1 / E(f) is a logarithm, so that centres are a geometric row, shifted.
        shift = 1000 / 4.37
        ends = torch.tensor([self.f_min, self.f_max], dtype=torch.float64).add(shift).log()
        low, high = ends.tolist()
        return torch.linspace(low, high, self.channels, dtype=torch.float64).exp() - shift

    def filters(self) -> Tensor:
        """The sampled response of each filter, ``[C, taps]`` float64."""
        centres = self.centres()[:, None]
        b = 2 * math.pi * 1.019 * 24.7 * (4.37 * centres / 1000 + 1)  # 1/s
        t = torch.arange(round(self.span_ms * self.sample_rate / 1000)) / self.sample_rate
        carrier = torch.cos(2 * math.pi * centres * t)
        scale = 2 * b.pow(self.order) / math.factorial(self.order - 1) / self.sample_rate
        return scale * t.pow(self.order - 1) * torch.exp(-b * t) * carrier

    def drive(self, x: Tensor) -> Tensor:
        """What the hair cells pass to the fibres, :math:`h`: ``[B, samples]`` -> ``[T, B, C]``."""
        check_sound(x)
        filters = self.filters().to(x)
        samples = x.shape[-1]
        # A whole response beyond the end, so that no end comes back at the beginning.
        size = 1 << (samples + filters.shape[1] - 1).bit_length()
        loudness = x.square().mean(-1, keepdim=True).sqrt().clamp(min=1e-30)
        spectrum = torch.fft.rfft(x / loudness, size)[:, None] * torch.fft.rfft(filters, size)
        waves: Tensor = torch.fft.irfft(spectrum, size)[..., :samples]  # [B, C, T]
        return waves.clamp(min=0.0).pow(self.exponent).mul(self.gain).permute(2, 0, 1)

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        """The spikes of each fibre at each sample."""
        fibre = LIF(
            tau=self.tau_ms,
            dt=1000 / self.sample_rate,
            leak="exact",
            refractory=self.refractory_ms,
        )
        spikes: Tensor = fibre(self.drive(x).contiguous())
        return spikes

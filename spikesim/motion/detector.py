"""Independent logistic regressions of motion, the same at each place and time."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spikesim.errors import UserError
from spikesim.motion.scatter import check_sizes, scatter


class MotionDetector(nn.Module):
    r"""Layer of neurons whose synapses have all delays at all places of a neighbourhood.

    .. math::
        B_c(t, y, x) = b_c + \max_{A' \in \{A, \bar A\}}
            \sum_{p, d, i, j} K_c(p, d, i, j) A'_p(t - d, y - i, x - j), \quad
        P(c | t, y, x) = 1 / (1 + e^{-B_c})

    with :math:`\bar A` the events with ON and OFF exchanged. The maximum, as of a complex cell,
    makes evidence independent of contrast's sign. Without it evidence would be linear, and its mean
    over all places would depend on the rate of events alone.

    Synapses lie within a circle whose radius grows with delay, so that no motion faster than
    ``growth`` is seen; they stay 0 elsewhere. Delays are not learned: those of the synapses
    that remain after training, or :func:`~spikesim.motion.pruned`, are the delays.

    Args:
        classes: neurons at each place.
        delays: D, steps; 0 to D - 1.
        size: height and width of the neighbourhood, px, odd.
        polarities: P.
        first: radius of the circle at delay 0, px.
        growth: px by which it grows with each step of delay, up to ``size / 2``; ``math.inf`` for
            the same circle everywhere.
        symmetric: take the maximum over exchanged polarities.
        scale: standard deviation of weights at first. Not 0: polarities would stay equal.
        generator: draws them.

    Attributes:
        weight: ``[classes, P, D, size, size]``; ``[..., d, i, j]`` is passed on d steps later
            and ``(i, j) - size // 2`` pixels further down and to the right.
        bias: ``[classes]``; at first that of equal classes, of which one is present.

    Raises:
        UserError: a size out of its range.

    Reference: Grimaldi and Perrinet (2023), *Learning heterogeneous delays in a layer of spiking
    neurons for fast motion detection*, Biol. Cybern.

    >>> sum(parameter.numel() for parameter in MotionDetector().parameters())
    437004
    """

    mask: Tensor

    def __init__(
        self,
        classes: int = 36,
        delays: int = 21,
        size: int = 17,
        *,
        polarities: int = 2,
        first: float = 1.5,
        growth: float = 1.0,
        symmetric: bool = True,
        scale: float = 1e-2,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if classes < 2 or delays < 1 or size < 1 or size % 2 == 0:
            raise UserError(
                f"classes must be >= 2, delays >= 1 and size odd, got {classes}, {delays}, {size}"
            )
        self.symmetric = symmetric
        self.register_buffer("mask", circles(delays, size, first, growth), persistent=False)
        drawn = torch.randn(classes, polarities, delays, size, size, generator=generator)
        self.weight = nn.Parameter(scale * drawn * self.mask)
        self.bias = nn.Parameter(torch.full((classes,), -math.log(classes - 1)))

    def forward(self, x: Tensor) -> Tensor:
        """Evidence ``[T, B, C, H, W]`` of events ``[T, B, P, H, W]``: none before, none around."""
        self._check(x)
        delays, *size = self.weight.shape[2:]
        around = [side for n in reversed(size) for side in (n // 2, n // 2)]
        before = torch.zeros_like(x[:1]).expand(delays - 1, *x.shape[1:])
        return self.within(F.pad(torch.cat([before, x]), around))

    def within(self, x: Tensor, stride: Sequence[int] = (1, 1, 1)) -> Tensor:
        """Evidence of what was wholly seen, ``[T - D + 1, B, C, H - h + 1, W - w + 1]``.

        Args:
            x: events ``[T, B, P, H, W]``.
            stride: every how many steps, rows and columns; the first is step D - 1, row h // 2.
        """
        self._check(x)
        # a convolution, so that an index is a delay: torch's correlates
        kernel = (self.weight * self.mask).flip(2, 3, 4)
        events = x.movedim(0, 2).to(kernel.dtype)  # [B, P, T, H, W]
        evidence = F.conv3d(events, kernel, stride=tuple(stride))
        if self.symmetric:
            other = F.conv3d(events.flip(1), kernel, stride=tuple(stride))
            evidence = torch.maximum(evidence, other)
        return evidence.movedim(2, 0) + self.bias[:, None, None]

    @torch.no_grad()
    def scattered(self, x: Tensor) -> tuple[Tensor, int]:
        """The same as ``forward`` from events alone, and the number of additions."""
        self._check(x)
        weight = self.weight * self.mask
        evidence, additions = scatter(x, weight)
        if self.symmetric:
            other, more = scatter(x.flip(2), weight)
            evidence, additions = torch.maximum(evidence, other), additions + more
        return evidence + self.bias.cpu()[:, None, None], additions

    def spikes(self, evidence: Tensor, threshold: float) -> Tensor:
        """One spike of the neuron of most evidence at each place and step, if above a threshold.

        Shape: ``[T, B, C, H, W]`` -> the same, 0 or 1.
        """
        best, winner = evidence.max(2, keepdim=True)
        spikes = torch.zeros_like(evidence)
        return spikes.scatter_(2, winner, (best > threshold).to(evidence.dtype))

    def threshold(self, evidence: Tensor, rate_hz: float = 1.0, dt: float = 1.0) -> float:
        """With which :meth:`spikes` has neurons fire at a mean rate.

        Args:
            evidence: ``[T, B, C, H, W]`` of recordings that are typical.
            rate_hz: spikes per second and neuron.
            dt: a step, ms.

        Raises:
            UserError: a rate at which more than one neuron of a place would have to fire.
        """
        classes = evidence.shape[2]
        share = rate_hz * dt * 1e-3 * classes
        if not 0 <= share <= 1:
            raise UserError(f"rate_hz must lie in 0 to {1e3 / (dt * classes):g} Hz, got {rate_hz}")
        best = evidence.amax(2).flatten().sort().values
        spared = len(best) - round(share * len(best))
        return float(best[spared - 1]) if spared else -math.inf

    def _check(self, x: Tensor) -> None:
        check_sizes(x, self.weight)


def circles(delays: int, size: int, first: float, growth: float) -> Tensor:
    """Which places have synapses of a delay: 0 or 1, ``[D, size, size]``."""
    from_middle = torch.arange(size) - size // 2
    distance = torch.hypot(from_middle[:, None].float(), from_middle.float())
    grown = torch.tensor([first + growth * d if d else first for d in range(delays)])
    radius = grown.clamp(max=size / 2)
    return (distance <= radius[:, None, None]).float()


def fit(
    detector: MotionDetector,
    x: Tensor,
    labels: Tensor,
    *,
    epochs: int = 100,
    batch: int = 1,
    lr: float = 1e-5,
    last_lr: float | None = None,
    stride: Sequence[int] = (1, 1, 1),
    seed: int = 0,
    tell: Callable[[int, float], None] | None = None,
) -> None:
    """Binary cross-entropy of each class at each place and step, by Adam.

    Args:
        detector: trained in place.
        x: events ``[T, N, P, H, W]``, moved to the detector's device a batch at a time.
        labels: class at each step ``[T, N]``, of all places.
        epochs, batch, lr: passes, movies of an update, rate of Adam. Defaults are the published.
        last_lr: rate at last, to which it falls geometrically; ``None``: it stays. Mean evidence
            adds up what all weights have too much, so that short runs gain much by it.
        stride: every how many steps, rows and columns evidence is made, from an offset drawn for
            each update, so that all count alike; (1, 1, 1) is all, as published.
        seed: draws the order of movies and the offsets.
        tell: called with epoch and mean loss.
    """
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(detector.parameters(), lr)
    updates = epochs * math.ceil(x.shape[1] / batch)
    fall = 1.0 if last_lr is None else (last_lr / lr) ** (1 / max(1, updates - 1))
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, fall)
    device, (classes, _, delays) = detector.weight.device, detector.weight.shape[:3]
    for epoch in range(epochs):
        losses = []
        for movies in torch.split(torch.randperm(x.shape[1], generator=generator), batch):
            t, i, j = (int(torch.randint(n, (1,), generator=generator)) for n in stride)
            evidence = detector.within(x[t:, movies, :, i:, j:].to(device), stride)
            wanted = F.one_hot(labels[t + delays - 1 :: stride[0], movies], classes).to(evidence)
            loss = F.binary_cross_entropy_with_logits(
                evidence, wanted[..., None, None].expand_as(evidence)
            )
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
            losses.append(loss.detach())
        if tell is not None:
            tell(epoch, float(torch.stack(losses).mean()))


@torch.no_grad()
def mean_evidence(
    detector: MotionDetector, x: Tensor, *, batch: int = 1, stride: Sequence[int] = (1, 1, 1)
) -> Tensor:
    """Evidence averaged over all places whose whole neighbourhood was seen.

    The class of its largest value is the published decision; a monotonous function, as the
    probability is, changes nothing.

    Args:
        detector, x, batch: as for :func:`fit`.
        stride: every how many steps, rows and columns evidence is made; the first step is D - 1.

    Shape: -> ``[ceil((T - D + 1) / stride[0]), N, C]``, on the CPU.
    """
    device = detector.weight.device
    parts = torch.split(x, batch, 1)
    return torch.cat(
        [detector.within(part.to(device), stride).mean((3, 4)).cpu() for part in parts], 1
    )

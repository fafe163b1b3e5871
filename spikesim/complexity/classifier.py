"""Classes from the complexity of spike trains: SNN-LZC, a read-out that counts no spikes.

Shape legend: ``T`` steps, ``B`` samples, ``N`` neurons, ``F`` features, ``K`` classes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from spikesim.complexity.lempel_ziv import Normalisation, Parsing, complexity
from spikesim.complexity.trains import concatenated
from spikesim.errors import UserError


@dataclass(frozen=True)
class LogisticReadout:
    """Multinomial logistic regression on standardised features.

    Args:
        mean, scale: ``[F]`` of the features it was fitted on.
        weight: ``[K, F]``.
        bias: ``[K]``.
    """

    mean: Tensor
    scale: Tensor
    weight: Tensor
    bias: Tensor

    @classmethod
    def fit(
        cls, features: Tensor, labels: Tensor, *, penalty: float = 1.0, iterations: int = 100
    ) -> "LogisticReadout":
        r"""The minimum of :math:`\sum_b -\ln p(y_b) + \frac{\lambda}{2} \|w\|^2`, by L-BFGS.

        Args:
            features: ``[B, F]``, finite.
            labels: ``[B]``, 0 to K - 1.
            penalty: :math:`\lambda`, >= 0.
            iterations: at most.

        Raises:
            UserError: features that are not ``[B, F]`` and finite, other labels, or a negative
                penalty.
        """
        if features.dim() != 2 or not len(features) or not bool(features.isfinite().all()):
            raise UserError(f"features must be [B, F] and finite, got {list(features.shape)}")
        is_whole = not labels.is_floating_point() and labels.shape == features.shape[:1]
        if not is_whole or int(labels.min()) < 0:
            raise UserError(
                f"labels must be whole numbers >= 0, [{len(features)}], got {labels.dtype} "
                f"{list(labels.shape)}"
            )
        if not penalty >= 0:
            raise UserError(f"penalty must be >= 0, got {penalty}")
        x = features.detach().double()
        mean, scale = x.mean(0), x.std(0, correction=0)
        scale = torch.where(scale > 0, scale, 1.0)
        x = (x - mean) / scale
        classes = int(labels.max()) + 1
        weight = x.new_zeros(classes, x.shape[1]).requires_grad_()
        bias = x.new_zeros(classes).requires_grad_()
        search = torch.optim.LBFGS(
            [weight, bias], max_iter=iterations, line_search_fn="strong_wolfe"
        )

        @torch.enable_grad()
        def loss() -> float:
            search.zero_grad()
            value = functional.cross_entropy(x @ weight.T + bias, labels, reduction="sum")
            value = value + 0.5 * penalty * weight.square().sum()
            torch.autograd.backward(value)
            return value.item()

        search.step(loss)  # type: ignore[no-untyped-call]
        return cls(mean, scale, weight.detach(), bias.detach())

    def __call__(self, features: Tensor) -> Tensor:
        """Class values ``[B, K]``, the logarithms of probabilities up to a constant."""
        return (features.double() - self.mean) / self.scale @ self.weight.T + self.bias

    def accuracy(self, features: Tensor, labels: Tensor) -> float:
        """The share of samples whose largest value is that of their label."""
        return float((self(features).argmax(1) == labels).double().mean())


@dataclass(frozen=True)
class ComplexityClassifier:
    """Logistic regression on Lempel-Ziv complexities; ``fit`` gives the readout.

    Complexity has no gradient: what comes before is trained by other means, and this reads it out.
    With one train and two classes it is a threshold on the complexity.

    Args:
        parsing, normalisation, base: see :func:`~spikesim.complexity.complexity`.
        is_joint: one complexity, of all neurons' trains one after the other, instead of one of each
            neuron.
        penalty: of the regression, see :meth:`LogisticReadout.fit`.

    Reference: Rudnicka, Szczepanski & Pregowska (2025), *Impact of neuron models on spiking neural
    network performance: a complexity-based classification approach*; the rule that decides is not
    published in what was available, so that this is ours.
    """

    parsing: Parsing = "lz76"
    normalisation: Normalisation = "length"
    base: float = 2.0
    is_joint: bool = False
    penalty: float = 1.0

    def features(self, spikes: Tensor) -> Tensor:
        """Complexities ``[B, F]`` of spikes ``[T, B, N]``; F is N, or 1 if joint."""
        if spikes.dim() != 3:
            raise UserError(f"spikes must be [T, B, N], got {list(spikes.shape)}")
        trains = concatenated(spikes)[..., None] if self.is_joint else spikes
        return complexity(trains, self.parsing, normalisation=self.normalisation, base=self.base)

    def fit(self, spikes: Tensor, labels: Tensor) -> LogisticReadout:
        """The readout of ``features(spikes)``."""
        return LogisticReadout.fit(self.features(spikes), labels, penalty=self.penalty)

"""Two words, one after the other, whose digits are to be added: a task of long memory."""

import torch
from torch import Tensor

from spikesim.errors import UserError
from spikesim.network.given import whole


def adding(
    clips_NTC: Tensor,
    labels_N: Tensor,
    count: int,
    *,
    gap: int = 0,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    r"""Draw pairs of clips, with replacement, and ask for the sum of their digits.

    The target is :math:`(l_1 \bmod 10) + (l_2 \bmod 10)`, one of 19 classes: of SHD's 20 words the
    language is ignored.

    Args:
        clips_NTC: ``N`` recordings as counts of spikes in ``T`` bins of ``C`` channels.
        labels_N: their words.
        count: of pairs, the batch.
        gap: silent bins between the two (published: none).
        generator: of the draws.

    Shape: ``[N, T, C]``, ``[N]`` -> ``[2 T + gap, count, C]``, ``[count]``.

    Raises:
        UserError: no clips, not as many labels as clips, clips of other dimensions, or a negative
            gap.

    Reference: Spieler et al. (2024), section 4.2, *SHD-Adding*.

    >>> x, target = adding(torch.ones(1, 2, 3), torch.tensor([14]), 5, gap=1)
    >>> list(x.shape), x[:, 0, 0].tolist(), target.tolist()
    ([5, 5, 3], [1.0, 1.0, 0.0, 1.0, 1.0], [8, 8, 8, 8, 8])
    """
    whole("gap", gap, 0)
    if clips_NTC.dim() != 3 or not len(clips_NTC) == len(labels_N) > 0:
        raise UserError(
            f"adding takes clips [N, T, C] and labels [N], N >= 1, got {list(clips_NTC.shape)} and "
            f"{list(labels_N.shape)}"
        )
    # Drawn on the CPU: the same pairs on each device.
    first, second = torch.randint(len(clips_NTC), (2, count), generator=generator).to(
        labels_N.device
    )
    silence = clips_NTC.new_zeros(count, gap, clips_NTC.shape[2])
    x_BTC = torch.cat([clips_NTC[first], silence, clips_NTC[second]], 1)
    return x_BTC.transpose(0, 1), labels_N[first] % 10 + labels_N[second] % 10

"""Weights that cost less: of a few bits, or fewer of them."""

from spikesim.compression.layers import fold
from spikesim.compression.lsq import LSQ, integers, quantize
from spikesim.compression.pruning import GradualSparsity, importance, prune, sparsity
from spikesim.compression.usage import usage, uses

__all__ = [
    "LSQ",
    "GradualSparsity",
    "fold",
    "importance",
    "integers",
    "prune",
    "quantize",
    "sparsity",
    "usage",
    "uses",
]

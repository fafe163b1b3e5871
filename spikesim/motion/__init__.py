"""One layer of synapses of all delays that tells how a scene moves, from events."""

from spikesim.motion.detector import MotionDetector, fit, mean_evidence
from spikesim.motion.scatter import operations, scatter
from spikesim.motion.sparse import half_saturation, pruned, shortened

__all__ = [
    "MotionDetector",
    "fit",
    "half_saturation",
    "mean_evidence",
    "operations",
    "pruned",
    "scatter",
    "shortened",
]

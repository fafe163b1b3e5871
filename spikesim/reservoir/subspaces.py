"""Angles between the subspaces of two sets of vectors, and what they would be by chance."""

import numpy as np
from numpy.typing import NDArray

from spikesim.errors import UserError
from spikesim.reservoir.rls import Array


def leading(vectors: NDArray[np.floating], dimensions: int) -> Array:
    """An orthonormal basis ``[n, dimensions]`` of most of ``vectors [many, n]``.

    Raises:
        UserError: the vectors have fewer dimensions.

    >>> leading(np.array([[0.0, 2.0], [0.1, 0.0]]), 1).round(3).ravel().tolist()
    [0.0, 1.0]
    """
    _, sizes, rows = np.linalg.svd(np.asarray(vectors, np.float64), full_matrices=False)
    rank = int((sizes > 1e-12 * sizes[0]).sum()) if sizes[0] > 0 else 0
    if not 1 <= dimensions <= rank:
        raise UserError(f"dimensions must be from 1 to {rank}, the rank, got {dimensions}")
    basis: Array = rows[:dimensions].T
    return np.where(basis.sum(0) < 0, -basis, basis)


def principal_angles(first: NDArray[np.floating], second: NDArray[np.floating]) -> Array:
    r"""Angles between the spans of the columns of two matrices, degrees, ascending.

    They are :math:`\arccos` of the singular values of :math:`Q_1^T Q_2` for orthonormal bases.

    >>> x, y = np.eye(3)[:, :2], np.eye(3)[:, 1:]  # two planes that share a line
    >>> principal_angles(x, y).round(6).tolist()
    [0.0, 90.0]
    """
    bases = (np.linalg.qr(np.asarray(matrix, np.float64))[0] for matrix in (first, second))
    one, other = bases
    cosines = np.linalg.svd(one.T @ other, compute_uv=False)
    return np.asarray(np.degrees(np.arccos(np.clip(cosines, -1.0, 1.0))), np.float64)


def shuffled_angles(
    first: NDArray[np.floating],
    second: NDArray[np.floating],
    dimensions: int,
    *,
    seed: int,
    count: int = 1000,
) -> tuple[float, Array]:
    """The mean principal angle of two sets of vectors, and of the same vectors in other two sets.

    Args:
        first, second: ``[many, n]`` each; labels say which set a vector is of, and are shuffled.
        dimensions: of the leading subspaces that are compared.
        seed: of the shuffles.
        count: of the shuffles.

    Returns:
        The angle, and those of the shuffles ``[count]``, degrees.
    """
    both = np.concatenate([first, second])
    # What matters lies in the span of the vectors: a space of fewer dimensions than neurons.
    _, sizes, rows = np.linalg.svd(both, full_matrices=False)
    short = both @ rows[sizes > 1e-12 * sizes[0]].T
    random = np.random.default_rng(seed)

    def angle(order: NDArray[np.integer]) -> float:
        sets = short[order[: len(first)]], short[order[len(first) :]]
        return float(principal_angles(*(leading(part, dimensions) for part in sets)).mean())

    shuffled = [angle(random.permutation(len(both))) for _ in range(count)]
    return angle(np.arange(len(both))), np.array(shuffled)

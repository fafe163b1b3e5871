r"""Energy of products and sums by number format: from counts to terms of the table of operations.

Floating point of 32 and 16 bits as published. Integers of any width between and beyond what is
published: an adder grows as its bits, a multiplier as the product of the bits of its factors, each
drawn straight through the published 8 and 32 bits (ours),

.. math::
    e_+(b) = e_+(8) + \tfrac{b - 8}{24}\,(e_+(32) - e_+(8)), \qquad
    e_\times(p) = e_\times(8) + \tfrac{p - 64}{960}\,(e_\times(32) - e_\times(8)),
    \quad p = b_1 b_2

and below 8 and beyond 32 bits through zero.
"""

from spikesim.energy.model import Term
from spikesim.errors import UserError

FLOAT_BITS = (16, 32)


def products(
    macs: float,
    acs: float,
    weight: int,
    activation: int,
    *,
    accumulator: int = 32,
    is_float: bool | None = None,
) -> list[Term]:
    """Terms of multiply-accumulate (``macs``) and accumulate operations (``acs``).

    Args:
        macs, acs: how many.
        weight, activation: bits of the factors.
        accumulator: bits of the sum, of integers.
        is_float: floating point or integers; ``None``: floating point where both factors have 16
            bits or both have 32.
    """
    if is_float is None:
        is_float = weight == activation and weight in FLOAT_BITS
    if is_float:
        kept = [("mac", macs), ("ac", acs)]
        terms = [Term("compute", f"{what}_float{weight}", count) for what, count in kept]
    else:
        terms = [*multiplications(macs, weight, activation), *additions(macs + acs, accumulator)]
    return [term for term in terms if term.count]


def additions(count: float, bits: int, part: str = "compute") -> list[Term]:
    """Terms of integer additions."""
    return _between("add", count, bits, 8, 32, part)


def multiplications(count: float, first: int, second: int, part: str = "compute") -> list[Term]:
    """Terms of integer products."""
    return _between("multiply", count, first * second, 64, 1024, part)


def check_accumulator(bits: int) -> None:
    """Refuse sums of no bits."""
    if not bits >= 1:
        raise UserError(f"accumulator must have >= 1 bits, got {bits}")


def _between(name: str, count: float, size: int, low: int, high: int, part: str) -> list[Term]:
    """A straight line through the published sizes ``low`` and ``high``."""
    if size <= low:
        return [Term(part, f"{name}_8", count * size / low)]
    share = (size - low) / (high - low)
    if share >= 1.0:
        return [Term(part, f"{name}_32", count * size / high)]
    return [
        Term(part, f"{name}_8", count * (1.0 - share)),
        Term(part, f"{name}_32", count * share),
    ]

"""Numbers as people read them: counts and joules with a prefix."""

_LARGE = ((12, "T"), (9, "G"), (6, "M"), (3, "k"))
_SMALL = ((0, ""), (-3, "m"), (-6, "u"), (-9, "n"), (-12, "p"))


def si(number: float) -> str:
    """A count with three or four digits and a prefix.

    >>> si(0), si(999), si(12_345), si(6.5e9)
    ('0', '999', '12.35 k', '6.5 G')
    """
    for exponent, prefix in _LARGE:
        if abs(number) >= 10**exponent:
            return f"{number / 10**exponent:.4g} {prefix}"
    return f"{number:.4g}"


def joule(energy: float) -> str:
    """An energy given in joule.

    >>> joule(0.0), joule(3.2e-7), joule(0.0123), joule(4600.0)
    ('0 J', '320 nJ', '12.3 mJ', '4.6 kJ')
    """
    for exponent, prefix in (*_LARGE, *_SMALL):
        if abs(energy) >= 10.0**exponent * 0.9995:
            return f"{float(f'{energy:.3g}') / 10.0**exponent:.3g} {prefix}J"
    return f"{energy / 1e-12:.3g} pJ" if energy else "0 J"


def percent(rate: float | None) -> str:
    """A firing rate; empty if there is none."""
    return "" if rate is None else f"{rate:.1%}"


def several(number: float, what: str) -> str:
    """How many of something.

    >>> several(1, "bit"), several(2.54321, "step")
    ('1 bit', '2.543 steps')
    """
    return f"{number:.4g} {what}{'s' * (number != 1)}"

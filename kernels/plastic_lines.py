"""numba lines that take a tile of plastic synapses through what came to it.

A value of each synapse is a row of the tile, ``row_...``; a loop over a row becomes vectors, and
what lies in other arrays is picked for a whole row at a time, as loops that read there would not.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from spikesim.kernels.plastic import ELIGIBILITY, SENT, WEIGHT, Part, PlasticProgram
from spikesim.kernels.plastic_state import NEWEST
from spikesim.kernels.step_numba import arg, text


@dataclass(frozen=True)
class PlasticVariant:
    """What of a projection is fixed when the text is printed."""

    real: str
    """dtype of weights, traces and arithmetic."""
    place: str
    is_spread: bool
    """Whether a place holds the delay too."""
    long: tuple[str, ...]
    """Traces, or the eligibility, whose decays lie in two tables."""
    is_each: bool = False
    """Whether the modulator has a value for each receiver."""

    @property
    def ring(self) -> str:
        """dtype of a ring."""
        return "int64" if self.real == "float64" else "int32"


class TileLines:
    """The lines, for one rule."""

    def __init__(self, program: PlasticProgram, variant: PlasticVariant) -> None:
        self.program, self.variant = program, variant
        self.delay = "delay"
        if variant.is_spread:
            self.delay = "int64(read(int32(0), row_delay, i))"
        self.behind = " + read(int32(0), row_delay, i)" if variant.is_spread else ""

    @property
    def heard(self) -> list[tuple[int, str]]:
        """Traces of the receiver that a sender's spike meets, with their places."""
        return [(i, name) for i, name in enumerate(self.program.post) if name in self.program.heard]

    @property
    def hears_alike(self) -> bool:
        """Whether all synapses of a receiver meet its traces at once."""
        return bool(self.program.heard) and not self.variant.is_spread

    def rooms(self) -> Iterator[str]:
        """Rows of a tile."""
        names = [
            "place",
            "target",
            "delay",
            "w",
            "e",
            "sent",
            "total",
            "late",
            "s",
            "gone",
            "index",
        ]
        names += ["more", "at", "f", "met", "from", "to", "grown", "e_left"]
        names += [f"my_{name}" for name in (*self.program.pre, *self.program.post)]
        for name in ("spare", *(f"row_{name}" for name in names)):
            yield f"{name} = room()"

    def load(self) -> Iterator[str]:
        """Targets, delays, weights and eligibilities of a tile."""
        yield "n_32 = int32(n)"
        yield "take_place(row_place, place, first, n, spare)"
        yield "for i in range(WIDTH):"
        yield "    at = int64(read(place_number(0), row_place, i))"
        if self.variant.is_spread:
            # Exact: 53 bits tell every place from the next one.
            yield "    late = int64((float64(at) + 0.5) * inverse_targets)"
            yield "    write(row_delay, i, int32(select(i < n, late, int64(0))))"
            yield "    at = at - late * targets"
        yield "    write(row_target, i, select(above(n_32, int32(i)), int32(at), int32(0)))"
        yield "take_real(row_w, weight, first, n, spare)"
        if self.program.has_eligibility:
            yield "take_real(row_e, eligible, first, n, spare)"
            yield "for i in range(WIDTH):"
            yield "    write(row_at, i, int32(greatest(last, step - step % window)))"

    def replay(self) -> Iterator[str]:
        """Take up the spikes of receivers in ``(lower, now]``, the oldest first."""
        program, on_post = self.program, self.program.on_post
        is_late = bool(program.heard) and self.variant.is_spread
        if not (on_post.after or is_late):
            return
        # Steps are counted from the oldest one that 16 bits reach; where all delays are equal, from
        # so much earlier, so that none needs to be added.
        yield "zero_step = oldest" if self.variant.is_spread else "zero_step = oldest + delay"
        yield "lower_32, now_32 = int32(lower - zero_step), int32(step - zero_step)"
        yield "last_32, zero_32 = int32(last - zero_step), int32(zero_step)"
        yield "depth_32, last_kept, oldest_32 = int32(depth), int32(depth - 1), int32(oldest)"
        if is_late:
            yield "for i in range(WIDTH):"
            yield "    write(row_late, i, int32(0))"
        if program.before_post:
            yield "pick_int32(row_total, totals, row_target)"
        yield "many, most = 0, 4"
        yield "while most == 4:"
        yield "    row_a = kept + 4 * WIDTH * many"
        for one, two in ("ab", "bc", "cd"):
            yield f"    row_{two} = row_{one} + 4 * WIDTH"
        yield "    if is_near and many < NEWEST:"
        yield "        pick_codes(row_a, near + 2 * many * padded, row_target)"
        yield "    else:"
        if not program.before_post:
            yield "        pick_int32(row_total, totals, row_target)"
        for k, name in enumerate("abcd"):
            for line in self._kept(f"many + {k}"):
                yield "        " + line
            yield f"        pick_int32(row_{name}, steps_kept, row_index)"
            yield "        for i in range(WIDTH):"
            yield f"            {name} = int32(read(int32(0), row_{name}, i) - oldest_32)"
            yield f"            write(row_{name}, i, {name})"
        # Newer spikes come first, so that the longest row of them tells how many there are.
        found = [f"is_{name}" for name in "abcd"]
        yield f"    {', '.join(found)} = False, False, False, False"
        yield "    for i in range(WIDTH):"
        for name in "abcd":
            yield f"        {name} = int32(read(int32(0), row_{name}, i){self.behind})"
            yield f"        is_{name} |= above({name}, lower_32)"
        if is_late:
            yield "        late = read(int32(0), row_late, i)"
            for name in "abcd":
                yield f"        late = int32(late + int32(not above(now_32, {name})))"
            yield "        write(row_late, i, late)"
        yield f"    most = {' + '.join(f'int64({name})' for name in found)}"
        yield "    many += 4"
        yield "many_kept = many"
        if not on_post.after:
            return
        yield "many = many - 4 + most"
        # The row beyond holds no spike to take up, but may say when a synapse changed last.
        yield f"for r in range(many{'' if program.has_eligibility else ' - 1'}, -1, -1):"
        yield "    take_int32(row_s, kept, r * WIDTH, WIDTH, spare)"
        for line in self._round():
            yield "    " + line

    def _kept(self, r: str) -> Iterator[str]:
        """Where spike ``r`` of each receiver is kept, counted from the newest."""
        yield "for i in range(WIDTH):"
        yield f"    turn = int32(read(int32(0), row_total, i) - int32(1 + {r})) & last_kept"
        yield "    write(row_index, i, int32(depth_32 * read(int32(0), row_target, i) + turn))"

    def _round(self) -> Iterator[str]:
        program, on_post = self.program, self.program.on_post
        is_due = "is_due = above(s, lower_32) & (not above(s, now_32))"
        read = [name for name in program.pre if name in on_post.reads(program.pre)]
        if program.has_eligibility:
            yield "for i in range(WIDTH):"
            yield f"    s = int32(read(int32(0), row_s, i){self.behind})"
            yield "    at = read(int32(0), row_at, i)"
            yield f"    {is_due}"
            yield "    is_taken = not above(s, lower_32)"
            yield "    s = int32(s + zero_32)"
            yield "    at = select(is_taken & above(s, at), s, at)"
            yield "    write(row_at, i, at)"
            yield "    write(row_met, i, select(is_due, s, at))"
            yield from self._bring_to_met()
        if read:
            yield "for i in range(WIDTH):"
            yield f"    s = int32(read(int32(0), row_s, i){self.behind})"
            yield f"    {is_due}"
            yield "    write(row_gone, i, select(is_due, int32(s - last_32), int32(0)))"
        for name in read:
            yield from self._lookup(name, f"row_my_{name}")
        if program.before_post:
            yield from self._kept("r")
        for i, name in enumerate(program.post):
            if name in program.before_post:
                yield f"pick_real(row_my_{name}, before_post_{i}, row_index)"
        yield "for i in range(WIDTH):"
        yield f"    s = int32(read(int32(0), row_s, i){self.behind})"
        yield f"    {is_due}"
        for name in read:
            left = f"load_real(row_my_{name}, i)"
            yield f"    my_{name} = rest_{name} + (old_{name} - rest_{name}) * {left}"
        for name in program.before_post:
            yield f"    my_{name} = load_real(row_my_{name}, i)"
        for line in self._changed(on_post):
            yield "    " + line
        for name in on_post.after:
            yield f"    write(row_{name}, i, select(is_due, new_{name}, my_{name}))"

    def _changed(self, part: Part) -> Iterator[str]:
        """A synapse's lines, with the weight kept within its bounds."""
        yield "my_w = load_real(row_w, i)"
        if self.program.has_eligibility:
            yield "my_e = load_real(row_e, i)"
        yield from (text(line) for line in part.lines)
        for name, value in part.after.items():
            yield f"new_{name} = real({arg(value)})"
        if WEIGHT in part.after:
            yield from self._clamped("new_w")

    def _clamped(self, name: str) -> Iterator[str]:
        yield f"{name} = select({name} >= low, {name}, low)"
        # One instruction, which the other order of the comparison is not.
        yield f"{name} = select(high < {name}, high, {name})"

    def receivers(self) -> Iterator[str]:
        """Traces of receivers after their last spike before now."""
        if self.hears_alike:
            yield from (f"pick_real(row_my_{n}, heard_{i}, row_target)" for i, n in self.heard)
        if self.hears_alike or not self.heard:
            return
        yield "for i in range(WIDTH):"
        yield "    late = read(int32(0), row_late, i)"
        yield f"    write(row_index, i, int32({NEWEST} * read(int32(0), row_target, i) + late))"
        yield "crowd = int32(0)"
        yield f"if many_kept > {NEWEST}:"
        yield "    for i in range(WIDTH):"
        yield "        late = read(int32(0), row_late, i)"
        yield "        crowd = select(above(late, crowd), late, crowd)"
        yield f"if crowd < {NEWEST}:"
        yield "    pick_int32(row_s, newest, row_index)"
        for i, name in self.heard:
            yield f"    pick_real(row_my_{name}, newest_{i}, row_index)"
        yield "else:"
        for line in self._kept("read(int32(0), row_late, i)"):
            yield "    " + line
        yield "    pick_int32(row_s, steps_kept, row_index)"
        for i, name in self.heard:
            yield f"    pick_real(row_my_{name}, after_{i}, row_index)"
        yield "now_32 = int32(step)"
        yield "for i in range(WIDTH):"
        yield "    s = int32(read(int32(0), row_s, i) + $delay)"
        yield "    write(row_gone, i, int32(now_32 - s))"
        for _, name in self.heard:
            yield from self._fade(name)

    def hear(self) -> Iterator[str]:
        """The same of a tile of receivers, ``row_gone`` steps after these."""
        for i, name in self.heard:
            yield f"take_real(row_my_{name}, met_{i}, first, WIDTH, spare)"
            yield from self._fade(name)
            yield f"give_real(heard_{i}, first, row_my_{name}, WIDTH, spare)"

    def _fade(self, name: str) -> Iterator[str]:
        yield from self._lookup(name, "row_f")
        yield "for i in range(WIDTH):"
        value = f"(load_real(row_my_{name}, i) - rest_{name}) * load_real(row_f, i)"
        yield f"    write(row_my_{name}, i, rest_{name} + {value})"

    def _lookup(self, name: str, row: str) -> Iterator[str]:
        """What is left of a trace after ``row_gone`` steps."""
        if name not in self.variant.long:
            yield "for i in range(WIDTH):"
            yield "    gone_i = read(int32(0), row_gone, i)"
            yield f"    write(row_index, i, lesser(gone_i, int32(end_{name})))"
            yield f"pick_real({row}, fine_{name}, row_index)"
            return
        yield "for i in range(WIDTH):"
        yield "    gone_i = int64(read(int32(0), row_gone, i))"
        yield "    write(row_index, i, int32(gone_i % FINE))"
        yield f"    write(row_more, i, int32(least(gone_i // FINE, end_{name})))"
        yield f"pick_real({row}, fine_{name}, row_index)"
        yield f"pick_real(row_grown, coarse_{name}, row_more)"
        yield "for i in range(WIDTH):"
        yield f"    write({row}, i, load_real({row}, i) * load_real(row_grown, i))"

    def bring(self) -> Iterator[str]:
        """Let weights follow their eligibilities up to a step, and these decay."""
        if self.program.has_eligibility:
            yield "for i in range(WIDTH):"
            yield "    write(row_met, i, int32(end))"
            yield from self._bring_to_met()

    def _bring_to_met(self) -> Iterator[str]:
        place = "{0}"
        if self.variant.is_each:
            place = "int64({0}) * targets + read(int32(0), row_target, i)"
        yield "base = step - step % window"
        yield "for i in range(WIDTH):"
        yield "    at, met = read(int32(0), row_at, i), read(int32(0), row_met, i)"
        yield "    write(row_index, i, int32(at - base))"
        yield f"    write(row_from, i, int32({place.format('(at - base)')}))"
        yield f"    write(row_to, i, int32({place.format('(met - base)')}))"
        yield "    write(row_gone, i, int32(met - at))"
        yield "    write(row_at, i, met)"
        yield "pick_float64(row_grown, grown, row_index)"
        yield "pick_float64(row_e_left, sums, row_from)"
        yield "pick_float64(row_sent, sums, row_to)"
        yield "for i in range(WIDTH):"
        yield "    sum_ = read(float64(0), row_sent, i) - read(float64(0), row_e_left, i)"
        yield "    my_e = load_real(row_e, i)"
        yield "    new_w = load_real(row_w, i)"
        yield "    new_w = new_w + my_e * real(sum_ * read(float64(0), row_grown, i))"
        for line in self._clamped("new_w"):
            yield "    " + line
        yield "    write(row_w, i, new_w)"
        yield from self._lookup(ELIGIBILITY, "row_f")
        yield "for i in range(WIDTH):"
        yield "    write(row_e, i, load_real(row_e, i) * load_real(row_f, i))"

    def act(self) -> Iterator[str]:
        """What a sender's spike does, and what it sends."""
        on_pre = self.program.on_pre
        for name in on_pre.reads(self.program.pre):
            yield f"my_{name} = now_{name}"
        for name in self.program.heard:
            yield f"my_{name} = load_real(row_my_{name}, i)"
        yield from self._changed(on_pre)
        for name in on_pre.after:
            if name != SENT:
                yield f"write(row_{name}, i, new_{name})"
        sent = "my_w"
        if SENT in on_pre.after:
            sent = f"new_{SENT}"
            # The quantum was chosen for these; the order of comparisons lets no NaN pass.
            yield "least_sent = select(low < real(0), low, real(0))"
            yield "most_sent = select(high > real(0), high, real(0))"
            yield f"{sent} = select({sent} >= least_sent, {sent}, least_sent)"
            yield f"{sent} = select(most_sent < {sent}, most_sent, {sent})"
        if SENT not in on_pre.after and WEIGHT in on_pre.after:
            sent = "new_w"
        yield f"write(row_sent, i, ring_number(nearest({sent} * scale)))"

    def send(self) -> Iterator[str]:
        """Add what is sent to the ring."""
        sent = "int64(read(ring_number(0), row_sent, {0}))"
        if self.variant.is_spread:
            yield "for i in range(n):"
            yield "    slot = (step + $delay) & (slots - 1)"
            yield "    at = slot * targets + int64(read(int32(0), row_target, i))"
            yield f"    add(ring_number(0), ring, at, {sent.format('i')})"
            return
        yield "row_ring = ring + RING * (((step + delay) & (slots - 1)) * targets)"
        # Two targets are one load, and loads are what this takes its time for.
        yield "for i in range(n // 2):"
        yield "    two = load_uint64(row_target, i)"
        for k, target in enumerate(("two & uint64(0xFFFFFFFF)", "two >> uint64(32)")):
            value = sent.format(f"2 * i + {k}")
            yield f"    add(ring_number(0), row_ring, int64({target}), {value})"
        yield "if n & 1:"
        yield "    target = int64(read(int32(0), row_target, n - 1))"
        yield f"    add(ring_number(0), row_ring, target, {sent.format('n - 1')})"

    def give(self) -> Iterator[str]:
        """Put back what has changed."""
        if self.program.is_plastic:
            yield "give_real(weight, first, row_w, n, spare)"
        if self.program.has_eligibility:
            yield "give_real(eligible, first, row_e, n, spare)"

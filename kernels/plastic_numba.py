"""What the printed loops of plastic synapses do beside a rule's lines.

Importing this module imports numba, so it is imported inside functions.
"""
# mypy: disable-error-code="no-untyped-def, no-untyped-call, import-untyped"

from llvmlite import ir
from numba import cfunc, njit, types
from numba.extending import intrinsic
from numpy import float64

from spikesim.kernels.engine_numba import SIGNATURE
from spikesim.kernels.memory_numba import F32, F64, I1, I32, I64, least, load_int64, read, write
from spikesim.kernels.plastic_state import FINE
from spikesim.kernels.time_loop_numba import WIDTH

LANES = 16
"""Elements that are gathered at once."""


def _gathered(context, builder, element, array, places):
    """A vector of ``array[places]``; llvmlite itself knows no vectors of pointers."""
    size, count = context.get_abi_sizeof(element), places.type.count
    pointers = ir.VectorType(element.as_pointer(), count)
    vector, mask = ir.VectorType(element, count), ir.VectorType(I1, count)
    kind = f"{'i' if isinstance(element, ir.IntType) else 'f'}{8 * size}"
    name = f"llvm.masked.gather.v{count}{kind}.v{count}p0"
    function = builder.module.globals.get(name) or ir.Function(
        builder.module, ir.FunctionType(vector, [pointers, I32, mask, vector]), name
    )
    base = builder.inttoptr(array, element.as_pointer())
    found = builder.gep(base, [places], source_etype=element)
    found.type = pointers
    every, nothing = ir.Constant(mask, [1] * count), ir.Constant(vector, ir.Undefined)
    return builder.call(function, [found, I32(size), every, nothing])


def _piece(builder, row, size, k, element):
    """A pointer to piece ``k`` of a row, of ``LANES`` elements."""
    kind = ir.VectorType(element, LANES).as_pointer()
    return builder.inttoptr(builder.add(row, I64(size * LANES * k)), kind)


def _pick(element):
    @intrinsic
    def pick(typing, row, array, places):
        """``row[i] = array[places[i]]`` for a tile; places are int32."""

        def code(context, builder, signature, args):
            row, array, places = args
            size = context.get_abi_sizeof(element)
            for k in range(WIDTH // LANES):
                index = builder.load(_piece(builder, places, 4, k, I32))
                found = _gathered(context, builder, element, array, index)
                builder.store(found, _piece(builder, row, size, k, element))
            return context.get_dummy_value()

        return types.void(*[types.int64] * 3), code

    return pick


pick_float32, pick_float64, pick_int32 = _pick(F32), _pick(F64), _pick(I32)


@intrinsic
def pick_codes(typing, rows, array, places):
    """Four rows of 16-bit numbers, ``array[4 * places[i]:][:4]``, for a tile.

    They are one load, and loads are what a gather takes its time for.
    """

    def code(context, builder, signature, args):
        rows, array, places = args
        for k in range(WIDTH // LANES):
            index = builder.load(_piece(builder, places, 4, k, I32))
            found = []
            for first in (0, LANES // 2):
                half = _chosen(builder, index, index, range(first, first + LANES // 2))
                codes = _gathered(context, builder, I64, array, half)
                found.append(builder.bitcast(codes, index.type))
            one, two = found
            for r in (0, 1):
                pair = _chosen(builder, one, two, range(r, 2 * LANES, 2))
                low = builder.and_(pair, ir.Constant(pair.type, [0xFFFF] * LANES))
                high = builder.lshr(pair, ir.Constant(pair.type, [16] * LANES))
                for row, vector in zip((2 * r, 2 * r + 1), (low, high), strict=True):
                    piece = k + row * (WIDTH // LANES)
                    builder.store(vector, _piece(builder, rows, 4, piece, I32))
        return context.get_dummy_value()

    return types.void(*[types.int64] * 3), code


def _chosen(builder, a, b, lanes):
    """Some lanes of two vectors, counted through both."""
    lanes = list(lanes)
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(I32, len(lanes)), lanes))


@intrinsic
def above(typing, a, b):
    """Whether ``a > b``, of int32: numba compares all whole numbers as int64."""

    def code(context, builder, signature, args):
        return builder.icmp_signed(">", *args)

    return types.boolean(types.int32, types.int32), code


@intrinsic
def lesser(typing, a, b):
    """The smaller of two int32."""

    def code(context, builder, signature, args):
        return builder.select(builder.icmp_signed("<", *args), *args)

    return types.int32(types.int32, types.int32), code


@njit(cache=True, forceinline=True)
def decay(zero, fine, coarse, last, delta):
    """What is left after ``delta`` steps; as the loops over tiles look it up.

    Args:
        zero: of the type of the tables.
        fine, coarse: addresses; ``coarse`` is 0 where one table holds all.
        last: index of the last entry of ``coarse``, else of ``fine``.
        delta: steps, >= 0.
    """
    if coarse == 0:
        return read(zero, fine, least(delta, last))
    return read(zero, fine, delta % FINE) * read(zero, coarse, least(delta // FINE, last))


@cfunc(SIGNATURE, cache=True, error_model="numpy")
def modulate(table, begin, steps, thread):
    """Note the values of a modulator in each step of a block, and let them decay.

    Table: ranges, values, how many, levels of a block, last row, factor of a step.
    """
    ranges, values, width = load_int64(table, 0), load_int64(table, 1), load_int64(table, 2)
    levels, last_row = load_int64(table, 3), load_int64(table, 4)
    factor = read(float64(0), load_int64(table, 5), 0)
    start, stop = load_int64(ranges, thread), load_int64(ranges, thread + 1)
    for step in range(begin, begin + steps):
        for i in range(start, stop):
            value = read(float64(0), values, i)
            write(levels, (step & last_row) * width + i, value)
            write(values, i, value * factor)


@cfunc(SIGNATURE, cache=True, error_model="numpy")
def accumulate(table, begin, steps, thread):
    """Add ``dt M(n) exp(-(n - base) dt / tau)`` to the sums of a block, base at whole windows.

    Table: ranges, values of the modulator, levels of a block, last row; sums ``[window + 1,
    values]``, decays ``[window]`` times dt, window.
    """
    ranges, width = load_int64(table, 0), load_int64(table, 1)
    levels, last_row = load_int64(table, 2), load_int64(table, 3)
    sums, decays, window = load_int64(table, 4), load_int64(table, 5), load_int64(table, 6)
    start, stop = load_int64(ranges, thread), load_int64(ranges, thread + 1)
    for step in range(begin, begin + steps):
        k = step % window
        factor = read(float64(0), decays, k)
        for i in range(start, stop):
            level = read(float64(0), levels, (step & last_row) * width + i)
            grown = read(float64(0), sums, k * width + i) + level * factor
            write(sums, (k + 1) * width + i, grown)


@njit(cache=True, forceinline=True)
def greatest(a, b):
    """The larger of two integers."""
    return a + b - least(a, b)

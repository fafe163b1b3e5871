"""Rows of a tile of ``WIDTH`` neurons, which the printed numba loops keep on the stack.

All reads and writes of a row are of the same length, and no other address leads there: LLVM turns
rows into vector registers that live through the loop over time. A tile that lacks neurons goes
through ``spare``, a row of scratch memory.

Importing this module imports numba, so it is imported inside functions.
"""
# mypy: disable-error-code="no-untyped-def, no-untyped-call, import-untyped"

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from spikesim.kernels.memory_numba import F32, F64, I1, I8, I16, I32, I64
from spikesim.kernels.time_loop_numba import WIDTH


@intrinsic
def room(typing):
    """A row of numbers on the stack; its address."""

    def code(context, builder, signature, args):
        row = cgutils.alloca_once(builder, ir.ArrayType(F64, WIDTH))
        row.align = 64
        return builder.ptrtoint(row, I64)

    return types.int64(), code


def _rows(element):
    """``take``, ``give`` and ``move`` of ``WIDTH`` elements."""
    pointer = I8.as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [pointer, pointer, I64, I1])

    def transfer(builder, to, source, size):
        function = builder.module.declare_intrinsic("llvm.memcpy", [pointer, pointer, I64], kind)
        ends = [builder.inttoptr(end, pointer) for end in (to, source)]
        builder.call(function, [*ends, size, I1(0)])

    def place(context, builder, array, index, n):
        size = context.get_abi_sizeof(element)
        address = builder.add(array, builder.mul(index, I64(size)))
        is_short = builder.icmp_signed("<", n, I64(WIDTH))
        return address, is_short, builder.mul(n, I64(size)), I64(WIDTH * size)

    @intrinsic
    def take(typing, row, array, index, n, spare):
        """``row[:n] = array[index:][:n]``, the rest undefined; zeros if there is no array."""

        def code(context, builder, signature, args):
            row, array, index, n, spare = args
            address, is_short, size, whole = place(context, builder, array, index, n)
            with builder.if_else(builder.icmp_signed("!=", array, I64(0))) as (there, absent):
                with there:
                    with builder.if_then(is_short, likely=False):
                        transfer(builder, spare, address, size)
                    transfer(builder, row, builder.select(is_short, spare, address), whole)
                with absent:
                    zeros = ir.Constant(ir.ArrayType(element, WIDTH), None)
                    builder.store(zeros, builder.inttoptr(row, zeros.type.as_pointer()))
            return context.get_dummy_value()

        return types.void(*[types.int64] * 5), code

    @intrinsic
    def give(typing, array, index, row, n, spare):
        """``array[index:][:n] = row[:n]``; nothing if there is no array."""

        def code(context, builder, signature, args):
            array, index, row, n, spare = args
            address, is_short, size, whole = place(context, builder, array, index, n)
            with builder.if_then(builder.icmp_signed("!=", array, I64(0))):
                transfer(builder, builder.select(is_short, spare, address), row, whole)
                with builder.if_then(is_short, likely=False):
                    transfer(builder, address, spare, size)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 5), code

    @intrinsic
    def move(typing, to, source):
        """``to[:WIDTH] = source[:WIDTH]``."""

        def code(context, builder, signature, args):
            to, source = args
            transfer(builder, to, source, I64(WIDTH * context.get_abi_sizeof(element)))
            return context.get_dummy_value()

        return types.void(types.int64, types.int64), code

    return take, give, move


take_float32, give_float32, move_float32 = _rows(F32)
take_float64, give_float64, move_float64 = _rows(F64)
take_float16, give_float16, _ = _rows(I16)
take_bfloat16, give_bfloat16 = take_float16, give_float16
_, give_uint8, _ = _rows(I8)
take_int32, give_int32, _ = _rows(I32)
take_int64, give_int64, _ = _rows(I64)


def _bits(element):
    @intrinsic
    def give_bits(typing, words, row, n):
        """Write whether each of ``row[:n]`` is at least 1/2, as bits of whole 32-bit words."""

        def code(context, builder, signature, args):
            words, row, n = args
            kind = ir.VectorType(element, WIDTH)
            value = builder.load(builder.inttoptr(row, kind.as_pointer()))
            flags = builder.fcmp_ordered(">=", value, ir.Constant(kind, [0.5] * WIDTH))
            size = ir.IntType(WIDTH)
            # A shift by all bits is undefined: n is at least 1.
            unused = builder.sub(I64(WIDTH), n)
            all_ = builder.lshr(size(-1), unused)
            bits = builder.and_(builder.bitcast(flags, size), all_)
            with builder.if_else(builder.icmp_signed(">", n, I64(32))) as (two, one):
                with two:
                    builder.store(bits, builder.inttoptr(words, size.as_pointer()), align=4)
                with one:
                    low = builder.trunc(bits, I32)
                    builder.store(low, builder.inttoptr(words, I32.as_pointer()))
            return context.get_dummy_value()

        return types.void(*[types.int64] * 3), code

    return give_bits


give_bits_float32, give_bits_float64 = _bits(F32), _bits(F64)

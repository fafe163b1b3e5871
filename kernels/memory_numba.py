"""Loads, stores and selects of the printed numba loops: addresses in, vectors out.

An address is an integer; an optional array is the address 0. Reads and writes neither check nor
wrap an index, so LLVM sees plain strided memory; nothing here branches, so loops stay vectors.
16-bit floats are converted by their bits, as numba has no such floats on the CPU: exactly on the
way in, rounding to nearest even on the way out, infinities and NaN kept.

Importing this module imports numba, so it is imported inside functions.
"""
# mypy: disable-error-code="no-untyped-def, no-untyped-call, import-untyped"

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

I1, I8, I16, I32, I64 = (ir.IntType(size) for size in (1, 8, 16, 32, 64))
F32, F64 = ir.FloatType(), ir.DoubleType()


def _whole(builder, value):
    return value


def _from_bfloat16(builder, bits):
    return builder.bitcast(builder.shl(builder.zext(bits, I32), I32(16)), F32)


def _to_bfloat16(builder, value):
    bits = builder.bitcast(value, I32)
    odd = builder.and_(builder.lshr(bits, I32(16)), I32(1))
    rounded = builder.add(bits, builder.add(odd, I32(0x7FFF)))
    # Rounding up could carry a NaN into infinity: set a bit of its fraction instead.
    nan = builder.fcmp_unordered("uno", value, value)
    kept = builder.select(nan, builder.or_(bits, I32(0x400000)), rounded)
    return builder.trunc(builder.lshr(kept, I32(16)), I16)


def _from_float16(builder, bits):
    wide = builder.zext(bits, I32)
    sign = builder.shl(builder.and_(wide, I32(0x8000)), I32(16))
    rest = builder.shl(builder.and_(wide, I32(0x7FFF)), I32(13))
    # The exponent counts from 112 less; a product moves subnormals too, exactly.
    scaled = builder.fmul(builder.bitcast(rest, F32), _float(0x77800000))
    finite = builder.bitcast(scaled, I32)
    infinite = builder.icmp_unsigned(">=", rest, I32(0x0F800000))
    size = builder.select(infinite, builder.or_(rest, I32(0x7F800000)), finite)
    return builder.bitcast(builder.or_(size, sign), F32)


def _to_float16(builder, value):
    bits = builder.bitcast(value, I32)
    sign = builder.and_(builder.lshr(bits, I32(16)), I32(0x8000))
    size = builder.and_(bits, I32(0x7FFFFFFF))
    # Subnormal results: adding 1/2 leaves units of 2**-24 in the fraction, rounded by the addition.
    lifted = builder.fadd(builder.bitcast(size, F32), _float(0x3F000000))
    small = builder.sub(builder.bitcast(lifted, I32), I32(0x3F000000))
    odd = builder.and_(builder.lshr(size, I32(13)), I32(1))
    moved = builder.add(size, builder.add(odd, I32((0xFFF - (112 << 23)) & 0xFFFFFFFF)))
    normal = builder.lshr(moved, I32(13))
    half = builder.select(builder.icmp_unsigned("<", size, I32(0x38800000)), small, normal)
    # From 65,520 up the normal way carries into infinity; beyond 65,536 the exponent overflows.
    half = builder.select(builder.icmp_unsigned(">=", size, I32(0x47800000)), I32(0x7C00), half)
    half = builder.select(builder.icmp_unsigned(">", size, I32(0x7F800000)), I32(0x7E00), half)
    return builder.trunc(builder.or_(half, sign), I16)


def _float(bits):
    """The float32 of these bits."""
    return I32(bits).bitcast(F32)


def _to_uint8(builder, value):
    return builder.trunc(builder.fptosi(value, I32), I8)


def _load(memory, kind, convert=_whole):
    """``load(address, index)`` of ``memory`` type, as ``kind``."""

    @intrinsic
    def load(typing, address, index):
        def code(context, builder, signature, args):
            return convert(builder, builder.load(_pointer(builder, memory, *args)))

        return kind(types.int64, types.int64), code

    return load


def _store(memory, kind, convert=_whole):
    """``store(address, index, value)`` of a ``kind``, as ``memory`` type."""

    @intrinsic
    def store(typing, address, index, value):
        def code(context, builder, signature, args):
            builder.store(convert(builder, args[2]), _pointer(builder, memory, *args[:2]))
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, kind), code

    return store


def _pointer(builder, memory, address, index):
    return builder.gep(builder.inttoptr(address, memory.as_pointer()), [index])


def _cut(size):
    return lambda builder, value: builder.trunc(value, size)


load_float32, store_float32 = _load(F32, types.float32), _store(F32, types.float32)
load_float64, store_float64 = _load(F64, types.float64), _store(F64, types.float64)
load_float16 = _load(I16, types.float32, _from_float16)
store_float16 = _store(I16, types.float32, _to_float16)
load_bfloat16 = _load(I16, types.float32, _from_bfloat16)
store_bfloat16 = _store(I16, types.float32, _to_bfloat16)
store_count_float32 = _store(I8, types.float32, _to_uint8)
store_count_float64 = _store(I8, types.float64, _to_uint8)
store_uint8 = _store(I8, types.int64, _cut(I8))
load_uint32 = _load(I32, types.uint64, lambda builder, value: builder.zext(value, I64))
store_uint32 = _store(I32, types.int64, _cut(I32))
load_uint64 = _load(I64, types.uint64)
load_int64 = _load(I64, types.int64)


@intrinsic
def read(typing, zero, address, index):
    """The number at ``index``, of the type of ``zero``."""

    def code(context, builder, signature, args):
        return builder.load(_pointer(builder, args[0].type, *args[1:]))

    return zero(zero, types.int64, types.int64), code


@intrinsic
def write(typing, address, index, value):
    """Put a number at ``index``."""

    def code(context, builder, signature, args):
        builder.store(args[2], _pointer(builder, args[2].type, *args[:2]))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, value), code


@intrinsic
def copy(typing, zero, to, start, source, first, n):
    """``to[start:][:n] = source[first:][:n]`` of numbers as ``zero``; nothing if one is absent."""

    def code(context, builder, signature, args):
        element, pointer = args[0].type, I8.as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [pointer, pointer, I64, I1])
        function = builder.module.declare_intrinsic("llvm.memcpy", [pointer, pointer, I64], kind)
        ends = [
            builder.bitcast(_pointer(builder, element, *pair), pointer)
            for pair in (args[1:3], args[3:5])
        ]
        absent = builder.or_(*(builder.icmp_signed("==", args[k], I64(0)) for k in (1, 3)))
        size = builder.mul(args[5], I64(context.get_abi_sizeof(element)))
        builder.call(function, [*ends, builder.select(absent, I64(0), size), I1(0)])
        return context.get_dummy_value()

    return types.void(zero, *[types.int64] * 5), code


def _prefetch(is_write):
    @intrinsic
    def prefetch(typing, address):
        def code(context, builder, signature, args):
            pointer = I8.as_pointer()
            kind = ir.FunctionType(ir.VoidType(), [pointer, I32, I32, I32])
            function = builder.module.declare_intrinsic("llvm.prefetch", [pointer], kind)
            # The last two: into the nearest cache, and data rather than code.
            given = [builder.inttoptr(args[0], pointer), I32(is_write), I32(3), I32(1)]
            builder.call(function, given)
            return context.get_dummy_value()

        return types.void(types.int64), code

    return prefetch


prefetch_to_read, prefetch_to_write = _prefetch(0), _prefetch(1)


@intrinsic
def select(typing, condition, a, b):
    """``a`` where ``condition`` holds, else ``b``; both are computed."""

    def code(context, builder, signature, args):
        return builder.select(*args)

    return a(types.boolean, a, a), code


@intrinsic
def nearest(typing, a):
    """The nearest whole number, halves to even."""

    def code(context, builder, signature, args):
        function = builder.module.declare_intrinsic("llvm.rint", [args[0].type])
        return builder.call(function, args)

    return a(a), code


@intrinsic
def least(typing, a, b):
    """The smaller of two integers; numba takes a tenth of a second to compile ``min``."""

    def code(context, builder, signature, args):
        return builder.select(builder.icmp_signed("<", *args), *args)

    return types.int64(types.int64, types.int64), code


@intrinsic
def wide(typing):
    """Let the loops of this function use the widest vectors there are; LLVM prefers 256 bits."""

    def code(context, builder, signature, args):
        # llvmlite's own add() knows no attribute with a value.
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.void(), code


@intrinsic
def apart(typing):
    """Keep this function out of its callers, whose compilation takes longer otherwise."""

    def code(context, builder, signature, args):
        builder.function.attributes.add("noinline")
        return context.get_dummy_value()

    return types.void(), code

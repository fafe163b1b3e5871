// Values of synapses and sums over them, as values_numba.py and synapses_numba.py make them, bit for
// bit; needs philox.cuh. Structs hold numbers of 64 bits. THREADS: of a block.

#define DEVICE static __device__ __forceinline__
#define GLOBAL extern "C" __global__ void __launch_bounds__(THREADS)

typedef unsigned long long uint64;

struct Values {
    void* out;
    uint64* outside;  // counts numbers that no attempt brought inside the bounds
    uint64 seed;
    long long count, kind, attempts;  // attempts 0: numbers are moved to the bounds
    double a, b, low, high;
    double dt;
};

DEVICE double number(const Values& of, long long i, unsigned attempt) {
    const uint4 counter = {(unsigned)i, (unsigned)(i >> 32), attempt, 0xFFFFFF02u};
    const uint4 block = philox(counter, (unsigned)of.seed, (unsigned)(of.seed >> 32));
    const uint2 words = {block.x, block.y};
    if (of.kind == 0) return add(of.a, mul(of.b, (double)uniform(words)));
    if (of.kind == 3)
        return mul(of.a, (double)-log_(add(uniform(words), 5.9604644775390625e-08f)));
    const double value = add(of.a, mul(of.b, (double)normal(words)));
    return of.kind == 2 ? (double)exp_((float)value) : value;
}

DEVICE bool is_inside(const Values& of, double value) {
    return of.low <= value && value <= of.high;
}

DEVICE double drawn(const Values& of, long long i) {
    double value = number(of, i, 0);
    if (is_inside(of, value)) return value;
    if (of.attempts == 0) return value < of.low ? of.low : of.high;
    for (unsigned attempt = 1; attempt <= of.attempts; ++attempt) {
        value = number(of, i, attempt);
        if (is_inside(of, value)) return value;
    }
    atomicAdd(of.outside, (uint64)1);
    return value;
}

#define ONE_OF(count)                                                        \
    const long long i = (long long)blockIdx.x * THREADS + threadIdx.x;       \
    if (i >= (count)) return;

GLOBAL draw_float32(Values of) {
    ONE_OF(of.count)
    ((float*)of.out)[i] = (float)drawn(of, i);
}

GLOBAL draw_float64(Values of) {
    ONE_OF(of.count)
    ((double*)of.out)[i] = drawn(of, i);
}

// In steps, one at least.
GLOBAL draw_int32(Values of) {
    ONE_OF(of.count)
    const double steps = round_(div(drawn(of, i), of.dt));
    ((int*)of.out)[i] = steps < 1.0 ? 1 : steps > 2147483647.0 ? 2147483647 : (int)steps;
}

struct Tally {
    const void* place;
    const void* weight;   // or null
    uint64 *sums, *terms;  // [neurons], of |weight| * scale rounded up, and of synapses
    long long count, neurons;
    long long place_bytes, weight_bytes;
    double scale;
};

GLOBAL tally(Tally a) {
    ONE_OF(a.count)
    const unsigned place =
        a.place_bytes == 2 ? ((const unsigned short*)a.place)[i] : ((const unsigned*)a.place)[i];
    const unsigned target = place % (unsigned)a.neurons;
    atomicAdd(a.terms + target, (uint64)1);
    if (!a.weight) return;
    const double weight = a.weight_bytes == 4 ? (double)((const float*)a.weight)[i]
                                              : ((const double*)a.weight)[i];
    atomicAdd(a.sums + target, (uint64)ceil(mul(abs_(weight), a.scale)));
}

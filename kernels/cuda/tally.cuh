// What enters a layer, in one read: values that are not zero, weighted too, not 0 or 1, not whole,
// and their sizes added up.
// Values are read as bits, V at a time: of BYTES each, with MANTISSA bits of fraction (0: integers),
// WORD bytes a word. Counts are whole numbers: in double they are exact, in any order.

#define DEVICE static __device__ __forceinline__
#define GLOBAL extern "C" __global__
#define UNROLL _Pragma("unroll")

template <int SIZE> struct Unsigned;
template <> struct Unsigned<1> { typedef unsigned char type; };
template <> struct Unsigned<2> { typedef unsigned short type; };
template <> struct Unsigned<4> { typedef unsigned type; };
template <> struct Unsigned<8> { typedef unsigned long long type; };
template <int SIZE> struct Load { typedef typename Unsigned<SIZE>::type type; };
template <> struct Load<16> { typedef uint4 type; };

typedef Unsigned<BYTES>::type value_bits;
typedef Unsigned<WORD>::type word;
typedef Load<V * BYTES>::type load;

#define LANES (WORD / BYTES)
#define WORDS (V * BYTES / WORD)
#define AHEAD 4

struct Tally {
    const load* x;
    const double* fan_out;
    double* sums;        // [groups, 5], zero before
    long long packs;     // loads of a group
    long long stride;    // from a load of a thread to its next one: both meet the same fan-outs
    long long features;  // fan-outs
    long long blocks;    // of a group
};

constexpr value_bits LOWEST = (value_bits)1 << MANTISSA;
constexpr value_bits ALL = (value_bits)~(value_bits)0;
constexpr value_bits MAGNITUDE = MANTISSA ? ALL >> 1 : ALL;
constexpr value_bits INFINITE = MAGNITUDE >> MANTISSA << MANTISSA;

// The lowest bit of 1.0 in each lane; times FACTOR it is 1.0.
#define FACTOR (word)(ONE >> MANTISSA)
DEVICE word ones() {
    word bits = 0;
    UNROLL for (int lane = 0; lane < LANES; ++lane) bits |= (word)LOWEST << 8 * BYTES * lane;
    return bits;
}

// An integer, or a float without bits below its point.
DEVICE bool is_whole(value_bits magnitude) {
    if (MANTISSA == 0 || magnitude == 0) return true;
    if (magnitude < (value_bits)ONE || magnitude >= INFINITE) return false;
    const int exponent = (int)((magnitude - (value_bits)ONE) >> MANTISSA);
    return exponent >= MANTISSA || (magnitude & (((value_bits)1 << (MANTISSA - exponent)) - 1)) == 0;
}

DEVICE double size_of(value_bits value) {
#if MANTISSA == 52
    return __longlong_as_double((long long)(value & MAGNITUDE));
#elif MANTISSA == 23
    return __uint_as_float(value & MAGNITUDE);
#elif MANTISSA == 10
    return half_to_float(value & MAGNITUDE);
#elif MANTISSA == 7
    return __uint_as_float((unsigned)(value & MAGNITUDE) << 16);
#else
    const double size = (double)(integer)value;
    return size < 0 ? -size : size;
#endif
}

DEVICE unsigned warp_sum(unsigned value) {
    UNROLL for (int other = 16; other > 0; other /= 2)
        value += __shfl_xor_sync(0xffffffffu, value, other);
    return value;
}

DEVICE double warp_sum(double value) {
    UNROLL for (int other = 16; other > 0; other /= 2)
        value += __shfl_xor_sync(0xffffffffu, value, other);
    return value;
}

GLOBAL void __launch_bounds__(THREADS) tally(Tally a) {
    __shared__ double of_warp[THREADS / 32][5];
    const long long group = blockIdx.x / a.blocks;
    const long long first = blockIdx.x % a.blocks * THREADS + threadIdx.x;
    const load* x = a.x + group * a.packs;
    unsigned active[V] = {}, not_binary = 0, not_whole = 0;
    double other = 0;  // sizes of what is neither 0 nor 1
    if (first < a.stride)
        for (long long i = first; i < a.packs; i += AHEAD * a.stride) {
            load ahead[AHEAD] = {};  // zeros, beyond the end, count nowhere
            UNROLL for (int j = 0; j < AHEAD; ++j)
                if (i + j * a.stride < a.packs) ahead[j] = __ldcs(x + i + j * a.stride);
            UNROLL for (int j = 0; j < AHEAD; ++j) {
                word words[WORDS];
                memcpy(words, ahead + j, sizeof words);
                bool is_binary = true;
                UNROLL for (int w = 0; w < WORDS; ++w)
                    is_binary &= words[w] == (word)((words[w] & ones()) * FACTOR);
                UNROLL for (int k = 0; k < V; ++k) {
                    const int from = 8 * BYTES * (k % LANES);
                    const value_bits value = (value_bits)(words[k / LANES] >> from);
                    if (is_binary) {
                        active[k] += (unsigned)(value >> MANTISSA & 1);
                        continue;
                    }
                    const value_bits magnitude = value & MAGNITUDE;
                    active[k] += magnitude != 0;
                    not_binary += magnitude != 0 && value != (value_bits)ONE;
                    not_whole += !is_whole(magnitude);
                    if (magnitude != 0 && value != (value_bits)ONE) other += size_of(value);
                }
            }
        }
    unsigned nonzero = 0;
    double weighted = 0;
    long long feature = first * V % a.features;
    UNROLL for (int k = 0; k < V; ++k) {
        nonzero += active[k];
        if (active[k]) weighted += active[k] * a.fan_out[feature];
        if (++feature == a.features) feature = 0;
    }
    nonzero = warp_sum(nonzero);
    weighted = warp_sum(weighted);
    not_binary = warp_sum(not_binary);
    not_whole = warp_sum(not_whole);
    other = warp_sum(other);
    if (threadIdx.x % 32 == 0) {
        double* to = of_warp[threadIdx.x / 32];
        to[0] = nonzero;
        to[1] = weighted;
        to[2] = not_binary;
        to[3] = not_whole;
        to[4] = other + nonzero - not_binary;
    }
    __syncthreads();
    if (threadIdx.x >= 5) return;
    double sum = 0;
    UNROLL for (int warp = 0; warp < THREADS / 32; ++warp) sum += of_warp[warp][threadIdx.x];
    if (sum != 0) atomicAdd(a.sums + 5 * group + threadIdx.x, sum);
}

// What a CUDA device gives: storage formats, streaming accesses, sums over a warp and a block.
// STORAGE: 0 as `real`, 1 float16, 2 bfloat16.

#define DEVICE static __device__ __forceinline__
#define GLOBAL extern "C" __global__
#define LAUNCH_BOUNDS __launch_bounds__(THREADS)
#define UNROLL _Pragma("unroll")

template <int BYTES> struct Word;
template <> struct Word<16> { typedef uint4 type; };
template <> struct Word<8> { typedef uint2 type; };
template <> struct Word<4> { typedef unsigned type; };
template <> struct Word<2> { typedef unsigned short type; };

// Read for the last time: the line need not stay in the caches.
template <typename PACK> DEVICE PACK load_streaming(const storage* from) {
    typedef typename Word<sizeof(PACK)>::type word;
    const word bits = __ldcs((const word*)from);
    PACK value;
    memcpy(&value, &bits, sizeof(PACK));
    return value;
}

template <typename PACK> DEVICE void store_pack(const PACK& value, storage* to) {
    typename Word<sizeof(PACK)>::type bits;
    memcpy(&bits, &value, sizeof(PACK));
    *(decltype(bits)*)to = bits;
}

#if STORAGE == 0
DEVICE real to_real(storage value) { return value; }
DEVICE storage to_storage(real value) { return value; }
#elif STORAGE == 1
DEVICE real to_real(storage value) { return half_to_float(value); }
DEVICE storage to_storage(real value) { return float_to_half(value); }
#else
DEVICE real to_real(storage value) { return __uint_as_float((unsigned)value << 16); }
DEVICE storage to_storage(real value) { return float_to_bfloat(value); }
#endif

#if STORAGE != 0
// Two values a word.
DEVICE real low_real(unsigned word) {
    return STORAGE == 2 ? __uint_as_float(word << 16) : to_real((storage)word);
}
DEVICE real high_real(unsigned word) {
    return STORAGE == 2 ? __uint_as_float(word & 0xffff0000u) : to_real((storage)(word >> 16));
}
DEVICE unsigned to_word(real low, real high) {
    return STORAGE == 2 ? floats_to_bfloats(low, high) : floats_to_halves(low, high);
}
#endif

// Of gradients only: approximate in float32, and without a path for subnormal numbers.
DEVICE double quotient(double a, double b) { return a / b; }
DEVICE float quotient(float a, float b) { return a * fast_reciprocal(b); }
DEVICE double fast_exp(double a) { return exp(a); }
DEVICE float fast_exp(float a) { return fast_power_of_two(a * 1.44269504f); }

// Each word of 32 spikes is spread over 32 / LANES threads of a warp.
template <int LANES>
DEVICE void merge_bits(unsigned* to, unsigned bits, long long n, long long neurons) {
    UNROLL for (int other = 1; other < 32 / LANES; other *= 2)
        bits |= __shfl_xor_sync(0xffffffffu, bits, other);
    if (n % 32 == 0 && n < neurons) *to = bits;
}

DEVICE real warp_sum(real value) {
    UNROLL for (int other = 16; other > 0; other /= 2)
        value += __shfl_xor_sync(0xffffffffu, value, other);
    return value;
}

// Called by all threads of a block.
DEVICE real block_sum(real value) {
    __shared__ real of_warp[32];
    value = warp_sum(value);
    __syncthreads();
    if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = value;
    __syncthreads();
    value = threadIdx.x < THREADS / 32 ? of_warp[threadIdx.x] : (real)0;
    return threadIdx.x < 32 ? warp_sum(value) : value;
}

// A partial sum per group of neurons: one neuron, one warp, or one block.
DEVICE void write_sum(real* to, const real (&of)[W], long long n, long long neurons, long long group) {
    if (group == 1) {
        if (n < neurons) UNROLL for (int w = 0; w < W; ++w) to[n + w] = of[w];
        return;
    }
    real sum = 0;
    UNROLL for (int w = 0; w < W; ++w) sum += of[w];
    const bool is_block = group == (long long)THREADS * W;
    sum = is_block ? block_sum(sum) : warp_sum(sum);
    if (threadIdx.x % (is_block ? THREADS : 32) == 0 && n < neurons) to[n / group] = sum;
}

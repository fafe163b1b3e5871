// The random numbers of spikesim/random.py, bit for bit; needs maths.cuh.

// Philox4x32-10 (Salmon et al., 2011).
__device__ __forceinline__ uint4 philox(uint4 counter, unsigned key0, unsigned key1) {
    uint4 c = counter;
_Pragma("unroll")
    for (int i = 0; i < 10; ++i) {
        const unsigned high0 = __umulhi(0xD2511F53u, c.x), low0 = 0xD2511F53u * c.x;
        const unsigned high1 = __umulhi(0xCD9E8D57u, c.z), low1 = 0xCD9E8D57u * c.z;
        c = {high1 ^ c.y ^ key0, low1, high0 ^ c.w ^ key1, low0};
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    return c;
}

__device__ __forceinline__ float unit(unsigned word) {
    return mul((float)(int)(word >> 8), 5.9604644775390625e-08f);
}

// Uniform in [0, 1), a multiple of 2^-24.
__device__ __forceinline__ float uniform(uint2 words) { return unit(words.x); }

// Standard normal (Box & Muller, 1958).
__device__ __forceinline__ float normal(uint2 words) {
    const float u = add(unit(words.x), 5.9604644775390625e-08f);
    const float radius = __fsqrt_rn(mul(log_(u), -2.0f));
    // cos(2 pi u) = sin(2 pi (|u - 1/2| - 1/4)), whose argument is exact.
    const float w = sub(abs_(sub(unit(words.y), 0.5f)), 0.25f);
    const float square = mul(w, w);
    float p = horner(39.7700996f, square, -76.5834351f);
    p = horner(p, square, 81.6026306f);
    p = horner(p, square, -41.3416862f);
    return mul(radius, add(mul(w, 6.28318548f), mul(mul(w, square), p)));
}

// The draws of value n of one step t, first to last. `position` holds the seed and the global index
// of sample 0 and of step 0; it must not change while the kernel runs. `channels` is that of a step
// whose channels lie innermost in memory, and 1 where a sample lies in the order [C, ...].
struct Draw {
    uint4 counter, block;
    unsigned key0, key1, count;

    __device__ __forceinline__ Draw(const long long* position, unsigned layer, unsigned sample_size,
                                    unsigned channels, long long t, long long n) {
        const unsigned long long seed = (unsigned long long)__ldg(position);
        key0 = (unsigned)seed;
        key1 = (unsigned)(seed >> 32);
        count = 0;
        const unsigned r = (unsigned)(n % sample_size);
        counter.x = r % channels * (sample_size / channels) + r / channels;
        counter.y = (unsigned)(__ldg(position + 1) + n / sample_size);
        counter.z = (unsigned)(__ldg(position + 2) + t);
        counter.w = layer << 8;
    }

    // Those of one element in one step, all told.
    __device__ __forceinline__ Draw(unsigned long long seed, unsigned layer, unsigned element,
                                    unsigned step)
        : counter{element, 0u, step, layer << 8}, key0((unsigned)seed),
          key1((unsigned)(seed >> 32)), count(0) {}

    // Two draws share a block. After inlining `count` is a constant, so the branches are gone.
    __device__ __forceinline__ uint2 words() {
        const bool is_first = count++ % 2 == 0;
        if (is_first) {
            block = philox(counter, key0, key1);
            ++counter.w;
        }
        return is_first ? uint2{block.x, block.y} : uint2{block.z, block.w};
    }

    __device__ __forceinline__ float uniform() { return ::uniform(words()); }
    __device__ __forceinline__ float normal() { return ::normal(words()); }
};

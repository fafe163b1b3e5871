// Maximum over windows of spikes that are given as bits; the same results as `pool_forward`.
// After pool.cuh. Channels lie innermost, 32 a word: bit k of word j is channel 32 j + k.

struct Won {
    unsigned any;       // whether one of the window fired
    unsigned plane[4];  // bits of the winner's place
};

// The window from (top, left) of 32 channels; `map` begins at their word of the image.
DEVICE Won scan_window(const unsigned* map, const Pool& a, int top, int left) {
    Won won = {0, {0, 0, 0, 0}};
    UNROLL for (int i = 0; i < KERNEL_H; ++i) {
        UNROLL for (int j = 0; j < KERNEL_W; ++j) {
            const unsigned h = (unsigned)(top + i), w = (unsigned)(left + j);
            // Nothing fires beyond the map.
            unsigned bits = 0;
            if (h < a.height && w < a.width) bits = __ldg(map + (h * a.width + w) * (a.inner / 32));
            UNROLL for (int b = 0; b < 4; ++b)
                if ((i * KERNEL_W + j) >> b & 1) won.plane[b] |= bits & ~won.any;
            won.any |= bits;
        }
    }
    const int first = first_of_window(top, left);
    UNROLL for (int b = 0; b < 4; ++b)
        if (first >> b & 1) won.plane[b] |= ~won.any;
    return won;
}

// Every lane has 32 channels to write, at word `to` of the pooled map or NOWHERE. The lanes write
// one channel after the other, 512 bytes at a time.
#define NOWHERE 0xffffffffu
DEVICE void store_spikes(unsigned spikes, unsigned to, storage* pooled) {
    const storage one = to_storage((real)1);
    const unsigned lane = threadIdx.x % 32, part = lane % (32 / V) * V;
    UNROLL for (int k = 0; k < 32; k += V) {
        const int from = k + lane / (32 / V);
        const unsigned bits = __shfl_sync(0xffffffffu, spikes, from) >> part;
        const unsigned word = __shfl_sync(0xffffffffu, to, from);
        Run<storage> out;
        UNROLL for (int v = 0; v < V; ++v) out.of[v] = bits >> v & 1 ? one : (storage)0;
        if (word != NOWHERE) store_run(out, pooled + 32ll * word + part);
    }
}

// Bit b of byte k is bit k of plane b.
DEVICE void store_winners(const Won& upper, const Won& lower, unsigned char* to) {
    unsigned every_eighth[8];  // byte j of number k is byte 8 j + k of the result
    UNROLL for (int k = 0; k < 8; ++k) {
        every_eighth[k] = 0;
        UNROLL for (int b = 0; b < 8; ++b) {
            const unsigned plane = b < 4 ? upper.plane[b] : lower.plane[b - 4];
            const unsigned moved = b > k ? plane << (b - k) : plane >> (k - b);
            every_eighth[k] |= moved & 0x01010101u << b;
        }
    }
    UNROLL for (int part = 0; part < 2; ++part) {
        unsigned word[4];
        UNROLL for (int i = 0; i < 4; ++i) {
            const unsigned* of = every_eighth + i % 2 * 4;
            const int j = 2 * part + i / 2;
            word[i] = (of[0] >> 8 * j & 255) | (of[1] >> 8 * j & 255) << 8 |
                      (of[2] >> 8 * j & 255) << 16 | (of[3] >> 8 * j & 255) << 24;
        }
        ((uint4*)to)[part] = uint4{word[0], word[1], word[2], word[3]};
    }
}

// One thread: two windows, one above the other, of 32 channels.
GLOBAL void LAUNCH_BOUNDS pool_bits_forward(Pool a) {
    const unsigned words = a.inner / 32, pairs = (a.pooled_height + 1) / 2;
    const unsigned mine = blockIdx.x * THREADS + threadIdx.x;
    const bool is_active = mine < a.images * pairs * a.pooled_width * words;
    // All lanes of a warp take part in writing.
    unsigned place = is_active ? mine : 0;
    const unsigned word = place % words;
    place /= words;
    const unsigned column = place % a.pooled_width;
    place /= a.pooled_width;
    const unsigned row = 2 * (place % pairs);
    const unsigned image = place / pairs;
    const unsigned* map = (const unsigned*)a.map + image * a.height * a.width * words + word;
    const unsigned to = ((image * a.pooled_height + row) * a.pooled_width + column) * words + word;
    const int left = (int)column * STRIDE_W - PADDING_W, top = (int)row * STRIDE_H - PADDING_H;
    const bool is_pair = row + 1 < a.pooled_height;
    const Won upper = scan_window(map, a, top, left);
    Won lower = {0, {0, 0, 0, 0}};
    if (is_pair) lower = scan_window(map, a, top + STRIDE_H, left);
    if (is_active) store_winners(upper, lower, a.winners + 32ll * mine);
    store_spikes(upper.any, is_active ? to : NOWHERE, a.pooled);
    const unsigned below = to + a.pooled_width * words;
    store_spikes(lower.any, is_active && is_pair ? below : NOWHERE, a.pooled);
}

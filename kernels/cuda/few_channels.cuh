// 2-D convolution of a channels-last map with few channels, and the gradient of its weight.
// After device.cuh. CHANNELS: of the map; KERNEL_H, KERNEL_W, STRIDE_H, STRIDE_W; OUTPUTS: channels
// of the result, PART of them in a block, W in a thread; STRIP: neighbouring pixels of a thread.
//
// A block stages the part of the map that a tile of results depends on, with zeros around the map;
// its threads go from strip to strip of the tile, with their weights, or the gradient of those, in
// registers. Values are float32 there, and are rounded once.

#define TAPS (KERNEL_H * KERNEL_W * CHANNELS)
#define PARTS (OUTPUTS / PART)
#define LANES (PART / W)
#define SLOTS (THREADS / LANES)
#define WARPS (THREADS / 32)
// Values of a row of the map that a strip depends on, in whole quads.
#define VALUES ((((STRIP - 1) * STRIDE_W + KERNEL_W) * CHANNELS + 3) / 4 * 4)
// Weights of a block.
#define CELLS (TAPS * PART)

struct Convolution {
    const storage *x, *weight, *bias;  // bias: null if there is none
    storage* y;                        // or its gradient
    real* partial;                     // [blocks][TAPS][OUTPUTS]: gradients of the weight
    unsigned height, width, y_height, y_width, padding_h, padding_w;
    unsigned rows, columns, down, across, tiles;  // of results in a tile; tiles in a map; all tiles
    unsigned pixels, pitch;                       // of a staged row; its values, in whole quads
    unsigned blocks;                              // that share the tiles, for the gradient
    unsigned of_output, of_channel, of_row, of_column;  // strides of the weight
};

struct alignas(16) Quad {
    real lane[4];
};

struct alignas(sizeof(storage) * (CHANNELS == 3 ? 1 : CHANNELS)) Pixel {
    storage of[CHANNELS];
};

struct alignas(sizeof(real) * (CHANNELS == 3 ? 1 : CHANNELS)) RealPixel {
    real of[CHANNELS];
};

// W channels of a pixel.
typedef Word<W * sizeof(storage)>::type Channels;

DEVICE void widen(const Channels& from, real (&to)[W]) {
#if STORAGE == 0
    memcpy(to, &from, sizeof(from));
#else
    to[0] = low_real(from.x), to[1] = high_real(from.x);
    to[2] = low_real(from.y), to[3] = high_real(from.y);
#endif
}

DEVICE Channels narrow(const real (&from)[W]) {
    Channels to;
#if STORAGE == 0
    memcpy(&to, from, sizeof(to));
#else
    to.x = to_word(from[0], from[1]), to.y = to_word(from[2], from[3]);
#endif
    return to;
}

// Where a tile of results lies.
struct Tile {
    long long image;
    int top, left, rows, columns;
};

DEVICE Tile tile_at(const Convolution& a, unsigned index) {
    Tile at;
    at.left = (int)(index % a.across * a.columns);
    index /= a.across;
    at.top = (int)(index % a.down * a.rows);
    at.image = index / a.down;
    at.rows = min((int)a.rows, (int)a.y_height - at.top);
    at.columns = min((int)a.columns, (int)a.y_width - at.left);
    return at;
}

DEVICE void stage(const Convolution& a, const Tile& at, real* to) {
    const storage* map = a.x + at.image * a.height * a.width * CHANNELS;
    const int top = at.top * STRIDE_H - (int)a.padding_h;
    const int left = at.left * STRIDE_W - (int)a.padding_w;
    const int rows = (at.rows - 1) * STRIDE_H + KERNEL_H;
    for (int row = threadIdx.x / 32; row < rows; row += WARPS) {
        const bool is_inside = (unsigned)(top + row) < a.height;
        const storage* line = map + (long long)(top + row) * a.width * CHANNELS;
        real* staged = to + row * a.pitch;
        _Pragma("unroll 4")
        for (int column = threadIdx.x % 32; column < (int)a.pixels; column += 32) {
            Pixel pixel = {};
            if (is_inside && (unsigned)(left + column) < a.width)
                pixel = *(const Pixel*)(line + (left + column) * CHANNELS);
            RealPixel wide;
            UNROLL for (int c = 0; c < CHANNELS; ++c) wide.of[c] = to_real(pixel.of[c]);
            *(RealPixel*)(staged + column * CHANNELS) = wide;
        }
    }
}

// The strips of a tile that a thread meets: each SLOTS-th.
struct Walk {
    int row, strip, strips;
};

DEVICE Walk walk_over(const Tile& tile) {
    const int slot = (int)threadIdx.x / LANES, strips = (tile.columns + STRIP - 1) / STRIP;
    return {slot / strips, slot % strips, strips};
}

DEVICE void step(Walk& at) {
    for (at.strip += SLOTS; at.strip >= at.strips; at.strip -= at.strips) ++at.row;
}

// What row `kernel_row` of the kernel meets.
DEVICE void load_values(
    const Convolution& a, const real* staged, const Walk& at, int kernel_row, real (&to)[VALUES]) {
    const int row = at.row * STRIDE_H + kernel_row;
    const real* from = staged + row * a.pitch + at.strip * (STRIP * STRIDE_W * CHANNELS);
    UNROLL for (int i = 0; i < VALUES; i += 4) {
        const Quad quad = *(const Quad*)(from + i);
        UNROLL for (int j = 0; j < 4; ++j) to[i + j] = quad.lane[j];
    }
}

// The first of a thread's channels in the first pixel of a strip.
DEVICE storage* results_of(const Convolution& a, const Tile& tile, const Walk& at, int channel) {
    storage* map = a.y + tile.image * a.y_height * a.y_width * OUTPUTS;
    const unsigned row = tile.top + at.row, column = tile.left + at.strip * STRIP;
    return map + (row * a.y_width + column) * OUTPUTS + channel;
}

GLOBAL void LAUNCH_BOUNDS conv_forward(const Convolution a) {
    __shared__ Quad staged_quads[TILE / 4], weight_quads[CELLS / 4];
    real *staged = (real*)staged_quads, *weights = (real*)weight_quads;
    const int lane = threadIdx.x % LANES, first = blockIdx.x % PARTS * PART;
    for (int i = threadIdx.x; i < CELLS; i += THREADS) {
        const unsigned tap = i / PART, row = tap / (KERNEL_W * CHANNELS);
        const unsigned column = tap / CHANNELS % KERNEL_W, channel = tap % CHANNELS;
        const unsigned place = (first + i % PART) * a.of_output + channel * a.of_channel +
                               row * a.of_row + column * a.of_column;
        weights[i] = to_real(a.weight[place]);
    }
    const Tile tile = tile_at(a, blockIdx.x / PARTS);
    stage(a, tile, staged);
    __syncthreads();
    const int channel = first + lane * W;
    real start[W];
    UNROLL for (int w = 0; w < W; ++w)
        start[w] = a.bias == nullptr ? (real)0 : to_real(a.bias[channel + w]);
    Quad weight[TAPS];
    UNROLL for (int tap = 0; tap < TAPS; ++tap)
        weight[tap] = *(const Quad*)(weights + tap * PART + lane * W);
    for (Walk at = walk_over(tile); at.row < tile.rows; step(at)) {
        real sum[STRIP][W];
        UNROLL for (int p = 0; p < STRIP; ++p)
            UNROLL for (int w = 0; w < W; ++w) sum[p][w] = start[w];
        UNROLL for (int h = 0; h < KERNEL_H; ++h) {
            real value[VALUES];
            load_values(a, staged, at, h, value);
            UNROLL for (int i = 0; i < KERNEL_W * CHANNELS; ++i) {
                const Quad& of_tap = weight[h * (KERNEL_W * CHANNELS) + i];
                UNROLL for (int p = 0; p < STRIP; ++p) UNROLL for (int w = 0; w < W; ++w)
                    sum[p][w] += value[p * STRIDE_W * CHANNELS + i] * of_tap.lane[w];
            }
        }
        storage* to = results_of(a, tile, at, channel);
        UNROLL for (int p = 0; p < STRIP; ++p)
            if (at.strip * STRIP + p < tile.columns)
                *(Channels*)(to + p * OUTPUTS) = narrow(sum[p]);
    }
}

DEVICE void load_gradient(
    const Convolution& a, const Tile& tile, const Walk& at, int channel, Channels (&to)[STRIP]) {
    const storage* from = results_of(a, tile, at, channel);
    const int pixels = tile.columns - at.strip * STRIP;
    if (pixels >= STRIP) {
        UNROLL for (int p = 0; p < STRIP; ++p)
            to[p] = __ldcs((const Channels*)(from + p * OUTPUTS));
    } else {
        UNROLL for (int p = 0; p < STRIP; ++p)
            to[p] = p < pixels ? __ldcs((const Channels*)(from + p * OUTPUTS)) : Channels{};
    }
}

// Of the tiles of one of a.blocks.
GLOBAL void LAUNCH_BOUNDS conv_weight_gradient(const Convolution a) {
    __shared__ Quad shared_quads[(TILE > WARPS * CELLS ? TILE : WARPS * CELLS) / 4];
    real* shared = (real*)shared_quads;
    const int lane = threadIdx.x % LANES, first = blockIdx.x % PARTS * PART;
    const int channel = first + lane * W;
    const unsigned block = blockIdx.x / PARTS;
    real sum[TAPS][W] = {};
    for (unsigned index = block; index < a.tiles; index += a.blocks) {
        const Tile tile = tile_at(a, index);
        Walk at = walk_over(tile);
        Channels next[STRIP];
        // In flight while the map is staged, and while the strip before is multiplied.
        if (at.row < tile.rows) load_gradient(a, tile, at, channel, next);
        __syncthreads();
        stage(a, tile, shared);
        __syncthreads();
        while (at.row < tile.rows) {
            real grad[STRIP][W];
            UNROLL for (int p = 0; p < STRIP; ++p) widen(next[p], grad[p]);
            const Walk now = at;
            step(at);
            if (at.row < tile.rows) load_gradient(a, tile, at, channel, next);
            UNROLL for (int h = 0; h < KERNEL_H; ++h) {
                real value[VALUES];
                load_values(a, shared, now, h, value);
                UNROLL for (int i = 0; i < KERNEL_W * CHANNELS; ++i) {
                    real(&of_tap)[W] = sum[h * (KERNEL_W * CHANNELS) + i];
                    UNROLL for (int p = 0; p < STRIP; ++p) UNROLL for (int w = 0; w < W; ++w)
                        of_tap[w] += value[p * STRIDE_W * CHANNELS + i] * grad[p][w];
                }
            }
        }
    }
    // Threads of a warp with the same channels, then warps.
    __syncthreads();
    real* of_warp = shared + threadIdx.x / 32 * CELLS;
    UNROLL for (int tap = 0; tap < TAPS; ++tap) UNROLL for (int w = 0; w < W; ++w) {
        real all = sum[tap][w];
        UNROLL for (int other = LANES; other < 32; other *= 2)
            all += __shfl_xor_sync(0xffffffffu, all, other);
        if (threadIdx.x % 32 < LANES) of_warp[tap * PART + lane * W + w] = all;
    }
    __syncthreads();
    real* to = a.partial + (long long)block * TAPS * OUTPUTS + first;
    for (int i = threadIdx.x; i < CELLS; i += THREADS) {
        real all = 0;
        UNROLL for (int warp = 0; warp < WARPS; ++warp) all += shared[warp * CELLS + i];
        to[i / PART * OUTPUTS + i % PART] = all;
    }
}

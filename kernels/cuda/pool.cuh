// Maximum over windows of a map, and its gradient. After device.cuh.
// V: neighbouring values of a thread, 16 bytes or one. KERNEL_H to PADDING_W: the window.
// A map is [image][row][column][inner]: inner counts channels where they lie innermost, else 1.
// The winner of a window is its place in scan order, four bits; two rows of windows share a byte,
// the even one in its low half.

template <> struct Word<1> { typedef unsigned char type; };

struct Pool {
    storage* map;
    storage* pooled;
    unsigned char* winners;
    unsigned images, height, width, inner, pooled_height, pooled_width;
};

template <typename SCALAR> struct Run {
    SCALAR of[V];
};

template <typename SCALAR> DEVICE Run<SCALAR> load_run(const SCALAR* from) {
    typedef typename Word<V * sizeof(SCALAR)>::type word;
    const word bits = *(const word*)from;
    Run<SCALAR> run;
    memcpy(&run, &bits, sizeof(run));
    return run;
}

template <typename SCALAR> DEVICE void store_run(const Run<SCALAR>& run, SCALAR* to) {
    typedef typename Word<V * sizeof(SCALAR)>::type word;
    word bits;
    memcpy(&bits, &run, sizeof(run));
    *(word*)to = bits;
}

// The winner where all values are equal: the first in scan order, as in torch.
DEVICE int first_of_window(int top, int left) {
    return (top < 0 ? -top : 0) * KERNEL_W + (left < 0 ? -left : 0);
}

// One thread: two windows, one above the other, of V neighbouring values.
GLOBAL void LAUNCH_BOUNDS pool_forward(Pool a) {
    const unsigned runs = a.inner / V, pairs = (a.pooled_height + 1) / 2;
    unsigned place = blockIdx.x * THREADS + threadIdx.x;
    if (place >= a.images * pairs * a.pooled_width * runs) return;
    unsigned char* winners = a.winners + (long long)place * V;
    const unsigned run = place % runs;
    place /= runs;
    const int column = (int)(place % a.pooled_width);
    place /= a.pooled_width;
    const int pair = (int)(place % pairs);
    const long long image = place / pairs;
    const storage* map = a.map + image * a.height * a.width * a.inner + run * V;
    storage* pooled = a.pooled + image * a.pooled_height * a.pooled_width * a.inner + run * V;
    const int left = column * STRIDE_W - PADDING_W;
    Run<unsigned char> both;
    UNROLL for (int v = 0; v < V; ++v) both.of[v] = 0;
    for (int half = 0; half < 2; ++half) {
        const int row = 2 * pair + half;
        if (row >= (int)a.pooled_height) break;
        const int top = row * STRIDE_H - PADDING_H;
        const int first = first_of_window(top, left);
        real best[V];
        int winner[V];
        UNROLL for (int v = 0; v < V; ++v) {
            best[v] = (real)__int_as_float(0xff800000);
            winner[v] = first;
        }
        UNROLL for (int i = 0; i < KERNEL_H; ++i) {
            UNROLL for (int j = 0; j < KERNEL_W; ++j) {
                const int h = top + i, w = left + j;
                if (h < 0 || h >= (int)a.height || w < 0 || w >= (int)a.width) continue;
                const Run<storage> values = load_run(map + ((long long)h * a.width + w) * a.inner);
                UNROLL for (int v = 0; v < V; ++v) {
                    const real value = to_real(values.of[v]);
                    const bool is_new = value > best[v] || value != value;
                    best[v] = is_new ? value : best[v];
                    winner[v] = is_new ? i * KERNEL_W + j : winner[v];
                }
            }
        }
        Run<storage> out;
        UNROLL for (int v = 0; v < V; ++v) {
            out.of[v] = to_storage(best[v]);
            both.of[v] = (unsigned char)(both.of[v] | winner[v] << 4 * half);
        }
        store_run(out, pooled + ((long long)row * a.pooled_width + column) * a.inner);
    }
    store_run(both, winners);
}

// Windows that reach into block b of the map, which is one stride long: b + FIRST to b + LAST.
#define FIRST(KERNEL, STRIDE, PADDING) (1 - ((KERNEL) - (PADDING) + (STRIDE) - 1) / (STRIDE))
#define LAST(STRIDE, PADDING) (((STRIDE) - 1 + (PADDING)) / (STRIDE))
#define TOP FIRST(KERNEL_H, STRIDE_H, PADDING_H)
#define LEFT FIRST(KERNEL_W, STRIDE_W, PADDING_W)
#define ROWS (LAST(STRIDE_H, PADDING_H) - TOP + 1)
#define COLUMNS (LAST(STRIDE_W, PADDING_W) - LEFT + 1)

// One thread: a block of the map, of V neighbouring values, collects from the windows it won.
GLOBAL void LAUNCH_BOUNDS pool_backward(Pool a) {
    const unsigned runs = a.inner / V, pairs = (a.pooled_height + 1) / 2;
    const unsigned down = (a.height + STRIDE_H - 1) / STRIDE_H;
    const unsigned across = (a.width + STRIDE_W - 1) / STRIDE_W;
    unsigned place = blockIdx.x * THREADS + threadIdx.x;
    if (place >= a.images * down * across * runs) return;
    const unsigned run = place % runs;
    place /= runs;
    const int column = (int)(place % across);
    place /= across;
    const int row = (int)(place % down);
    const long long image = place / down;
    storage* map = a.map + image * a.height * a.width * a.inner + run * V;
    const storage* pooled = a.pooled + image * a.pooled_height * a.pooled_width * a.inner + run * V;
    const unsigned char* winners = a.winners + image * pairs * a.pooled_width * a.inner + run * V;
    real sum[STRIDE_H][STRIDE_W][V];
    UNROLL for (int h = 0; h < STRIDE_H; ++h) UNROLL for (int w = 0; w < STRIDE_W; ++w)
        UNROLL for (int v = 0; v < V; ++v) sum[h][w][v] = 0;
    UNROLL for (int i = 0; i < ROWS; ++i) {
        const int y = row + TOP + i;
        Run<storage> grad[COLUMNS];
        Run<unsigned char> both[COLUMNS];
        UNROLL for (int j = 0; j < COLUMNS; ++j) {
            const int x = column + LEFT + j;
            // A window that does not exist has a gradient of 0, wherever it is added.
            grad[j] = Run<storage>{};
            both[j] = Run<unsigned char>{};
            if ((unsigned)y >= a.pooled_height || (unsigned)x >= a.pooled_width) continue;
            grad[j] = load_run(pooled + (y * (int)a.pooled_width + x) * a.inner);
            both[j] = load_run(winners + (y / 2 * (int)a.pooled_width + x) * a.inner);
        }
        UNROLL for (int j = 0; j < COLUMNS; ++j) UNROLL for (int v = 0; v < V; ++v) {
            const int winner = both[j].of[v] >> 4 * (y & 1) & 15;
            const real value = to_real(grad[j].of[v]);
            UNROLL for (int h = 0; h < STRIDE_H; ++h) UNROLL for (int w = 0; w < STRIDE_W; ++w) {
                // Where this value lies in the window.
                const int m = h + PADDING_H - (TOP + i) * STRIDE_H;
                const int n = w + PADDING_W - (LEFT + j) * STRIDE_W;
                if (m < 0 || m >= KERNEL_H || n < 0 || n >= KERNEL_W) continue;
                if (winner == m * KERNEL_W + n) sum[h][w][v] += value;
            }
        }
    }
    UNROLL for (int h = 0; h < STRIDE_H; ++h) UNROLL for (int w = 0; w < STRIDE_W; ++w) {
        const unsigned y = row * STRIDE_H + h, x = column * STRIDE_W + w;
        Run<storage> out;
        UNROLL for (int v = 0; v < V; ++v) out.of[v] = to_storage(sum[h][w][v]);
        if (y < a.height && x < a.width) store_run(out, map + (y * a.width + x) * a.inner);
    }
}

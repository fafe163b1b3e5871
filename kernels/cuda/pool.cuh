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
        // All values equal, the first in scan order wins, as in torch.
        const int first = (top < 0 ? -top : 0) * KERNEL_W + (left < 0 ? -left : 0);
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

// One thread: V neighbouring values of the map collect from the windows that they won.
GLOBAL void LAUNCH_BOUNDS pool_backward(Pool a) {
    const unsigned runs = a.inner / V;
    const int pairs = ((int)a.pooled_height + 1) / 2;
    unsigned place = blockIdx.x * THREADS + threadIdx.x;
    if (place >= a.images * a.height * a.width * runs) return;
    storage* map = a.map + (long long)place * V;
    const unsigned run = place % runs;
    place /= runs;
    const int w = (int)(place % a.width) + PADDING_W;  // in the padded map
    place /= a.width;
    const int h = (int)(place % a.height) + PADDING_H;
    const long long image = place / a.height;
    const storage* pooled = a.pooled + image * a.pooled_height * a.pooled_width * a.inner + run * V;
    const unsigned char* winners = a.winners + image * pairs * a.pooled_width * a.inner + run * V;
    // The windows from `first` to `last` hold this value.
    const int first_row = h < KERNEL_H ? 0 : (h - KERNEL_H) / STRIDE_H + 1;
    const int first_column = w < KERNEL_W ? 0 : (w - KERNEL_W) / STRIDE_W + 1;
    const int last_row = h / STRIDE_H, last_column = w / STRIDE_W;
    real sum[V];
    UNROLL for (int v = 0; v < V; ++v) sum[v] = 0;
    UNROLL for (int i = 0; i < (KERNEL_H + STRIDE_H - 1) / STRIDE_H; ++i) {
        UNROLL for (int j = 0; j < (KERNEL_W + STRIDE_W - 1) / STRIDE_W; ++j) {
            const int row = first_row + i, column = first_column + j;
            if (row > last_row || column > last_column) continue;
            if (row >= (int)a.pooled_height || column >= (int)a.pooled_width) continue;
            const int mine = (h - row * STRIDE_H) * KERNEL_W + w - column * STRIDE_W;
            const Run<storage> grad =
                load_run(pooled + ((long long)row * a.pooled_width + column) * a.inner);
            const Run<unsigned char> both =
                load_run(winners + ((long long)(row / 2) * a.pooled_width + column) * a.inner);
            UNROLL for (int v = 0; v < V; ++v)
                if ((both.of[v] >> 4 * (row & 1) & 15) == mine) sum[v] += to_real(grad.of[v]);
        }
    }
    Run<storage> out;
    UNROLL for (int v = 0; v < V; ++v) out.of[v] = to_storage(sum[v]);
    store_run(out, map);
}

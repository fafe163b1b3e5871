// Batch norm: statistics of each channel, and the gradient that flows through them.
//
// The text before this file defines real, storage, STORAGE, W (values of 16 bytes, or 1) and
// THREADS. Arrays are dense; the channel of value n is (n / inner) % channels. Each thread strides
// by whole periods of inner * channels values, so that it meets the same W channels all the time.

// Accesses of a thread at once; those that it only reads, in the second case.
#define IN_FLIGHT 4
#define AHEAD 8

struct Strides {
    long long packs, stride;  // of W values each; as many threads as the stride
    unsigned inner, channels;
};

// What threads leave for each channel: [rows][channels][inner], fewer than 2^32.
struct Cells {
    unsigned rows, inner, channels, padding;
};

struct alignas(sizeof(storage) * W) Pack {
    storage lane[W];
};

struct alignas(sizeof(real) * W > 16 ? 16 : sizeof(real) * W) Reals {
    real lane[W];
};

// The forward pass reads x again: it may stay in the caches.
DEVICE Pack load_pack(const storage* from) {
    typedef Word<sizeof(Pack)>::type word;
    const word bits = *(const word*)from;
    return *(const Pack*)&bits;
}

// The j-th cell of a channel: its row, and its place.
DEVICE unsigned row_of(const Cells& at, unsigned j) { return at.inner == 1 ? j : j / at.inner; }
DEVICE unsigned place(const Cells& at, unsigned channel, unsigned j) {
    const unsigned row = row_of(at, j);
    return (row * at.channels + channel - row) * at.inner + j;
}

struct Moments {
    Strides at;
    const storage* x;
    real *mean, *squares;  // of what each thread saw, for each of its W channels
    long long each, more;  // packs of each thread; so many threads have one more
};

// The mean, and the sum of squared deviations from it. The sums are of differences to the first
// value: sum(x^2) - n mean^2 cancels where the mean is large.
GLOBAL void LAUNCH_BOUNDS thread_moments(const Moments a) {
    const long long first = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (first >= a.at.stride) return;
    const Pack start = load_pack(a.x + first * W);
    real sum[W], square[W];
    UNROLL for (int w = 0; w < W; ++w) sum[w] = square[w] = 0;
    for (long long j = first; j < a.at.packs; j += AHEAD * a.at.stride) {
        Pack x[AHEAD];
        UNROLL for (int i = 0; i < AHEAD; ++i) {
            const long long k = j + i * a.at.stride;
            x[i] = k < a.at.packs ? load_pack(a.x + k * W) : start;
        }
        UNROLL for (int i = 0; i < AHEAD; ++i) UNROLL for (int w = 0; w < W; ++w) {
            const real d = to_real(x[i].lane[w]) - to_real(start.lane[w]);
            sum[w] += d;
            square[w] += d * d;
        }
    }
    const real share = (real)1 / (real)(a.each + (first < a.more));
    Reals mean, squares;
    UNROLL for (int w = 0; w < W; ++w) {
        const real away = sum[w] * share;
        mean.lane[w] = to_real(start.lane[w]) + away;
        squares.lane[w] = square[w] - sum[w] * away;
    }
    *(Reals*)(a.mean + first * W) = mean;
    *(Reals*)(a.squares + first * W) = squares;
}

struct Statistics {
    Cells at;
    const real *mean, *squares;  // of each cell
    const real *weight, *bias;   // null: 1 and 0
    real *running_mean, *running_variance;  // null: not kept
    long long* tracked;  // batches seen
    real* found;         // [5][channels]: mean, variance, inverse deviation, scale, shift
    long long each, more;  // values of a cell; those in so many rows have one more
    double eps, momentum;  // below 0: the mean of all batches, this one already counted
};

// One block a channel. Deviations are from the first cell's mean, as in each cell.
GLOBAL void LAUNCH_BOUNDS join_moments(const Statistics a) {
    const unsigned c = blockIdx.x, channels = a.at.channels;
    const real origin = a.mean[place(a.at, c, 0)];
    real sum = 0, square = 0, within = 0;
    for (unsigned j = threadIdx.x; j < a.at.rows * a.at.inner; j += THREADS) {
        const unsigned k = place(a.at, c, j);
        const real values = (real)(a.each + (row_of(a.at, j) < a.more));
        const real d = a.mean[k] - origin;
        sum += values * d;
        square += values * d * d;
        within += a.squares[k];
    }
    sum = block_sum(sum);
    square = block_sum(square);
    within = block_sum(within);
    if (threadIdx.x != 0) return;
    const real count = (real)((a.each * a.at.rows + a.more) * a.at.inner), away = sum / count;
    const real mean = origin + away;
    const real variance = (within + square - sum * away) / count;
    const real inverse = (real)1 / (real)sqrt(variance + (real)a.eps);
    const real scale = a.weight != nullptr ? a.weight[c] * inverse : inverse;
    a.found[c] = mean;
    a.found[channels + c] = variance;
    a.found[2 * channels + c] = inverse;
    a.found[3 * channels + c] = scale;
    a.found[4 * channels + c] = a.bias != nullptr ? a.bias[c] : (real)0;
    if (a.running_mean == nullptr) return;
    if (c == 0 && a.momentum >= 0) ++*a.tracked;
    const real share = a.momentum < 0 ? (real)1 / (real)*a.tracked : (real)a.momentum;
    a.running_mean[c] += share * (mean - a.running_mean[c]);
    const real unbiased = variance * (count / (count - 1));
    a.running_variance[c] += share * (unbiased - a.running_variance[c]);
}

struct Fold {
    long long cells, stride;
    const real* from;  // [2][cells]
    real* to;          // [2][stride]; the stride is a whole number of periods
};

// Sums of cells a stride apart.
GLOBAL void LAUNCH_BOUNDS fold_sums(const Fold a) {
    const long long thread = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (thread >= 2 * a.stride) return;
    const real* from = a.from + thread / a.stride * a.cells;
    real sum[IN_FLIGHT] = {};
    for (long long j = thread % a.stride; j < a.cells; j += IN_FLIGHT * a.stride)
        UNROLL for (int i = 0; i < IN_FLIGHT; ++i) {
            const long long k = j + i * a.stride;
            if (k < a.cells) sum[i] += from[k];
        }
    real all = 0;
    UNROLL for (int i = 0; i < IN_FLIGHT; ++i) all += sum[i];
    a.to[thread] = all;
}

struct Sums {
    Cells at;
    const real *centred, *plain;  // of g * (x - mean) and of g, by cells
    const real* found;            // of join_moments
    real* out;                    // [4][channels]: gradients of weight and bias, slope, offset
    double count;                 // values of a channel
};

// One block a channel.
GLOBAL void LAUNCH_BOUNDS join_sums(const Sums a) {
    const unsigned c = blockIdx.x, channels = a.at.channels;
    real centred = 0, plain = 0;
    for (unsigned j = threadIdx.x; j < a.at.rows * a.at.inner; j += THREADS) {
        const unsigned k = place(a.at, c, j);
        centred += a.centred[k];
        plain += a.plain[k];
    }
    centred = block_sum(centred);
    plain = block_sum(plain);
    if (threadIdx.x != 0) return;
    const real inverse = a.found[2 * channels + c];
    const real factor = -a.found[3 * channels + c] / (real)a.count;
    a.out[c] = centred * inverse;
    a.out[channels + c] = plain;
    a.out[2 * channels + c] = factor * inverse * inverse * centred;
    a.out[3 * channels + c] = factor * plain;
}

struct Gradient {
    Strides at;
    storage* dx;
    const storage* x;
    const real *mean, *slope, *offset;  // of each channel
};

// dx += offset + slope * (x - mean)
GLOBAL void LAUNCH_BOUNDS add_statistics_gradient(const Gradient a) {
    const long long first = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (first >= a.at.stride) return;
    const long long place = first * W % ((long long)a.at.inner * a.at.channels);
    unsigned c = (unsigned)(place / a.at.inner), within = (unsigned)(place % a.at.inner);
    real mean[W], slope[W], offset[W];
    UNROLL for (int w = 0; w < W; ++w) {
        mean[w] = a.mean[c];
        slope[w] = a.slope[c];
        offset[w] = a.offset[c];
        if (++within == a.at.inner) {
            within = 0;
            if (++c == a.at.channels) c = 0;
        }
    }
    for (long long j = first; j < a.at.packs; j += IN_FLIGHT * a.at.stride) {
        Pack x[IN_FLIGHT], dx[IN_FLIGHT];
        UNROLL for (int i = 0; i < IN_FLIGHT; ++i) {
            const long long k = j + i * a.at.stride;
            if (k < a.at.packs) {
                x[i] = load_streaming<Pack>(a.x + k * W);
                dx[i] = load_streaming<Pack>(a.dx + k * W);
            }
        }
        UNROLL for (int i = 0; i < IN_FLIGHT; ++i) {
            const long long k = j + i * a.at.stride;
            if (k < a.at.packs) {
                UNROLL for (int w = 0; w < W; ++w)
                    dx[i].lane[w] = to_storage(
                        to_real(dx[i].lane[w]) +
                        (offset[w] + slope[w] * (to_real(x[i].lane[w]) - mean[w])));
                store_pack(dx[i], a.dx + k * W);
            }
        }
    }
}

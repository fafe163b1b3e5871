// Batch norm: moments of each channel, and the gradient that flows through them.
//
// The text before this file defines real, storage, STORAGE, W (values of 16 bytes, or 1) and
// THREADS. Arrays are dense; the channel of value n is (n / inner) % channels. Each thread strides
// by whole periods of inner * channels values, so that it meets the same W channels all the time.

#define IN_FLIGHT 4

struct Strides {
    long long packs, stride;  // of W values each; as many threads as the stride
    unsigned inner, channels;
};

struct alignas(sizeof(storage) * W) Pack {
    storage lane[W];
};

// The forward pass reads x again: it may stay in the caches.
DEVICE Pack load_pack(const storage* from) {
    typedef Word<sizeof(Pack)>::type word;
    const word bits = *(const word*)from;
    return *(const Pack*)&bits;
}

struct Moments {
    Strides at;
    const storage* x;
    real *mean, *squares;  // of what each thread saw, for each of its W channels
};

// The mean, and the sum of squared deviations from it. The sums are of differences to the first
// value: sum(x^2) - n mean^2 cancels where the mean is large.
GLOBAL void LAUNCH_BOUNDS thread_moments(const Moments a) {
    const long long first = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (first >= a.at.stride) return;
    const Pack start = load_pack(a.x + first * W);
    real sum[W], square[W];
    UNROLL for (int w = 0; w < W; ++w) sum[w] = square[w] = 0;
    long long count = 0;
    for (long long j = first; j < a.at.packs; j += IN_FLIGHT * a.at.stride) {
        Pack x[IN_FLIGHT];
        UNROLL for (int i = 0; i < IN_FLIGHT; ++i) {
            const long long k = j + i * a.at.stride;
            x[i] = k < a.at.packs ? load_pack(a.x + k * W) : start;
            count += k < a.at.packs;
        }
        UNROLL for (int i = 0; i < IN_FLIGHT; ++i) UNROLL for (int w = 0; w < W; ++w) {
            const real d = to_real(x[i].lane[w]) - to_real(start.lane[w]);
            sum[w] += d;
            square[w] += d * d;
        }
    }
    UNROLL for (int w = 0; w < W; ++w) {
        const real away = sum[w] / (real)count;
        a.mean[first * W + w] = to_real(start.lane[w]) + away;
        a.squares[first * W + w] = square[w] - sum[w] * away;
    }
}

struct Gradient {
    Strides at;
    storage* dx;
    const storage* x;
    const real *mean, *inverse, *scale;  // of each channel
    const real *centred, *plain;         // sums of g * (x - mean) and of g
    double share;                        // one over the number of values
};

// dx -= scale * (mean(g) + (x - mean) * inverse^2 * mean(g * (x - mean)))
GLOBAL void LAUNCH_BOUNDS add_statistics_gradient(const Gradient a) {
    const long long first = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (first >= a.at.stride) return;
    const long long place = first * W % ((long long)a.at.inner * a.at.channels);
    unsigned c = (unsigned)(place / a.at.inner), within = (unsigned)(place % a.at.inner);
    real mean[W], slope[W], offset[W];
    UNROLL for (int w = 0; w < W; ++w) {
        const real factor = a.scale[c] * (real)a.share;
        mean[w] = a.mean[c];
        slope[w] = factor * a.inverse[c] * a.inverse[c] * a.centred[c];
        offset[w] = factor * a.plain[c];
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
                        to_real(dx[i].lane[w]) -
                        (offset[w] + slope[w] * (to_real(x[i].lane[w]) - mean[w])));
                store_pack(dx[i], a.dx + k * W);
            }
        }
    }
}

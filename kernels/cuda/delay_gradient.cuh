// The gradient of taps. After delay.cuh. WARPS of a block, SHARE rows of taps of each.

#define GATHER_BOUNDS __launch_bounds__(WARPS * LANES, 2)
#define TOGETHER (WARPS * SHARE)

// The gradients of 32 outputs of a sample over ROWS steps from `first` on, between zeros.
DEVICE void hold(const Late& a, unsigned first, unsigned sample, unsigned output, real* held) {
    const unsigned warp = threadIdx.x / LANES;
    _Pragma("unroll 4") for (unsigned row = warp; row < HELD / LANES; row += WARPS) {
        const unsigned t = first + row - BEFORE;
        const bool is_step = row >= BEFORE && row < BEHIND && t < a.steps;
        const storage* from = a.y + ((long long)t * a.batch + sample) * a.outputs + output;
        held[row * LANES] = is_step && output < a.outputs ? to_real(*from) : (real)0;
    }
}

// Adds what the events of a range find.
template <bool GRADED>
DEVICE void gather(
    const Late& a, unsigned range, unsigned column, unsigned at, Shared held, real (&sum)[TAPS]) {
    const unsigned short* times = a.times + (long long)column * a.capacity;
    for (unsigned g = range & 0xffffu; g < range >> 16; ++g) {
        const uint4 group = ((const uint4*)times)[g];
        UNROLL for (int k = 0; k < EVENTS; ++k) {
            const unsigned time = time_of(group, k);
            if (k % 2 == 0 && time == a.steps) break;
            const real value = GRADED ? value_at(a, a.x + column, time) : (real)1;
            const Shared from = row_of(time, at, held);
            real found[TAPS];
            UNROLL for (int j = 0; j < TAPS; ++j) load_shared(from + j * ROW, found[j]);
            UNROLL for (int j = 0; j < TAPS; ++j) sum[j] += value * found[j];
        }
    }
}

// Of TOGETHER rows of taps of 32 outputs, over the samples of one of a.shares.
GLOBAL void GATHER_BOUNDS tap_gradients(const Late a) {
    __shared__ real shared[HELD];
    const unsigned tiles = a.width / LANES;
    const unsigned parts = (a.rows + TOGETHER - 1) / TOGETHER;
    const unsigned lane = threadIdx.x % LANES, output = blockIdx.x % tiles * LANES + lane;
    const unsigned top = blockIdx.x / tiles % parts * TOGETHER + threadIdx.x / LANES;
    const unsigned long long share = blockIdx.x / (tiles * parts);
    const bool is_graded = *a.is_graded;
    const Shared held = shared_place(shared + lane);
    real sum[SHARE][TAPS] = {};
    unsigned start[SHARE];
    UNROLL for (int m = 0; m < SHARE; ++m) {
        const unsigned row = top + m * WARPS;
        start[m] = row < a.rows ? (unsigned)a.start[(long long)row * a.width + output] : 0;
    }
    const unsigned stop = (unsigned)(a.batch * (share + 1) / a.shares);
    for (unsigned sample = (unsigned)(a.batch * share / a.shares); sample < stop; ++sample)
        for (unsigned window = 0; window < a.windows; ++window) {
            const unsigned first = window * ROWS;
            const unsigned* ranges = a.ranges + (long long)window * a.batch * a.inputs;
            __syncthreads();
            hold(a, first, sample, output, shared + lane);
            __syncthreads();
            UNROLL for (int m = 0; m < SHARE; ++m) {
                const unsigned row = top + m * WARPS;
                if (row >= a.rows) break;
                const unsigned column = sample * a.inputs + row % a.inputs;
                const unsigned at = start[m] + BEFORE - first;
                const unsigned range = ranges[column];
                if (is_graded)
                    gather<true>(a, range, column, at, held, sum[m]);
                else
                    gather<false>(a, range, column, at, held, sum[m]);
            }
        }
    UNROLL for (int m = 0; m < SHARE; ++m) {
        const unsigned row = top + m * WARPS;
        if (row >= a.rows) break;
        real* to = a.partial + (share * TAPS * a.rows + row) * a.width + output;
        UNROLL for (int j = 0; j < TAPS; ++j) to[(long long)j * a.rows * a.width] = sum[m][j];
    }
}

// Sums of what arrives. After delay.cuh.

// Synapses of the lanes' outputs with one input.
struct Synapses {
    real tap[TAPS];
    unsigned start;
};

DEVICE Synapses load_synapses(const Late& a, long long at) {
    Synapses s;
    s.start = (unsigned)a.start[at];
    UNROLL for (int j = 0; j < TAPS; ++j) s.tap[j] = a.taps[(long long)j * a.rows * a.outputs + at];
    return s;
}

// Adds N events of a group from the `from`-th on, which meet no row twice.
template <int N, typename GROUP>
DEVICE void add_events(const GROUP& group, int from, const Synapses& s, unsigned at, Shared sums) {
    Shared to[N];
    real sum[N][TAPS];
    UNROLL for (int n = 0; n < N; ++n) to[n] = row_of(group, from + n, at, sums);
    UNROLL for (int n = 0; n < N; ++n)
        UNROLL for (int j = 0; j < TAPS; ++j) load_shared(to[n] + j * ROW, sum[n][j]);
    UNROLL for (int n = 0; n < N; ++n)
        UNROLL for (int j = 0; j < TAPS; ++j) sum[n][j] += s.tap[j] * group.value[from + n];
    UNROLL for (int n = 0; n < N; ++n)
        UNROLL for (int j = 0; j < TAPS; ++j) store_shared(to[n] + j * ROW, sum[n][j]);
}

template <typename GROUP>
DEVICE void add_group(
    const GROUP& group, unsigned steps, const Synapses& s, unsigned at, Shared sums) {
#if TAPS == 1
    // Times differ.
    if (group.time(EVENTS / 2) == steps)
        add_events<EVENTS / 2>(group, 0, s, at, sums);
    else
        add_events<EVENTS>(group, 0, s, at, sums);
#else
    UNROLL for (int k = 0; k < EVENTS; k += 2) {
        if (group.time(k) == steps) break;
        if (TAPS <= 4 && group.time(k + 1) - group.time(k) >= TAPS) {
            add_events<2>(group, k, s, at, sums);
        } else {
            add_events<1>(group, k, s, at, sums);
            add_events<1>(group, k + 1, s, at, sums);
        }
    }
#endif
}

// A row of synapses for each input; what one needs is loaded while the one before is added.
template <bool GRADED>
DEVICE void add_rows(
    const Late& a, unsigned first, unsigned column, const unsigned* ranges, long long at,
    Shared sums) {
    const storage* x = a.x + column;
    const unsigned short* times = a.times + (long long)column * a.capacity;
    unsigned range = ranges[0], next_range = ranges[a.inputs > 1];
    Synapses synapses = load_synapses(a, at);
    Group<GRADED> group = load_group<GRADED>(a, x, times + (range & 0xffffu) * EVENTS);
    for (unsigned input = 0; input < a.inputs; ++input) {
        const unsigned end = range >> 16;
        const Synapses s = synapses;
        const storage* of_values = x;
        const unsigned short* listed = times;
        unsigned g = range & 0xffffu;
        Group<GRADED> next = group;
        if (input + 1 < a.inputs) {
            range = next_range;
            next_range = ranges[min(input + 2, a.inputs - 1)];
            synapses = load_synapses(a, at += a.outputs);
            next = load_group<GRADED>(a, ++x, (times += a.capacity) + (range & 0xffffu) * EVENTS);
        }
        while (g < end) {
            const Group<GRADED> events = group;
            if (++g < end) group = load_group<GRADED>(a, of_values, listed + g * EVENTS);
            add_group(events, a.steps, s, s.start + BEFORE - first, sums);
        }
        group = next;
    }
}

GLOBAL void __launch_bounds__(LANES) late_sums(const Late a) {
    __shared__ real held[HELD];
    real* mine = held + threadIdx.x;
    const Shared sums = shared_place(mine);
    const unsigned tiles = (a.outputs + LANES - 1) / LANES;
    const unsigned output = blockIdx.x % tiles * LANES + threadIdx.x;
    const unsigned window = blockIdx.x / tiles % a.windows;
    const unsigned sample = blockIdx.x / (tiles * a.windows);
    const unsigned first = window * ROWS, column = sample * a.inputs;
    const unsigned* ranges = a.ranges + (long long)window * a.batch * a.inputs + column;
    const bool is_graded = *a.is_graded;
    _Pragma("unroll 4") for (int row = 0; row < HELD; row += LANES) mine[row] = 0;
    __syncwarp();
    for (unsigned row = 0; row < a.rows; row += a.inputs) {
        // Lanes without an output of their own do as the last one does.
        const long long at = (long long)row * a.outputs + min(output, a.outputs - 1);
        if (is_graded)
            add_rows<true>(a, first, column, ranges, at, sums);
        else
            add_rows<false>(a, first, column, ranges, at, sums);
    }
    __syncwarp();
    if (output >= a.outputs) return;
    const unsigned steps = min((unsigned)ROWS, a.steps - first);
    storage* y = a.y + ((long long)first * a.batch + sample) * a.outputs + output;
    _Pragma("unroll 4") for (unsigned t = 0; t < steps; ++t)
        y[(long long)t * a.batch * a.outputs] = to_storage(mine[(t + BEFORE) * LANES]);
}

// Sums of what arrives. After delay.cuh.
//
// Shared memory holds so much of a warp's sums that each scheduler has one warp alone, so nothing
// but its own instructions hides how long each takes. What LOT rows need, with AHEAD groups of
// events of each, is copied while the lot before is added; AT_ONCE events of a row are added
// together, and meanwhile places of the next row's are found.

#define AT_ONCE (2 * EVENTS)
#if TAPS == 1
#define ROWS_UNROLL UNROLL
#else
#define ROWS_UNROLL _Pragma("unroll 1")
#endif

// Of a lot in shared memory: groups of events [LOT][AHEAD], starts [LOT][LANES], taps
// [TAPS][LOT][LANES].
#define STARTS (LOT * AHEAD * 16)
#define VALUES (STARTS + LOT * LANES * 4)
#define LOT_BYTES (VALUES + TAPS * LOT * ROW)

// Synapses of the lanes' outputs with one input, and its first events.
struct Row {
    real tap[TAPS];
    unsigned start, range;
    uint4 times[AHEAD];

    __device__ __forceinline__ unsigned groups() const { return (range >> 16) - (range & 0xffffu); }
};

// A warp's part: rows of synapses from `at` on, the columns of a sample, and where sums are.
struct Part {
    long long at;
    const storage* x;
    const unsigned short* times;
    const unsigned* ranges;
    unsigned before;  // added to a start: the row of the first tap of an event of step 0
    Shared sums;
};

DEVICE const uint4* groups_of(const Late& a, const Part& p, unsigned input, unsigned group) {
    return (const uint4*)(p.times + (long long)input * a.capacity) + group;
}

// Begins to copy 16 bytes for each lane of LOT rows of 32 values.
template <typename T>
DEVICE void copy_values(const Late& a, const Part& p, unsigned input, const T* from, Shared to) {
    const unsigned pieces = LANES * sizeof(T) / 16;
    UNROLL for (unsigned i = 0; i < LOT * pieces / LANES; ++i) {
        const unsigned c = i * LANES + threadIdx.x;
        const unsigned k = c / pieces, first = c % pieces * (16 / sizeof(T));
        if (input + k < a.inputs)
            copy_shared(to + c * 16, from + p.at + (long long)(input + k) * a.width + first);
    }
}

// Begins to copy the rows from `input` on; a lane has the range of one of them.
DEVICE void copy_lot(const Late& a, const Part& p, unsigned input, unsigned range, Shared to) {
    const unsigned lane = threadIdx.x, k = lane % LOT, n = lane / LOT;
    if (n < AHEAD && input + k < a.inputs)
        copy_shared(to + (k * AHEAD + n) * 16, groups_of(a, p, input + k, range & 0xffffu) + n);
    copy_values(a, p, input, a.start, to + STARTS);
    UNROLL for (int j = 0; j < TAPS; ++j)
        copy_values(
            a, p, input, a.taps + (long long)j * a.rows * a.width,
            to + VALUES + j * LOT * ROW);
}

DEVICE Row read_row(Shared lot, unsigned k, unsigned range) {
    const unsigned lane = threadIdx.x;
    Row row;
    row.range = __shfl_sync(0xffffffffu, range, k);
    load_shared(lot + STARTS + (k * LANES + lane) * 4, row.start);
    UNROLL for (int n = 0; n < AHEAD; ++n) load_shared(lot + (k * AHEAD + n) * 16, row.times[n]);
    UNROLL for (int j = 0; j < TAPS; ++j)
        load_shared(lot + VALUES + (j * LOT + k) * ROW + lane * sizeof(real), row.tap[j]);
    return row;
}

// Where the first N events of some groups have their first tap.
template <int N>
DEVICE void find_places(const Part& p, const Row& row, const uint4* groups, Shared (&to)[N]) {
    UNROLL for (int n = 0; n < N; ++n)
        to[n] = row_of(time_of(groups[n / EVENTS], n % EVENTS), row.start + p.before, p.sums);
}

// Loads what the sums are. Times differ, so no two of the events meet with the same tap.
template <int N> DEVICE void load_sums(const Shared (&to)[N], int j, real (&sum)[N]) {
    UNROLL for (int n = 0; n < N; ++n) load_shared(to[n] + j * ROW, sum[n]);
}

template <bool GRADED, int N>
DEVICE void store_sums(
    const Late& a, const Row& row, const uint4* groups, const storage* x, const Shared (&to)[N],
    int j, real (&sum)[N]) {
    UNROLL for (int n = 0; n < N; ++n)
        sum[n] += GRADED ? row.tap[j] * value_at(a, x, time_of(groups[n / EVENTS], n % EVENTS))
                         : row.tap[j];
    UNROLL for (int n = 0; n < N; ++n) store_shared(to[n] + j * ROW, sum[n]);
}

template <bool GRADED, int N>
DEVICE void add_events(
    const Late& a, const Part& p, const Row& row, const uint4& group, const storage* x) {
    Shared to[N];
    find_places(p, row, &group, to);
    UNROLL for (int j = 0; j < TAPS; ++j) {
        real sum[N];
        load_sums(to, j, sum);
        store_sums<GRADED>(a, row, &group, x, to, j, sum);
    }
}

// Of the last group of a column a half may be empty.
template <bool GRADED>
DEVICE void add_group(
    const Late& a, const Part& p, const Row& row, const uint4& group, const storage* x) {
    if (time_of(group, EVENTS / 2) == a.steps)
        add_events<GRADED, EVENTS / 2>(a, p, row, group, x);
    else
        add_events<GRADED, EVENTS>(a, p, row, group, x);
}

// Adds LOT rows.
template <bool GRADED>
DEVICE void add_lot(const Late& a, const Part& p, unsigned input, unsigned range, Shared lot) {
    Row row = read_row(lot, 0, range);
    Shared to[AT_ONCE];
    find_places(p, row, row.times, to);
    ROWS_UNROLL for (unsigned k = 0; k < LOT; ++k) {
        if (input + k >= a.inputs) return;
        const storage* x = p.x + input + k;
        // Of the last row again what is not needed then.
        const Row next = read_row(lot, min(k + 1, LOT - 1u), range);
        Shared next_to[AT_ONCE];
        if (row.groups()) {
            real sum[AT_ONCE];
            load_sums(to, 0, sum);
            find_places(p, next, next.times, next_to);
            store_sums<GRADED>(a, row, row.times, x, to, 0, sum);
            UNROLL for (int j = 1; j < TAPS; ++j) {
                load_sums(to, j, sum);
                store_sums<GRADED>(a, row, row.times, x, to, j, sum);
            }
        } else {
            find_places(p, next, next.times, next_to);
        }
        if (row.groups() > 2) add_group<GRADED>(a, p, row, row.times[2], x);
        for (unsigned g = AHEAD; g < row.groups(); ++g)
            add_group<GRADED>(
                a, p, row, *groups_of(a, p, input + k, (row.range & 0xffffu) + g), x);
        row = next;
        UNROLL for (int n = 0; n < AT_ONCE; ++n) to[n] = next_to[n];
    }
}

// A row for each input.
template <bool GRADED> DEVICE void add_rows(const Late& a, const Part& p, Shared lots) {
    const unsigned last = a.inputs - 1, k = threadIdx.x % LOT;
    unsigned range = p.ranges[min(k, last)], next_range = p.ranges[min(LOT + k, last)];
    Shared lot = lots, other = lots + LOT_BYTES;
    copy_lot(a, p, 0, range, lot);
    for (unsigned input = 0; input < a.inputs; input += LOT) {
        wait_for_copies();
        __syncwarp();
        copy_lot(a, p, input + LOT, next_range, other);
        add_lot<GRADED>(a, p, input, range, lot);
        range = next_range;
        next_range = p.ranges[min(input + 2 * LOT + k, last)];
        const Shared done = lot;
        lot = other;
        other = done;
    }
    __syncwarp();
}

GLOBAL void __launch_bounds__(LANES) late_sums(const Late a) {
    __shared__ real held[HELD];
    __shared__ uint4 lots[2 * LOT_BYTES / 16];
    real* mine = held + threadIdx.x;
    const unsigned tiles = a.width / LANES;
    const unsigned output = blockIdx.x % tiles * LANES + threadIdx.x;
    const unsigned window = blockIdx.x / tiles % a.windows;
    const unsigned sample = blockIdx.x / (tiles * a.windows);
    const unsigned first = window * ROWS, column = sample * a.inputs;
    Part p;
    p.x = a.x + column;
    p.times = a.times + (long long)column * a.capacity;
    p.ranges = a.ranges + (long long)window * a.batch * a.inputs + column;
    p.before = BEFORE - first;
    p.sums = shared_place(mine);
    const bool is_graded = *a.is_graded;
    _Pragma("unroll 4") for (int row = 0; row < HELD; row += LANES) mine[row] = 0;
    __syncwarp();
    for (unsigned row = 0; row < a.rows; row += a.inputs) {
        p.at = (long long)row * a.width + blockIdx.x % tiles * LANES;
        if (is_graded)
            add_rows<true>(a, p, shared_place(lots));
        else
            add_rows<false>(a, p, shared_place(lots));
    }
    __syncwarp();
    if (output >= a.outputs) return;
    const unsigned steps = min((unsigned)ROWS, a.steps - first);
    storage* y = a.y + ((long long)first * a.batch + sample) * a.outputs + output;
    _Pragma("unroll 4") for (unsigned t = 0; t < steps; ++t)
        y[(long long)t * a.batch * a.outputs] = to_storage(mine[(t + BEFORE) * LANES]);
}

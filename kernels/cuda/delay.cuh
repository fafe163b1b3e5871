// Events of an input with delays, and what passes them on. After device.cuh.
// TAPS of a synapse; ROWS: steps in shared memory; CLAMPED: whether events may miss these.
//
// What is not zero is listed once. A warp takes 32 neighbouring outputs of a sample, a lane each,
// and goes from synapse to synapse, and through the events of its input. Lanes have delays of their
// own, but a shared row of steps has a bank for each of them: they never meet.

#define LANES 32
#define EVENTS 8
// A tap that lies before the rows, or behind them, goes to rows that nobody reads, or that are 0.
#if CLAMPED
#define BEFORE (TAPS - 1)
#define BEHIND (ROWS + BEFORE)
#define HELD ((BEHIND + TAPS) * LANES)
#else
#define BEFORE 0
#define BEHIND ROWS
#define HELD (ROWS * LANES)
#endif
// Bytes from one to the next.
#define ROW (unsigned)(LANES * sizeof(real))

struct Late {
    const storage* x;       // [steps][columns], a column for each input of each sample
    unsigned short* times;  // [columns][capacity]: of events; `steps` after the last of a column
    unsigned* ranges;       // [windows][columns]: groups of EVENTS that may reach a window's rows
    unsigned* is_graded;    // set where a value is neither 0 nor 1
    const real* taps;       // [TAPS][rows][outputs]
    const int* start;       // [rows][outputs]
    storage* y;             // [steps][batch][outputs], or its gradient
    real* partial;          // [shares][TAPS][rows][outputs]
    unsigned steps, batch, inputs, rows, outputs, capacity, delays, windows, shares;
};

// Of a column; 0 after the last step.
DEVICE real value_at(const Late& a, const storage* x, unsigned t) {
    return t < a.steps ? to_real(x[(long long)t * a.batch * a.inputs]) : (real)0;
}

GLOBAL void LAUNCH_BOUNDS list_events(const Late a) {
    const unsigned column = blockIdx.x * THREADS + threadIdx.x, columns = a.batch * a.inputs;
    if (column >= columns) return;
    unsigned short* times = a.times + (long long)column * a.capacity;
    unsigned* range = a.ranges + column;
    unsigned found = 0, begun = 0, ended = 0;
    bool is_graded = false;
    for (unsigned t = 0; t < a.steps; t += EVENTS) {
        for (; begun < a.windows && begun * ROWS < t + EVENTS + a.delays - 1; ++begun)
            range[(long long)begun * columns] = found / EVENTS;
        for (; (ended + 1) * ROWS <= t; ++ended)
            range[(long long)ended * columns] |= (found + EVENTS - 1) / EVENTS << 16;
        real value[EVENTS];
        UNROLL for (int k = 0; k < EVENTS; ++k) value[k] = value_at(a, a.x + column, t + k);
        UNROLL for (int k = 0; k < EVENTS; ++k) {
            if (value[k] != 0) times[found++] = t + k;
            is_graded |= value[k] != 0 && value[k] != 1;
        }
    }
    if (is_graded) *a.is_graded = 1;
    for (; ended < a.windows; ++ended)
        range[(long long)ended * columns] |= (found + EVENTS - 1) / EVENTS << 16;
    for (; found % EVENTS; ++found) times[found] = a.steps;
}

// EVENTS of a column. Spikes have no values to be read.
template <bool GRADED> struct Group {
    uint4 times;
    real value[EVENTS];

    __device__ __forceinline__ unsigned time(int k) const {
        const unsigned word = k < 2 ? times.x : k < 4 ? times.y : k < 6 ? times.z : times.w;
        return k % 2 ? word >> 16 : word & 0xffffu;
    }
};

// The group at `times`, of the column of `x`.
template <bool GRADED>
DEVICE Group<GRADED> load_group(const Late& a, const storage* x, const unsigned short* times) {
    Group<GRADED> g;
    g.times = *(const uint4*)times;
    UNROLL for (int k = 0; k < EVENTS; ++k)
        g.value[k] = GRADED ? value_at(a, x, g.time(k)) : (real)1;
    return g;
}

// The row where the first tap of event k meets a lane, whose synapse begins at `at`.
template <typename GROUP>
DEVICE Shared row_of(const GROUP& group, int k, unsigned at, Shared rows) {
    const unsigned row = group.time(k) + at;
    return rows + (CLAMPED ? min(row, (unsigned)BEHIND) : row) * ROW;
}

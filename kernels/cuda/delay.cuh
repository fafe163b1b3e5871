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
    unsigned short* times;  // [columns][capacity]: of events; after a column's last `steps`, a group at least
    unsigned* ranges;       // [windows][columns]: groups of EVENTS that may reach a window's rows
    unsigned* is_graded;    // set where a value is neither 0 nor 1
    const real* taps;       // [TAPS][rows][width], a multiple of LANES
    const int* start;       // [rows][width]
    storage* y;             // [steps][batch][outputs], or its gradient
    real* partial;          // [shares][TAPS][rows][width]
    unsigned steps, batch, inputs, outputs, rows, width, capacity, delays, windows, shares;
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
    real next[EVENTS];
    UNROLL for (int k = 0; k < EVENTS; ++k) next[k] = value_at(a, a.x + column, k);
    for (unsigned t = 0; t < a.steps; t += EVENTS) {
        real value[EVENTS];
        UNROLL for (int k = 0; k < EVENTS; ++k) value[k] = next[k];
        // Before anything is written, or it would be waited for.
        UNROLL for (int k = 0; k < EVENTS; ++k)
            next[k] = value_at(a, a.x + column, t + EVENTS + k);
        for (; begun < a.windows && begun * ROWS < t + EVENTS + a.delays - 1; ++begun)
            range[(long long)begun * columns] = found / EVENTS;
        for (; (ended + 1) * ROWS <= t; ++ended)
            range[(long long)ended * columns] |= (found + EVENTS - 1) / EVENTS << 16;
        UNROLL for (int k = 0; k < EVENTS; ++k) {
            if (value[k] != 0) times[found++] = t + k;
            is_graded |= value[k] != 0 && value[k] != 1;
        }
    }
    if (is_graded) *a.is_graded = 1;
    for (; ended < a.windows; ++ended)
        range[(long long)ended * columns] |= (found + EVENTS - 1) / EVENTS << 16;
    for (; found % EVENTS; ++found) times[found] = a.steps;
    UNROLL for (int k = 0; k < EVENTS; ++k) times[found + k] = a.steps;
}

// Of one of EVENTS.
DEVICE unsigned time_of(const uint4& group, int k) {
    const unsigned word = k < 2 ? group.x : k < 4 ? group.y : k < 6 ? group.z : group.w;
    return k % 2 ? word >> 16 : word & 0xffffu;
}

// The row where the first tap of an event meets a lane, whose synapse begins at `at`.
DEVICE Shared row_of(unsigned time, unsigned at, Shared rows) {
#if CLAMPED
    return rows + min(time + at, (unsigned)BEHIND) * ROW;
#else
    return rows + at * ROW + time * ROW;
#endif
}

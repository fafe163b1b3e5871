// Plastic synapses: what a projection consists of, and what spikes leave behind; needs engine.cuh,
// maths.cuh and what kernels/print_plastic_cuda.py prints. PRE and POST are how many traces senders
// and receivers have, FADING how many decays there are: theirs, then that of the eligibility.

// A sender that spikes in this step: its synapses, and its traces just after its last spike and now.
struct Row {
    long long begin;
    int length, last;
    real old[SOME(PRE)], now[SOME(PRE)];
};

struct Plastic {
    const long long* begins;  // [senders + 1]
    const place_type* place;  // [synapses]: the target, if SPREAD `delay * neurons + target`
    real* weight;             // [synapses]
    real* eligible;           // [synapses]
    const real* reals;        // as Numbers
    int* lasts;               // [senders]: the step of the last spike
    real* pre;                // [PRE][senders], just after it
    int* totals;              // [neurons]: spikes so far
    int* newest;              // [neurons][NEWEST]: steps of the last spikes, newest first
    real* newest_post;        // [POST][neurons][NEWEST], just after them
    int* steps;               // [neurons][depth]: spike k in column k % depth
    real* after;              // [POST][neurons][depth], just after it
    real* before;             // the same just before it
    int* used;                // [neurons]: spikes since all synapses took up what had come
    int* full;                // whether a receiver has more than `limit` of these
    int* settled;             // until which step all synapses took up what had come
    Row* rows;                // [senders]: those that spike
    unsigned* counts;         // of rows, of this step and the next one by their lowest bits
    double* level;            // [width], of the modulator
    const double* factor;     // what is left of it after a step
    double* sums;             // [window + 1][width]
    const double* parts;      // [window]: what is left of an eligibility, times dt
    const double* grown;      // [window + 1]: 1 / what is left
    whole* ring;
    const real* fine[SOME(FADING)];  // decays by whole steps, as kernels/plastic_state.py has them
    const real* coarse[SOME(FADING)];
    long long end[SOME(FADING)];
    long long senders, neurons, depth, limit, delay, window, width;
    long long column, columns, last_slot;  // of target 0, and of the ring
    long long first_sender, first_neuron;  // their ids
};

struct Numbers {
    real low, high, scale, rest[SOME(PRE + POST)], number[SOME(NUMBERS)];
};

DEVICE Numbers numbers_of(const Plastic& p) {
    Numbers n;
    n.low = __ldg(p.reals);
    n.high = __ldg(p.reals + 1);
    n.scale = __ldg(p.reals + 2);
    UNROLL for (int i = 0; i < PRE + POST; ++i) n.rest[i] = __ldg(p.reals + 3 + i);
    UNROLL for (int i = 0; i < NUMBERS; ++i) n.number[i] = __ldg(p.reals + 3 + PRE + POST + i);
    return n;
}

DEVICE real bounded(const Numbers& n, real w) {
    w = w >= n.low ? w : n.low;
    return w <= n.high ? w : n.high;
}

// What is sent: the quantum was chosen for 0 and the bounds.
DEVICE real bounded_sent(const Numbers& n, real sent) {
    const real least = n.low < 0 ? n.low : 0, most = n.high > 0 ? n.high : 0;
    sent = sent >= least ? sent : least;
    return sent <= most ? sent : most;
}

// What is left after some steps.
DEVICE real left(const Plastic& p, int i, unsigned gone) {
    const unsigned end = (unsigned)p.end[i];
    if (!(LONG >> i & 1)) return __ldg(p.fine[i] + min(gone, end));
    return mul(__ldg(p.fine[i] + gone % FINE), __ldg(p.coarse[i] + min(gone / FINE, end)));
}

DEVICE real faded(real old, real rest, real left) { return add(rest, mul(sub(old, rest), left)); }

DEVICE Row row_of(const Plastic& p, const Numbers& n, long long sender, long long now) {
    Row row;
    row.begin = __ldg(p.begins + sender);
    row.length = (int)(__ldg(p.begins + sender + 1) - row.begin);
    row.last = p.lasts[sender];
    UNROLL for (int i = 0; i < PRE; ++i) row.old[i] = p.pre[i * p.senders + sender];
    UNROLL for (int i = 0; i < PRE; ++i)
        row.now[i] = faded(row.old[i], n.rest[i], left(p, i, (unsigned)now - row.last));
    return row;
}

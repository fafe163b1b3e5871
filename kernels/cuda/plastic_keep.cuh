// What a step's spikes leave behind at plastic synapses; needs plastic.cuh and the rule.

// A sender spikes: its synapses will be visited, and its traces jump.
DEVICE void prepare(const Plastic& p, const Numbers& n, long long sender, long long now) {
    const Row row = row_of(p, n, sender, now);
    real trace[SOME(PRE)];
    jump_pre(n, row.now, trace);
    p.lasts[sender] = (int)now;
    UNROLL for (int i = 0; i < PRE; ++i) p.pre[i * p.senders + sender] = trace[i];
    if (row.length) p.rows[atomicAdd(p.counts + (now & 1), 1u)] = row;
}

// A receiver spikes: its traces jump, and are kept.
DEVICE void remember(const Plastic& p, const Numbers& n, long long neuron, long long now) {
    const long long line = NEWEST * neuron, kept = p.neurons * p.depth;
    real trace[SOME(POST)], jumped[SOME(POST)];
    int steps[NEWEST];
    UNROLL for (int r = 0; r < NEWEST; ++r) steps[r] = p.newest[line + r];
    const int total = p.totals[neuron], used = p.used[neuron] + 1;
    const long long to = p.depth * neuron + (total & (p.depth - 1));
    UNROLL for (int i = 0; i < POST; ++i) {
        const real old = p.newest_post[i * p.neurons * NEWEST + line];
        trace[i] = faded(old, n.rest[PRE + i], left(p, PRE + i, (unsigned)now - steps[0]));
    }
    jump_post(n, trace, jumped);
    UNROLL for (int r = NEWEST - 1; r > 0; --r) p.newest[line + r] = steps[r - 1];
    p.newest[line] = p.steps[to] = (int)now;
    UNROLL for (int i = 0; i < POST; ++i) {
        real* newest = p.newest_post + i * p.neurons * NEWEST + line;
        UNROLL for (int r = NEWEST - 1; r > 0; --r) newest[r] = newest[r - 1];
        newest[0] = p.after[i * kept + to] = jumped[i];
        if (BEFORE >> i & 1) p.before[i * kept + to] = trace[i];
    }
    p.totals[neuron] = total + 1;
    p.used[neuron] = used;
    if (used > p.limit) *p.full = 1;
}

// The modulator decays, and its sum goes on: visits of this step read no further than the last one.
DEVICE void accumulate(const Plastic& p, long long now, long long i) {
    const long long k = now % p.window;
    const double level = p.level[i];
    p.sums[(k + 1) * p.width + i] = add(p.sums[k * p.width + i], mul(level, __ldg(p.parts + k)));
    p.level[i] = mul(level, __ldg(p.factor));
}

struct Remember {
    Clock clock;
    List list;
    Plastic plastics[MANY];
};

// Half of the blocks of a projection look for its senders in the list, half for its receivers.
GLOBAL void __launch_bounds__(THREADS) keep(Remember a) {
    const long long now = step_of(a.clock);
    const unsigned spikes = __ldcg(count_of(a.list, now));
    pass_on(a.clock, now);
    if (blockIdx.x == 0 && threadIdx.x == 0) *count_of(a.list, now + 1) = 0;
    const Plastic& p = a.plastics[blockIdx.x / 2 % MANY];
    const bool is_sending = blockIdx.x % 2 == 0;
    const unsigned first = blockIdx.x / (2 * MANY) * THREADS + threadIdx.x;
    const unsigned threads = gridDim.x / (2 * MANY) * THREADS;
    const Numbers n = numbers_of(p);
    if (ELIGIBLE && is_sending && p.first_sender >= 0)
        for (long long i = first; i < p.width; i += threads) accumulate(p, now, i);
    const long long begin = is_sending ? p.first_sender : p.first_neuron;
    const long long many = is_sending ? p.senders : p.neurons;
    if (begin < 0 || (!is_sending && !LOOKS_BACK)) return;
    for (unsigned k = first; k < spikes; k += threads) {
        const long long i = __ldcg(ids_of(a.list, now) + k) - begin;
        if (i < 0 || i >= many) continue;
        if (is_sending) prepare(p, n, i, now);
        else remember(p, n, i, now);
    }
}

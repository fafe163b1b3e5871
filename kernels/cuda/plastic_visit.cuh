// What becomes of plastic synapses: when their senders spike, and when all of them catch up or are
// looked at; needs plastic.cuh.

// SEND: take up what came until a step, let the sender's spike act, and send. The others until the
// end of a step: SETTLE changes no result, FOLD also brings eligibilities there, LOOK gives the
// weights there and changes nothing.
enum { SEND, SETTLE, FOLD, LOOK };

// Spikes of a receiver, counted from the newest, as a synapse sees them.
struct Past {
    long long neuron;
    int delay, total;
};

DEVICE long long kept_at(const Plastic& p, const Past& past, int r) {
    return past.neuron * p.depth + ((past.total - 1 - r) & (p.depth - 1));
}

DEVICE int comes_at(const Plastic& p, const Past& past, int r) {
    const int* at = r < NEWEST ? p.newest + NEWEST * past.neuron + r : p.steps + kept_at(p, past, r);
    return *at + past.delay;
}

// A weight follows its eligibility from one step to another, and this decays; `base` is the step at
// which the sums began.
DEVICE void bring(const Plastic& p, const Numbers& n, long long neuron, int base, int to, int& at,
                  real& w, real& e) {
    const double* sums = p.sums + (EACH ? neuron : 0);
    const double sum = sub(sums[(to - base) * p.width], sums[(at - base) * p.width]);
    w = bounded(n, add(w, mul(e, (real)mul(sum, __ldg(p.grown + (at - base))))));
    e = mul(e, left(p, PRE + POST, to - at));
    at = to;
}

template <int MODE>
DEVICE void visit(const Plastic& p, const Numbers& n, const Row& row, int now, int settled,
                  long long k, real* out) {
    const unsigned place = p.place[k];
    real w = p.weight[k], e = ELIGIBLE ? p.eligible[k] : (real)0;
    const unsigned late = SPREAD ? place / (unsigned)p.neurons : (unsigned)p.delay;
    Past past = {place - (SPREAD ? late * (unsigned)p.neurons : 0), (int)late, 0};
    const long long neuron = past.neuron;
    // Of its receiver's spikes those from `unmet` on came before now, those from `due` on have come,
    // and those from `done` on were taken up before.
    int unmet = 0, due = 0, done = 0, met = NEVER;
    const int lower = max(row.last, settled), base = (int)(now - now % p.window);
    if (LOOKS_BACK) {
        const int4* line = (const int4*)(p.newest + NEWEST * neuron);
        const int4 first = line[0], second = line[1];
        const int newest[NEWEST] = {first.x,  first.y,  first.z,  first.w,
                                    second.x, second.y, second.z, second.w};
        const int stop = TAKES_UP ? lower : now - 1;
        UNROLL for (int r = 0; r < NEWEST; ++r) {
            const int s = newest[r] + past.delay;
            due += s > now;
            unmet += s >= now;
            done += s > stop;
            met = s < now && s > met ? s : met;
        }
        if (BEFORE || done == NEWEST) past.total = p.totals[neuron];
        for (int r = NEWEST; r == done && r < p.depth; ++r) {
            const int s = comes_at(p, past, r);
            due += s > now;
            unmet += s >= now;
            done += s > stop;
            met = s < now && s > met ? s : met;
        }
    }
    int at = max(row.last, base);
    real trace[SOME(PRE)], other[SOME(POST)];
    if (TAKES_UP) {
        // An eligibility last moved with the spike that was taken up last, if not later.
        if (ELIGIBLE) at = max(at, comes_at(p, past, done));
        for (int r = done - 1; r >= due; --r) {
            const int s = comes_at(p, past, r);
            if (ELIGIBLE) bring(p, n, neuron, base, s, at, w, e);
            UNROLL for (int i = 0; i < PRE; ++i)
                trace[i] = faded(row.old[i], n.rest[i], left(p, i, s - row.last));
            UNROLL for (int i = 0; i < POST; ++i)
                if (BEFORE >> i & 1)
                    other[i] = p.before[i * p.neurons * p.depth + kept_at(p, past, r)];
            on_post(n, w, e, trace, other);
        }
    }
    // At the end of a window all have been folded.
    const bool is_brought = MODE == LOOK && (now + 1) % p.window == 0;
    if (ELIGIBLE && MODE != SETTLE && !is_brought)
        bring(p, n, neuron, base, now + (MODE != SEND), at, w, e);
    real sent = 0;
    if (MODE == SEND) {
        UNROLL for (int i = 0; i < POST; ++i) {
            if (!(HEARD >> i & 1)) continue;
            const real* from = unmet < NEWEST
                ? p.newest_post + (i * p.neurons + neuron) * NEWEST + unmet
                : p.after + i * p.neurons * p.depth + kept_at(p, past, unmet);
            other[i] = faded(*from, n.rest[PRE + i], left(p, PRE + i, now - met));
        }
        on_pre(n, w, e, sent, row.now, other);
        const long long slot = (now + past.delay) & p.last_slot;
        atomicAdd((tally*)p.ring + slot * p.columns + p.column + neuron,
                  (tally)(whole)round_(mul(sent, n.scale)));
    }
    if (MODE == LOOK) {
        out[k] = w;
        return;
    }
    if (IS_PLASTIC) p.weight[k] = w;
    if (ELIGIBLE) p.eligible[k] = e;
}

struct Act {
    Clock clock;
    Plastic plastics[MANY];
};

// A row is shared by as many warps as there are for each.
GLOBAL void __launch_bounds__(THREADS) act(Act a) {
    const long long now = step_of(a.clock);
    const Plastic& p = a.plastics[blockIdx.x % MANY];
    const uint2 counts = __ldcg((const uint2*)p.counts);
    const unsigned spikes = now & 1 ? counts.y : counts.x;
    pass_on(a.clock, now);
    if (blockIdx.x < MANY && threadIdx.x == 0) p.counts[(now + 1) & 1] = 0;
    if (spikes == 0) return;
    const Numbers n = numbers_of(p);
    const int settled = __ldcg(p.settled);
    const unsigned warps = gridDim.x / MANY * (THREADS / 32), lane = threadIdx.x % 32;
    const unsigned warp = blockIdx.x / MANY * (THREADS / 32) + threadIdx.x / 32;
    const unsigned each = warps / spikes;
    const int shift = each > 1 ? min(31 - __clz((int)each), MOST_SHARED) : 0;
    for (unsigned item = warp; item < spikes << shift; item += warps) {
        const Row row = p.rows[item >> shift];
        const unsigned part = item & ((1u << shift) - 1);
        for (long long k = 32 * part + lane; k < row.length; k += 32ll << shift)
            visit<SEND>(p, n, row, (int)now, settled, row.begin + k, nullptr);
    }
}

// Of all senders, or of some, between two steps.
struct Pass {
    Clock clock;
    const long long* chosen;
    long long many;  // chosen
    real* out;
    Plastic plastics[MANY];
};

template <int MODE> DEVICE void visit_all(const Pass& a, const Plastic& p) {
    const int now = (int)step_of(a.clock) - 1;
    const Numbers n = numbers_of(p);
    const int settled = *p.settled;
    const long long many = a.chosen ? a.many : p.senders;
    for (long long i = blockIdx.x / MANY; i < many; i += gridDim.x / MANY) {
        const Row row = row_of(p, n, a.chosen ? a.chosen[i] : i, now);
        for (long long k = threadIdx.x; k < row.length; k += THREADS)
            visit<MODE>(p, n, row, now, settled, row.begin + k, a.out);
    }
}

GLOBAL void __launch_bounds__(THREADS) settle(Pass a) {
    const Plastic& p = a.plastics[blockIdx.x % MANY];
    if (*p.full) visit_all<SETTLE>(a, p);
}

// Those whose window ends; all are settled.
GLOBAL void __launch_bounds__(THREADS) fold(Pass a) {
    const Plastic& p = a.plastics[blockIdx.x % MANY];
    if (step_of(a.clock) % p.window) return;
    visit_all<FOLD>(a, p);
    *p.full = 1;
}

GLOBAL void __launch_bounds__(THREADS) look(Pass a) {
    visit_all<LOOK>(a, a.plastics[blockIdx.x % MANY]);
}

// After all synapses of a projection took up what had come; a block each.
GLOBAL void __launch_bounds__(THREADS) empty(Pass a) {
    const Plastic& p = a.plastics[blockIdx.x];
    const bool is_full = *p.full;
    __syncthreads();
    if (!is_full) return;
    for (long long i = threadIdx.x; i < p.neurons; i += THREADS) p.used[i] = 0;
    if (threadIdx.x == 0) {
        *p.full = 0;
        *p.settled = (int)step_of(a.clock) - 1;
    }
}

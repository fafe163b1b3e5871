// From spikes to the sums of their targets, and what else a step needs; needs engine.cuh.

// Synapses of the sources of one level, a row for each sender. A row is made of segments: synapses
// that are due the same number of steps after a spike.
struct Layer {
    const int* lags;           // [segments]: this number
    long long first, many;     // the segments that this launch delivers
    long long segments;
    const long long* begins;  // [ids]: of rows
    const void* ends;         // [ids][segments]: of segments, counted from their row's begin
    long long end_bytes;      // 2 or 4
    const unsigned* place;    // of each synapse, among the sums; filled up to whole groups of 4
    const whole* weight;      // of each synapse, or null
    const whole* of_row;      // of each row, where there is none of each synapse
};

struct Deliver {
    Clock clock;
    List list;
    long long most_ahead;  // steps by which what is due later may be delivered too early, 0 or 1
    long long cleared;     // the list of the step that comes so many steps later is emptied, if not 0
    whole* sums[2];        // of what is due now, and of what is delivered a step ahead
    Layer layers[LAYERS];
};

struct alignas(4 * sizeof(whole)) Four {
    whole of[4];
};

// Four neighbours, which are not read again soon: sums are to stay in the cache.
DEVICE uint4 load_places(const unsigned* from) { return __ldcs((const uint4*)from); }
DEVICE Four load_weights(const whole* from) {
    uint4 words[sizeof(Four) / 16];
    UNROLL for (int i = 0; i < (int)(sizeof(Four) / 16); ++i) words[i] = __ldcs((const uint4*)from + i);
    Four four;
    memcpy(&four, words, sizeof four);
    return four;
}

DEVICE unsigned end_of(const Layer& layer, long long segment) {
    return layer.end_bytes == 2 ? __ldg((const unsigned short*)layer.ends + segment)
                                : __ldg((const unsigned*)layer.ends + segment);
}

// Sums over the lower threads and this one; `of_warp` has room for the warps of a block.
DEVICE unsigned warp_prefix(unsigned value) {
    const unsigned lane = threadIdx.x % 32;
    UNROLL for (int by = 1; by < 32; by *= 2) {
        const unsigned lower = __shfl_sync(0xffffffffu, value, lane - by);
        value += lane >= by ? lower : 0;
    }
    return value;
}
DEVICE unsigned block_prefix(unsigned value, unsigned* of_warp) {
    value = warp_prefix(value);
    if (threadIdx.x % 32 == 31) of_warp[threadIdx.x / 32] = value;
    __syncthreads();
    UNROLL for (unsigned warp = 0; warp < THREADS / 32; ++warp)
        value += warp < threadIdx.x / 32 ? of_warp[warp] : 0;
    return value;
}

// A part of a segment, in groups of 4 neighbours of which the outer ones may belong to others.
struct Part {
    unsigned group;       // the first of the segment
    unsigned skip, stop;  // the synapses of the segment, counted from this group's begin
    unsigned first, many;  // groups of this part, counted from there
    unsigned ahead;        // which sums
    tally same;            // weight of all, where they have none of their own
};

DEVICE Part part_of(const Layer& layer, unsigned id, unsigned k, unsigned part, int shift) {
    const long long segment = (long long)id * layer.segments + k, begin = __ldg(layer.begins + id);
    const unsigned low = k ? end_of(layer, segment - 1) : 0, high = end_of(layer, segment);
    Part found;
    found.same = layer.weight ? 0 : (tally)__ldg(layer.of_row + id);
    found.group = (unsigned)((begin + low) / 4);
    found.skip = (unsigned)((begin + low) % 4);
    found.stop = found.skip + high - low;
    const unsigned long long groups = high > low ? (found.stop + 3) / 4 : 0;
    found.first = (unsigned)(groups * part >> shift);
    found.many = (unsigned)(groups * (part + 1) >> shift) - found.first;
    return found;
}

// Adds the synapses of 32 parts, one of each lane. Their groups, one behind the other, are dealt out
// to the lanes, so that none is idle where parts are short.
DEVICE void add_parts(const Layer& layer, whole* const* sums, const Part& own) {
    const unsigned all = 0xffffffffu, lane = threadIdx.x % 32, behind = warp_prefix(own.many);
    const unsigned total = __shfl_sync(all, behind, 31), shift = own.first - (behind - own.many);
    for (unsigned base = 0; base < total; base += 32 * GROUPS) {
        uint4 place[GROUPS];
        Four weight[GROUPS];
        tally same[GROUPS];
        tally* to[GROUPS];
        int low[GROUPS], high[GROUPS];
        UNROLL for (int g = 0; g < GROUPS; ++g) {
            const unsigned which = base + 32 * g + lane;
            unsigned part = 0;  // the first one that ends behind it
            UNROLL for (int half = 16; half > 0; half /= 2)
                part += __shfl_sync(all, behind, part + half - 1) <= which ? half : 0;
            const unsigned group = which + __shfl_sync(all, shift, part);
            const unsigned from = __shfl_sync(all, own.group, part);
            low[g] = (int)(__shfl_sync(all, own.skip, part) - 4 * group);
            high[g] = (int)(__shfl_sync(all, own.stop, part) - 4 * group);
            same[g] = layer.weight ? 0 : __shfl_sync(all, own.same, part);
            to[g] = (tally*)(__shfl_sync(all, own.ahead, part) ? sums[1] : sums[0]);
            if (which >= total) high[g] = low[g];
            if (which >= total) continue;
            place[g] = load_places(layer.place + 4ll * (from + group));
            if (layer.weight) weight[g] = load_weights(layer.weight + 4ll * (from + group));
        }
        UNROLL for (int g = 0; g < GROUPS; ++g) {
            const unsigned at[4] = {place[g].x, place[g].y, place[g].z, place[g].w};
            UNROLL for (int j = 0; j < 4; ++j)
                if (low[g] <= j && j < high[g])
                    atomicAdd(to[g] + at[j], layer.weight ? (tally)weight[g].of[j] : same[g]);
        }
    }
}

// Adds what is due: of each spike of the last steps one segment, none of which are due twice. Where
// there are more warps than segments, several share one.
GLOBAL void __launch_bounds__(THREADS) deliver(Deliver a) {
    __shared__ unsigned counts[THREADS], rows[THREADS], ends[THREADS], of_warp[THREADS / 32];
    const Layer layer = a.layers[blockIdx.x % LAYERS];
    const unsigned segments = (unsigned)layer.many, lane = threadIdx.x % 32;
    const unsigned warps = gridDim.x / LAYERS * (THREADS / 32);
    const unsigned warp = blockIdx.x / LAYERS * (THREADS / 32) + threadIdx.x / 32;
    // Counts of all steps where these are few, so as not to wait for the step first.
    const bool is_short = a.list.last_row < THREADS;
    if (is_short) counts[threadIdx.x] = __ldcg(a.list.counts + (threadIdx.x & a.list.last_row));
    const int* const lags = layer.lags + layer.first;
    int lag = threadIdx.x < segments ? __ldg(lags + threadIdx.x) : 0;
    const long long now = step_of(a.clock);
    pass_on(a.clock, now);
    if (a.cleared && blockIdx.x == 0 && threadIdx.x == 0) *count_of(a.list, now + a.cleared) = 0;
    for (unsigned from = 0; from < segments; from += THREADS) {
        const unsigned k = from + threadIdx.x;
        if (from) lag = k < segments ? __ldg(lags + k) : 0;
        const int ahead = min(lag, (int)a.most_ahead);
        const unsigned row = (unsigned)((now + ahead - lag) & a.list.last_row);
        __syncthreads();
        const unsigned spikes = is_short ? counts[row] : __ldcg(a.list.counts + row);
        const unsigned end = block_prefix(k < segments ? spikes : 0, of_warp);
        rows[threadIdx.x] = row << 1 | ahead;
        ends[threadIdx.x] = end;
        __syncthreads();
        const unsigned total = ends[THREADS - 1], each = warps / max(total, 1u);
        const int shift = each > 1 ? min(31 - __clz((int)each), MOST_SHARED) : 0;
        for (unsigned first = warp; first < total << shift; first += 32 * warps) {
            const unsigned item = first + lane * warps, which = item >> shift;
            Part part = {};
            if (which < total) {
                unsigned at = 0;  // the first one that ends behind it
                UNROLL for (int half = THREADS / 2; half > 0; half /= 2)
                    at += ends[at + half - 1] <= which ? half : 0;
                const unsigned spike = which - (at ? ends[at - 1] : 0);
                const unsigned id = __ldcg(a.list.ids + (rows[at] >> 1) * a.list.room + spike);
                const unsigned segment = (unsigned)layer.first + from + at;
                part = part_of(layer, id, segment, item & ((1u << shift) - 1), shift);
                part.ahead = rows[at] & 1;
            }
            add_parts(layer, a.sums, part);
        }
    }
}

// Given spikes: those of the step are listed, and recorded where asked.
struct Train {
    const long long* steps;  // ascending
    const int* senders;
    long long many;
    long long* next;     // the first spike that is still to come
    long long first_id;  // of sender 0
    long long word, words;  // where its bits are recorded, or -1
};

struct Give {
    Clock clock;
    List list;
    Bits bits;
    const Train* trains;  // one a block
};

GLOBAL void __launch_bounds__(THREADS) give(Give a) {
    const long long now = step_of(a.clock);
    const Train train = a.trains[blockIdx.x];
    const long long first = *train.next;
    pass_on(a.clock, now);
    unsigned* bits = nullptr;
    if (train.word >= 0) {
        bits = a.bits.words + (now - *a.bits.first) * a.bits.stride + train.word;
        for (long long w = threadIdx.x; w < train.words; w += THREADS) bits[w] = 0;
    }
    __syncthreads();
    for (long long k = first + threadIdx.x; k < train.many && train.steps[k] == now; k += THREADS) {
        const unsigned sender = (unsigned)train.senders[k];
        if (bits) atomicAdd(bits + sender / 32, 1u << sender % 32);
        if (a.list.ids) {
            const unsigned place = atomicAdd(count_of(a.list, now), 1u);
            ids_of(a.list, now)[place] = (unsigned)train.first_id + sender;
        }
        if (k + 1 == train.many || train.steps[k + 1] != now) *train.next = k + 1;
    }
}

// States that are recorded after a step.
struct Watch {
    const real* state;
    const int* columns;
    real* values;  // [steps][many]
    long long many;
};

struct Watching {
    Clock clock;
    const long long* first;
    const Watch* watches;
    long long shares;  // blocks of each
};

GLOBAL void __launch_bounds__(THREADS) watch(Watching a) {
    const long long now = step_of(a.clock), row = now - *a.first;
    pass_on(a.clock, now);
    const Watch& watch = a.watches[blockIdx.x / a.shares];
    const long long stride = a.shares * THREADS;
    for (long long i = blockIdx.x % a.shares * THREADS + threadIdx.x; i < watch.many; i += stride)
        watch.values[row * watch.many + i] = watch.state[watch.columns[i]];
}

struct Tick {
    Clock clock;
};

GLOBAL void __launch_bounds__(THREADS) tick(Tick a) { pass_on(a.clock, step_of(a.clock)); }

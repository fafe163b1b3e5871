// From spikes to the rings of their targets, and what else a step needs; needs engine.cuh.

// Synapses of every sender onto one ring: a row for each, `delay * columns + target` of each synapse.
struct Layer {
    const long long* begins;  // [ids + 1]
    const unsigned* place;    // filled up to whole groups of 4
    const whole* weight;      // of each synapse, or null
    const whole* of_row;      // of each row, where there is none of each synapse
    whole* ring;
    long long columns, last_slot;
};

struct Deliver {
    Clock clock;
    List list;
    Layer layers[LAYERS];
};

struct alignas(4 * sizeof(whole)) Four {
    whole of[4];
};

// Four neighbours, which are not read again soon: rings are to stay in the cache.
DEVICE uint4 load_places(const unsigned* from) { return __ldcs((const uint4*)from); }
DEVICE Four load_weights(const whole* from) {
    uint4 words[sizeof(Four) / 16];
    UNROLL for (int i = 0; i < sizeof(Four) / 16; ++i) words[i] = __ldcs((const uint4*)from + i);
    Four four;
    memcpy(&four, words, sizeof four);
    return four;
}

// A row is shared by as many warps as there are for each spike; a thread takes 4 neighbours at once.
GLOBAL void __launch_bounds__(THREADS) deliver(Deliver a) {
    const long long now = step_of(a.clock);
    // Both counts, so as not to wait for the step first.
    const uint2 counts = __ldcg((const uint2*)a.list.counts);
    const unsigned spikes = now & 1 ? counts.y : counts.x;
    pass_on(a.clock, now);
    if (blockIdx.x == 0 && threadIdx.x == 0) a.list.counts[(now + 1) & 1] = 0;
    if (spikes == 0) return;
    const Layer layer = a.layers[blockIdx.x % LAYERS];
    const unsigned* ids = a.list.ids + (now & 1) * a.list.room;
    const unsigned warps = gridDim.x / LAYERS * (THREADS / 32), lane = threadIdx.x % 32;
    const unsigned warp = blockIdx.x / LAYERS * (THREADS / 32) + threadIdx.x / 32;
    const unsigned each = warps / spikes;
    const int shift = each > 1 ? min(31 - __clz((int)each), MOST_SHARED) : 0;
    const unsigned size = (unsigned)(layer.columns * (layer.last_slot + 1));
    const unsigned base = (unsigned)((now & layer.last_slot) * layer.columns);
    for (unsigned item = warp; item < spikes << shift; item += warps) {
        const unsigned id = __ldcg(ids + (item >> shift));
        const unsigned part = item & ((1u << shift) - 1);
        const long long begin = __ldg(layer.begins + id), end = __ldg(layer.begins + id + 1);
        const tally same = layer.weight ? 0 : (tally)__ldg(layer.of_row + id);
        for (long long k = (begin & ~3ll) + 4 * (32 * part + lane); k < end; k += 128ll << shift) {
            const uint4 four = load_places(layer.place + k);
            const unsigned place[4] = {four.x, four.y, four.z, four.w};
            Four weight;
            if (layer.weight) weight = load_weights(layer.weight + k);
            // Neighbours that belong to other rows add nothing, wherever they lead.
            const int before = (int)(begin - k), stop = (int)min(end - k, 4ll);
            UNROLL for (int j = 0; j < 4; ++j) {
                const unsigned at = base + place[j];
                const tally more = layer.weight ? (tally)weight.of[j] : same;
                atomicAdd((tally*)layer.ring + (at >= size ? at - size : at),
                          j >= before && j < stop ? more : 0);
            }
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
            const unsigned place = atomicAdd(a.list.counts + (now & 1), 1u);
            a.list.ids[(now & 1) * a.list.room + place] = (unsigned)train.first_id + sender;
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

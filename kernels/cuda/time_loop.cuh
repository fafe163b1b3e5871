// One thread runs W neighbouring neurons over all steps, K steps at a time in registers.
//
// The text before this file defines: real, storage, the counts INPUTS, STATES, PARAMETERS, NUMBERS,
// WANTED, DRAWS, the variant (W, K, PIPELINED, THREADS, EVERY, TRACES, SPIKES), and the functions
// `step` and `step_back` of one neuron. A sequence is [steps, neurons]; indices are 64 bits wide,
// since steps * neurons passes 2^31.

#if DRAWS
#define DRAW(name, a, t, n) Draw name(a.position, a.layer, a.sample_size, a.channels, t, n)
#define DRAWN(name) , name
#else
#define DRAW(name, a, t, n)
#define DRAWN(name)
#endif

struct Operand {
    const real* array;  // the value of neuron n is array[(n / inner) % count]
    alignas(8) real value;  // the value of all where there is no array
    alignas(8) unsigned inner;
    unsigned count;
};

// First what differs from launch to launch.
struct Arguments {
    const storage* inputs[SOME(INPUTS)];
    real* checkpoints;
    const long long* position;
    union {
        struct {
            void* output;
            real* final[SOME(STATES)];
            real* traces[SOME(STATES)];
        };
        struct {
            const storage* d_output;
            const real* d_final[SOME(STATES)];
            const real* d_traces[SOME(STATES)];
            storage* d_inputs[SOME(INPUTS)];
            real* d_initial[SOME(STATES)];
            real* partials;
        };
    };
    long long steps, neurons, group, groups;
    unsigned layer, sample_size, channels, padding;
    alignas(8) real numbers[SOME(NUMBERS)];
    Operand parameters[SOME(PARAMETERS)];
    Operand initial[SOME(STATES)];
};

// W values as they are stored; 16-bit ones stay packed two a word until they are used.
#if STORAGE != 0 && W % 2 == 0
struct alignas(sizeof(storage) * W) Pack {
    unsigned word[W / 2];
};
DEVICE real lane(const Pack& from, int w) {
    return w % 2 ? high_real(from.word[w / 2]) : low_real(from.word[w / 2]);
}
DEVICE Pack pack(const real (&value)[W]) {
    Pack out;
    UNROLL for (int w = 0; w < W; w += 2) out.word[w / 2] = to_word(value[w], value[w + 1]);
    return out;
}
#else
struct alignas(sizeof(storage) * W) Pack {
    storage value[W];
};
DEVICE real lane(const Pack& from, int w) { return to_real(from.value[w]); }
DEVICE Pack pack(const real (&value)[W]) {
    Pack out;
    UNROLL for (int w = 0; w < W; ++w) out.value[w] = to_storage(value[w]);
    return out;
}
#endif

struct alignas(sizeof(real) * W > 16 ? 16 : sizeof(real) * W) Reals {
    real lane[W];
};

struct Neurons {
    real state[W][SOME(STATES)];
};

struct Constants {
    real parameter[W][SOME(PARAMETERS)];
    real number[SOME(NUMBERS)];
};

// Which element of an operand each of W neighbouring neurons reads.
struct Places {
    unsigned inner, count;  // of the operand that it was found for
    unsigned of[W];
};

DEVICE void find_places(Places& at, const Operand& from, long long n) {
    if (at.inner == from.inner && at.count == from.count) return;  // divisions take longest
    at.inner = from.inner;
    at.count = from.count;
    const unsigned long long row = (n + W) >> 32 ? (unsigned long long)n / from.inner
                                                 : (unsigned)n / from.inner;
    unsigned within = (unsigned)(n - row * from.inner);
    unsigned element = row >> 32 ? (unsigned)(row % from.count) : (unsigned)row % from.count;
    UNROLL for (int w = 0; w < W; ++w) {
        at.of[w] = element;
        if (++within == from.inner) {
            within = 0;
            if (++element == from.count) element = 0;
        }
    }
}

// Operands are the parameters, then the initial states. Those that are one number stay in constant
// memory, where instructions read them; others take a register for each neuron.
DEVICE void pick(Places& at, const Arguments& a, int operand, long long n, real (&out)[W]) {
    const bool is_initial = operand >= PARAMETERS;
    const Operand& from = is_initial ? a.initial[operand - PARAMETERS] : a.parameters[operand];
    if (ONE_NUMBER >> operand & 1) {
        UNROLL for (int w = 0; w < W; ++w) out[w] = from.value;
    } else {
        find_places(at, from, n);
        UNROLL for (int w = 0; w < W; ++w) out[w] = from.array[at.of[w]];
    }
}

DEVICE Constants constants(const Arguments& a, long long n) {
    Constants c;
    Places at;
    at.inner = 0;
    UNROLL for (int i = 0; i < PARAMETERS; ++i) {
        real value[W];
        pick(at, a, i, n, value);
        UNROLL for (int w = 0; w < W; ++w) c.parameter[w][i] = value[w];
    }
    UNROLL for (int i = 0; i < NUMBERS; ++i) c.number[i] = a.numbers[i];
    return c;
}

// The state before step t, which is 0 or a multiple of EVERY.
DEVICE void restore(Neurons& now, const Arguments& a, long long t, long long n) {
    Places at;
    at.inner = 0;
    UNROLL for (int s = 0; s < STATES; ++s) {
        if (t == 0) {
            real value[W];
            pick(at, a, PARAMETERS + s, n, value);
            UNROLL for (int w = 0; w < W; ++w) now.state[w][s] = value[w];
        } else {
            const long long row = (t / EVERY - 1) * STATES + s;
            const Reals saved = *(const Reals*)(a.checkpoints + row * a.neurons + n);
            UNROLL for (int w = 0; w < W; ++w) now.state[w][s] = saved.lane[w];
        }
    }
}

DEVICE void keep(real* where, const Neurons& now, int s) {
    Reals out;
    UNROLL for (int w = 0; w < W; ++w) out.lane[w] = now.state[w][s];
    *(Reals*)where = out;
}

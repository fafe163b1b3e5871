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

template <bool WHOLE>
DEVICE void load_steps(Pack (&into)[K], const storage* from, const Arguments& a, long long t,
                       long long n) {
    const storage* at = from + t * a.neurons + n;
    UNROLL for (int k = 0; k < K; ++k) {
        if (WHOLE || t + k < a.steps) into[k] = load_streaming<Pack>(at + k * a.neurons);
    }
}

DEVICE void load_segment(Pack (&into)[K], const storage* from, const Arguments& a, long long t,
                         long long n) {
    if (t + K <= a.steps)
        load_steps<true>(into, from, a, t, n);
    else
        load_steps<false>(into, from, a, t, n);
}

DEVICE void read_inputs(real (&input)[SOME(INPUTS)], const Pack (&x)[SOME(INPUTS)][K], int k,
                        int w) {
    UNROLL for (int i = 0; i < INPUTS; ++i) input[i] = lane(x[i][k], w);
}

DEVICE void emit(const Arguments& a, long long t, long long n, const real (&out)[W], bool active) {
#if SPIKES == 0
    if (active) store_pack(pack(out), (storage*)a.output + t * a.neurons + n);
#elif SPIKES == 1
    if (active) UNROLL for (int w = 0; w < W; ++w)
        ((unsigned char*)a.output)[t * a.neurons + n + w] = (unsigned char)out[w];
#else
    unsigned bits = 0;
    UNROLL for (int w = 0; w < W; ++w)
        bits |= (unsigned)(active && out[w] != (real)0) << ((n + w) % 32);
    merge_bits<W>((unsigned*)a.output + t * ((a.neurons + 31) / 32) + n / 32, bits, n, a.neurons);
#endif
}

template <bool WHOLE>
DEVICE void run_segment(Neurons& now, const Constants& c, const Pack (&x)[SOME(INPUTS)][K],
                        const Arguments& a, long long t0, long long n, bool active) {
    UNROLL for (int k = 0; k < K; ++k) {
        const long long t = t0 + k;
        if (WHOLE || t < a.steps) {
            if ((K < EVERY ? k == 0 : k % EVERY == 0) && a.checkpoints != nullptr && active &&
                t > 0 && t % EVERY == 0) {
                UNROLL for (int s = 0; s < STATES; ++s)
                    keep(a.checkpoints + ((t / EVERY - 1) * STATES + s) * a.neurons + n, now, s);
            }
            real out[W];
            UNROLL for (int w = 0; w < W; ++w) {
                real input[SOME(INPUTS)];
                read_inputs(input, x, k, w);
                DRAW(draw, a, t, n + w);
                step(now.state[w], input, c.parameter[w], c.number, out[w] DRAWN(draw));
            }
            emit(a, t, n, out, active);
#if TRACES
            if (active) UNROLL for (int s = 0; s < STATES; ++s)
                keep(a.traces[s] + t * a.neurons + n, now, s);
#endif
        }
    }
}

GLOBAL void BOUNDS forward(const Arguments a) {
    long long n = ((long long)blockIdx.x * THREADS + threadIdx.x) * W;
    const bool active = n < a.neurons;
#if SPIKES == 2
    // Every lane of a warp takes part in merging bits; those beyond the end run the last neurons.
    const long long mine = active ? n : a.neurons - W;
#else
    if (!active) return;
    const long long mine = n;
#endif
    const Constants c = constants(a, mine);
    Neurons now;
    restore(now, a, 0, mine);
    Pack x[SOME(INPUTS)][K];
#if PIPELINED
    Pack next[SOME(INPUTS)][K];
    UNROLL for (int i = 0; i < INPUTS; ++i) load_segment(next[i], a.inputs[i], a, 0, mine);
#endif
    for (long long t = 0; t < a.steps; t += K) {
#if PIPELINED
        UNROLL for (int i = 0; i < INPUTS; ++i) UNROLL for (int k = 0; k < K; ++k) x[i][k] = next[i][k];
        if (t + K < a.steps)
            UNROLL for (int i = 0; i < INPUTS; ++i)
                load_segment(next[i], a.inputs[i], a, t + K, mine);
#else
        UNROLL for (int i = 0; i < INPUTS; ++i) load_segment(x[i], a.inputs[i], a, t, mine);
#endif
        if (t + K <= a.steps)
            run_segment<true>(now, c, x, a, t, n, active);
        else
            run_segment<false>(now, c, x, a, t, n, active);
    }
    if (active) UNROLL for (int s = 0; s < STATES; ++s)
        if (a.final[s] != nullptr) keep(a.final[s] + n, now, s);
}

struct Segment {
    Pack x[SOME(INPUTS)][K];
    Pack g[K];
};

DEVICE void load_both(Segment& into, const Arguments& a, long long t, long long n) {
    UNROLL for (int i = 0; i < INPUTS; ++i) load_segment(into.x[i], a.inputs[i], a, t, n);
    if (a.d_output != nullptr) {
        load_segment(into.g, a.d_output, a, t, n);
    } else {
        const real nothing[W] = {};
        UNROLL for (int k = 0; k < K; ++k) into.g[k] = pack(nothing);
    }
}

template <bool WHOLE>
DEVICE void reverse_segment(const Segment& at, Neurons now, Neurons& d,
                            real (&sums)[W][SOME(WANTED)], const Constants& c,
                            const Arguments& a, long long t0, long long n) {
    // Where values kept of a step are not set, that step does not exist.
    real kept[K][W][SOME(KEPT)];
    UNROLL for (int k = 0; k < K; ++k) {
        if (WHOLE || t0 + k < a.steps) UNROLL for (int w = 0; w < W; ++w) {
            real input[SOME(INPUTS)];
            read_inputs(input, at.x, k, w);
            DRAW(draw, a, t0 + k, n + w);
            step_keep(now.state[w], input, c.parameter[w], c.number, kept[k][w] DRAWN(draw));
        }
    }
    UNROLL for (int k = K - 1; k >= 0; --k) {
        const long long t = t0 + k;
        if (WHOLE || t < a.steps) {
            real dx[SOME(INPUTS)][W];
            UNROLL for (int w = 0; w < W; ++w) {
#if TRACES
                UNROLL for (int s = 0; s < STATES; ++s)
                    if (a.d_traces[s] != nullptr)
                        d.state[w][s] += a.d_traces[s][t * a.neurons + n + w];
#endif
                real d_input[SOME(INPUTS)];
                step_back(kept[k][w], c.parameter[w], c.number, d.state[w], lane(at.g[k], w),
                          d_input, sums[w]);
                UNROLL for (int i = 0; i < INPUTS; ++i) dx[i][w] = d_input[i];
            }
            UNROLL for (int i = 0; i < INPUTS; ++i)
                store_pack(pack(dx[i]), a.d_inputs[i] + t * a.neurons + n);
        }
    }
}

DEVICE void reverse_time(Neurons& d, real (&sums)[W][SOME(WANTED)], const Arguments& a,
                         long long n) {
    const Constants c = constants(a, n);
    UNROLL for (int s = 0; s < STATES; ++s) UNROLL for (int w = 0; w < W; ++w)
        d.state[w][s] = a.d_final[s] != nullptr ? a.d_final[s][n + w] : (real)0;
    Segment at;
#if PIPELINED
    Segment next;
    load_both(next, a, (a.steps - 1) / K * K, n);
#endif
    for (long long t = (a.steps - 1) / K * K; t >= 0; t -= K) {
#if PIPELINED
        at = next;
        if (t > 0) load_both(next, a, t - K, n);
#else
        load_both(at, a, t, n);
#endif
        const long long start = t / EVERY * EVERY;
        Neurons now;
        restore(now, a, start, n);
#if K < EVERY
        for (long long early = start; early < t; ++early) {
            Pack here[SOME(INPUTS)];
            UNROLL for (int i = 0; i < INPUTS; ++i)
                here[i] = load_streaming<Pack>(a.inputs[i] + early * a.neurons + n);
            UNROLL for (int w = 0; w < W; ++w) {
                real input[SOME(INPUTS)], out;
                UNROLL for (int i = 0; i < INPUTS; ++i) input[i] = lane(here[i], w);
                DRAW(draw, a, early, n + w);
                step(now.state[w], input, c.parameter[w], c.number, out DRAWN(draw));
            }
        }
#endif
        if (t + K <= a.steps)
            reverse_segment<true>(at, now, d, sums, c, a, t, n);
        else
            reverse_segment<false>(at, now, d, sums, c, a, t, n);
    }
}

GLOBAL void BOUNDS backward(const Arguments a) {
    const long long n = ((long long)blockIdx.x * THREADS + threadIdx.x) * W;
    Neurons d;
    real sums[W][SOME(WANTED)];
    UNROLL for (int w = 0; w < W; ++w) UNROLL for (int i = 0; i < WANTED; ++i) sums[w][i] = 0;
    if (n < a.neurons) {
        reverse_time(d, sums, a, n);
        UNROLL for (int s = 0; s < STATES; ++s)
            if (a.d_initial[s] != nullptr) keep(a.d_initial[s] + n, d, s);
    }
    if (a.partials != nullptr) UNROLL for (int i = 0; i < WANTED; ++i) {
        real of[W];
        UNROLL for (int w = 0; w < W; ++w) of[w] = sums[w][i];
        write_sum(a.partials + i * a.groups, of, n, a.neurons, a.group);
    }
}

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

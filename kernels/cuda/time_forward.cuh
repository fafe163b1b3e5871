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

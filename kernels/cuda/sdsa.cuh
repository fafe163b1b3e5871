// Sums over tokens of the product of two maps, and one of them masked. After device.cuh.
// A map is [outer][token][inner]: inner counts channels where they lie innermost, else it is 1.
// V: neighbouring values of a thread, 16 bytes or one. SHARE: threads that share the tokens of a
// channel, a power of two. MASKED: 1 also writes the first map times the gate of its channel.

struct TokenSums {
    const storage* first;
    const storage* second;
    const real* gate;  // [outer][inner], as the sums
    real* sums;
    storage* masked;
    long long outer;
    unsigned tokens, inner;
};

struct Run {
    storage of[V];
};
typedef Word<V * sizeof(storage)>::type RunWord;

// Read once in this pass. Bytes are copied, as a word may not stand for an array.
DEVICE Run load_run(const storage* from) {
    const RunWord word = __ldcs((const RunWord*)from);
    Run run;
    memcpy(&run, &word, sizeof(run));
    return run;
}

DEVICE void store_masked(const TokenSums& a, const Run& run, const real (&gate)[V], long long at) {
#if MASKED
    Run out;
    UNROLL for (int v = 0; v < V; ++v) out.of[v] = to_storage(to_real(run.of[v]) * gate[v]);
    RunWord word;
    memcpy(&word, &out, sizeof(word));
    *(RunWord*)(a.masked + at) = word;
#endif
}

// Channels innermost: a thread takes V channels and every SHARE-th token. Neighbouring threads take
// neighbouring channels.
GLOBAL void LAUNCH_BOUNDS sums_of_channels(TokenSums a) {
    __shared__ real of_lane[SHARE][THREADS / SHARE][V];
    const unsigned column = threadIdx.x % (THREADS / SHARE), lane = threadIdx.x / (THREADS / SHARE);
    const unsigned runs = a.inner / V;
    const long long place = (long long)blockIdx.x * (THREADS / SHARE) + column;
    const bool is_there = place < a.outer * runs;
    const long long channel = place / runs * a.inner + place % runs * V;
    const long long begin = place / runs * a.inner * a.tokens + place % runs * V;
    real sum[V], gate[V];
    UNROLL for (int v = 0; v < V; ++v) {
        sum[v] = 0;
        gate[v] = MASKED && is_there ? a.gate[channel + v] : (real)0;
    }
    _Pragma("unroll 4") for (unsigned n = lane; n < a.tokens && is_there; n += SHARE) {
        const long long at = begin + (long long)n * a.inner;
        const Run x = load_run(a.first + at), y = load_run(a.second + at);
        UNROLL for (int v = 0; v < V; ++v) sum[v] += to_real(x.of[v]) * to_real(y.of[v]);
        store_masked(a, x, gate, at);
    }
    UNROLL for (int v = 0; v < V; ++v) of_lane[lane][column][v] = sum[v];
    __syncthreads();
    if (lane > 0 || !is_there) return;
    UNROLL for (int v = 0; v < V; ++v) {
        UNROLL for (int other = 1; other < SHARE; ++other) sum[v] += of_lane[other][column][v];
        a.sums[channel + v] = sum[v];
    }
}

// Tokens innermost: SHARE neighbouring threads of a warp take the tokens of one channel.
GLOBAL void LAUNCH_BOUNDS sums_of_rows(TokenSums a) {
    const long long row = ((long long)blockIdx.x * THREADS + threadIdx.x) / SHARE;
    const unsigned lane = threadIdx.x % SHARE;
    const bool is_there = row < a.outer;
    real gate[V], sum = 0;
    UNROLL for (int v = 0; v < V; ++v) gate[v] = MASKED && is_there ? a.gate[row] : (real)0;
    _Pragma("unroll 4") for (unsigned n = lane * V; n < a.tokens && is_there; n += SHARE * V) {
        const long long at = row * a.tokens + n;
        const Run x = load_run(a.first + at), y = load_run(a.second + at);
        UNROLL for (int v = 0; v < V; ++v) sum += to_real(x.of[v]) * to_real(y.of[v]);
        store_masked(a, x, gate, at);
    }
    UNROLL for (int other = 1; other < SHARE; other *= 2)
        sum += __shfl_xor_sync(0xffffffffu, sum, other);
    if (lane == 0 && is_there) a.sums[row] = sum;
}

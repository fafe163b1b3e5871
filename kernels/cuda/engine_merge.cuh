// Rows of a projection into those of a layer, which are sorted by delay; needs engine.cuh.

struct Merge {
    const long long* indptr;  // [rows + 1]
    const void* place;        // the target, with no delay given `delay * neurons + target`
    long long place_bytes;
    const void* weight;  // signed, or null
    long long weight_bytes;
    long long rows, neurons;
    long long delay;   // of all, or -1
    long long slots;   // a delay is below this
    long long passed;  // steps of a delay that are over when its first spikes are delivered
    long long sum;     // where target 0 is among the sums
    // Three passes: with `ends` null lags are marked; then `lags` tells the segment of each, and
    // `ends` counts; then it says where the next synapse of a segment goes.
    int* lags;       // [slots]
    unsigned* ends;  // [rows][segments]
    long long segments;
    const long long* begins;  // [rows]
    unsigned* places;         // null but in the third pass
    whole* weights;
    int* wrong;
};

DEVICE long long signed_at(const void* array, long long bytes, long long k) {
    if (bytes == 1) return ((const signed char*)array)[k];
    if (bytes == 2) return ((const short*)array)[k];
    return bytes == 4 ? ((const int*)array)[k] : ((const long long*)array)[k];
}

GLOBAL void __launch_bounds__(THREADS) merge(Merge a) {
    const long long row = ((long long)blockIdx.x * THREADS + threadIdx.x) / 32;
    if (row >= a.rows) return;
    const long long begin = a.indptr[row], end = a.indptr[row + 1];
    for (long long k = begin + threadIdx.x % 32; k < end; k += 32) {
        unsigned target = a.place_bytes == 2 ? ((const unsigned short*)a.place)[k]
                                             : ((const unsigned*)a.place)[k];
        long long delay = a.delay;
        if (delay < 0) {
            delay = target / (unsigned)a.neurons;
            target %= (unsigned)a.neurons;
        }
        const long long lag = delay - a.passed;
        if (target >= a.neurons || delay >= a.slots || lag < 0) {
            *a.wrong = 1;
        } else if (!a.ends) {
            if (!a.lags[lag]) a.lags[lag] = 1;
        } else {
            const unsigned to = atomicAdd(a.ends + row * a.segments + a.lags[lag], 1u);
            if (!a.places) continue;
            a.places[a.begins[row] + to] = (unsigned)(a.sum + target);
            if (a.weights)
                a.weights[a.begins[row] + to] = (whole)signed_at(a.weight, a.weight_bytes, k);
        }
    }
}

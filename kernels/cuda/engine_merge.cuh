// Rows of a projection into those of a layer; needs engine.cuh.

struct Merge {
    const long long* indptr;  // [rows + 1]
    const void* place;        // the target, with no delay given `delay * neurons + target`
    long long place_bytes;
    const void* weight;  // signed, or null
    long long weight_bytes;
    const long long* to;  // [rows]: where each row goes
    long long rows, neurons;
    long long delay;  // of all, or -1
    long long slots;  // a delay is below this
    long long column, columns;  // of target 0, of a slot of the ring
    unsigned* places;
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
    const long long begin = a.indptr[row], end = a.indptr[row + 1], shift = a.to[row] - begin;
    for (long long k = begin + threadIdx.x % 32; k < end; k += 32) {
        unsigned target = a.place_bytes == 2 ? ((const unsigned short*)a.place)[k]
                                             : ((const unsigned*)a.place)[k];
        unsigned delay = (unsigned)a.delay;
        if (a.delay < 0) {
            delay = target / (unsigned)a.neurons;
            target %= (unsigned)a.neurons;
        }
        if (target >= a.neurons || delay >= a.slots) *a.wrong = 1;
        a.places[shift + k] = (unsigned)(delay * a.columns + a.column + target);
        if (a.weights) a.weights[shift + k] = (whole)signed_at(a.weight, a.weight_bytes, k);
    }
}

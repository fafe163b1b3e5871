// Spikes of several processes: from the list of the own ones to bits, and from the bits of all to a list; needs
// engine.cuh. Both work on the last `many` steps.

struct Pack {
    Clock clock;
    List own;            // as many rows as `bits`
    const int* word_of;  // [own.room / 32]: of each 32 ids, or -1: nobody needs them
    unsigned* bits;      // [rows][words]
    long long words, many;
};

// A block a step, which leaves an empty list.
GLOBAL void __launch_bounds__(THREADS) pack(Pack a) {
    const long long now = step_of(a.clock), step = now - blockIdx.x;
    pass_on(a.clock, now);
    const unsigned count = *count_of(a.own, step);
    const unsigned* ids = ids_of(a.own, step);
    unsigned* row = a.bits + (step & a.own.last_row) * a.words;
    for (long long w = threadIdx.x; w < a.words; w += THREADS) row[w] = 0;
    __syncthreads();
    if (threadIdx.x == 0) *count_of(a.own, step) = 0;
    for (unsigned k = threadIdx.x; k < count; k += THREADS) {
        const int word = a.word_of[ids[k] / 32];
        if (word >= 0) atomicAdd(row + word, 1u << ids[k] % 32);
    }
}

struct Unpack {
    Clock clock;
    List list;
    const unsigned* bits;  // [processes][rows][words]
    const int* first_id;   // [processes][words]: of bit 0
    long long processes, last_row, words, many;
};

GLOBAL void __launch_bounds__(THREADS) unpack(Unpack a) {
    const long long now = step_of(a.clock), all = a.processes * a.many * a.words;
    pass_on(a.clock, now);
    for (long long i = (long long)blockIdx.x * THREADS + threadIdx.x; i < all; i += (long long)gridDim.x * THREADS) {
        const long long word = i % a.words, step = now - i / a.words % a.many;
        const long long process = i / a.words / a.many;
        unsigned bits = a.bits[(process * (a.last_row + 1) + (step & a.last_row)) * a.words + word];
        if (bits == 0) continue;
        const unsigned first = (unsigned)a.first_id[process * a.words + word];
        unsigned* to = ids_of(a.list, step) + atomicAdd(count_of(a.list, step), (unsigned)__popc(bits));
        for (; bits; bits &= bits - 1) *to++ = first + (unsigned)__ffs((int)bits) - 1;
    }
}

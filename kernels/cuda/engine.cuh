// What the kernels of a network's step share; needs device.cuh. `real` is the type of states, `whole` of what
// sums count, `tally` the same without a sign, whose sums may wrap around as those of `whole` do.

// All structs begin with one: which step it is, and for the first and the last kernel of a step
// where to write it on. Those between read what the first one wrote, and the last one writes what
// the first one reads, so that no kernel writes what others of its blocks still read.
struct Clock {
    const long long* now;
    long long* next;
    long long ahead;
};

DEVICE long long step_of(const Clock& clock) { return __ldcg(clock.now); }

// After what else is loaded: no load passes a store.
DEVICE void pass_on(const Clock& clock, long long step) {
    if (clock.next && blockIdx.x == 0 && threadIdx.x == 0) *clock.next = step + clock.ahead;
}

// A struct that does not change while kernels run.
template <typename ENTRY> DEVICE ENTRY load_entry(const ENTRY* from) {
    static_assert(sizeof(ENTRY) % 16 == 0, "an entry is read in words of 16 bytes");
    uint4 words[sizeof(ENTRY) / 16];
    UNROLL for (int i = 0; i < (int)(sizeof(ENTRY) / 16); ++i) words[i] = __ldg((const uint4*)from + i);
    ENTRY entry;
    memcpy(&entry, words, sizeof entry);
    return entry;
}

// Spikes of the last steps: those of step n are in row `n & last_row`.
struct List {
    unsigned* ids;     // [rows][room]
    unsigned* counts;  // [rows]
    long long room, last_row;
};

DEVICE unsigned* ids_of(const List& list, long long step) {
    return list.ids + (step & list.last_row) * list.room;
}
DEVICE unsigned* count_of(const List& list, long long step) {
    return list.counts + (step & list.last_row);
}

// Bits that are recorded, [steps][words] from the step `*first` on.
struct Bits {
    unsigned* words;
    long long stride;
    const long long* first;
};

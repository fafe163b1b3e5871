// A step of all neurons of one program; needs engine.cuh, maths.cuh, philox.cuh and what
// kernels/print_update.py prints. A block's neurons are of one population, which is filled up to
// whole blocks: neuron n of a block lies in column WIDTH * blockIdx.x + n of every array.

// What is drawn or given for an input of a population.
struct Drive {
    long long kind;  // 0 nothing, 1 Poisson spikes, 2 noise, 3 a current
    long long input;
    long long weight, seed, stream;
    const void* base;  // whole, double or whole; of each neuron if `moves`
    const void* more;  // limits of counts, unsigned [rows][stride]; deviations, double
    long long rows, stride, moves;
    long long number, unused;  // as of a block
};

struct Block {
    long long neurons;  // of this block
    long long first;    // its first neuron within the population
    long long seed, stream;  // of the numbers that neurons draw themselves
    long long number, unused;  // added to a neuron's index where it draws
};

struct Update {
    Clock clock;
    real* state;            // [STATES][columns]
    const real* arrays;     // [..][columns], parameters of each neuron
    const real* constants;  // [blocks][CONSTANTS], the other ones, with quanta and literals
    const Block* blocks;
    const Drive* drives;  // [blocks][DRIVES]
    long long columns;
    List list;
    long long first_id;  // of column 0 in the list
    Bits bits;
    const int* words;  // [blocks]: where the bits of a block begin, or -1; null if there are none
    whole* sums;       // [INPUTS][columns]: what arrives
    whole* ring[SOME(INPUTS)];  // [slots][columns]: the same, for inputs that have one, by step
    long long last_slot[SOME(INPUTS)];
};

DEVICE unsigned word_of(uint4 words, unsigned which) {
    return which & 2 ? (which & 1 ? words.w : words.z) : (which & 1 ? words.y : words.x);
}

DEVICE uint4 words_of(const Drive& drive, unsigned element, long long step) {
    const uint4 counter = {element, 0u, (unsigned)step, (unsigned)drive.stream << 8};
    return philox(counter, (unsigned)drive.seed, (unsigned)((unsigned long long)drive.seed >> 32));
}

// Four neurons draw from the same words. Where a block has many neurons its threads make them for all, which
// may begin and end within a group of 64; where each has one, waiting for others would take longer.
const bool IS_SHARED = WIDTH > THREADS;
const int SHARED = IS_SHARED ? (WIDTH / 64 + 1) * 16 : 1;

DEVICE void share_words(const Drive& drive, unsigned first, long long step, uint4* words) {
    const unsigned begin = (first + (unsigned)drive.number) / 64;
    const unsigned last = (first + (unsigned)drive.number + WIDTH - 1) / 64;
    for (unsigned k = threadIdx.x; k < 16 * (last - begin + 1); k += THREADS)
        words[k] = words_of(drive, 16 * begin + k, step);
}

// The numbers of kernels/inputs_numba.py.
DEVICE tally drawn(const Drive& drive, const Block& block, unsigned neuron, long long step,
                   const uint4* shared) {
    const long long at = drive.moves ? neuron : 0;
    const unsigned number = neuron + (unsigned)drive.number;
    if (drive.kind == 3) return (tally)__ldg((const whole*)drive.base + neuron);
    if (drive.kind == 1) {
        const unsigned* limit = (const unsigned*)drive.more + at;
        const unsigned group = number / 64 - ((unsigned)block.first + (unsigned)drive.number) / 64;
        const uint4 words = IS_SHARED ? shared[group * 16 + number % 16]
                                      : words_of(drive, number / 64 * 16 + number % 16, step);
        const unsigned word = word_of(words, number / 16 % 4);
        unsigned many = 0;
        // Limits ascend, in whole groups of 8.
        for (long long k = 0; k < drive.rows; k += 8) {
            bool is_more = false;
            UNROLL for (int j = 0; j < 8; ++j) {
                is_more = word > __ldg(limit + (k + j) * drive.stride);
                many += is_more;
            }
            if (!is_more) break;
        }
        return (tally)__ldg((const whole*)drive.base + at) + many * (tally)drive.weight;
    }
    const uint4 words = words_of(drive, number / 32 * 16 + number % 16, step);
    const float z = normal(number / 16 % 2 ? uint2{words.z, words.w} : uint2{words.x, words.y});
    const double size = mul(__ldg((const double*)drive.more + at), (double)z);
    return (tally)(long long)rint(add(__ldg((const double*)drive.base + at), size));
}

GLOBAL void __launch_bounds__(THREADS) update(Update a) {
    const Block block = load_entry(a.blocks + blockIdx.x);
    const long long begin = (long long)blockIdx.x * WIDTH;
    real quantum[SOME(INPUTS)], parameter[SOME(PARAMETERS)], number[SOME(NUMBERS)];
    look_up(a.constants + (long long)blockIdx.x * CONSTANTS, quantum, parameter, number);
    const long long now = step_of(a.clock);
    __shared__ uint4 words[SOME(DRIVES)][SHARED];
    const Drive* const drives = a.drives + (long long)blockIdx.x * DRIVES;
    UNROLL for (int d = 0; d < (IS_SHARED ? DRIVES : 0); ++d) {
        const Drive drive = load_entry(drives + d);
        if (drive.kind == 1) share_words(drive, (unsigned)block.first, now, words[d]);
    }
    if (IS_SHARED) __syncthreads();
    const long long bits = a.words ? a.words[blockIdx.x] : -1;
    unsigned* const row = bits < 0 ? nullptr : a.bits.words + (now - *a.bits.first) * a.bits.stride + bits;
    UNROLL for (unsigned from = 0; from < WIDTH; from += THREADS) {
        const unsigned place = from + threadIdx.x, neuron = (unsigned)block.first + place;
        const long long column = begin + place;
        const bool is_neuron = place < block.neurons;
        real state[SOME(STATES)], input[SOME(INPUTS)], output;
        tally total[SOME(INPUTS)];
        UNROLL for (int i = 0; i < STATES; ++i) state[i] = a.state[i * a.columns + column];
        look_up_own(a.arrays + column, a.columns, parameter);
        whole* const sum = a.sums + column;
        whole* slot[SOME(INPUTS)];
        UNROLL for (int i = 0; i < INPUTS; ++i) {
            total[i] = DRIVEN >> i & 1 ? (tally)__ldcg(sum + i * a.columns) : 0;
            if (!(RINGED >> i & 1)) continue;
            slot[i] = a.ring[i] + (now & a.last_slot[i]) * a.columns + column;
            total[i] += (tally)__ldcg(slot[i]);
        }
        UNROLL for (int d = 0; d < DRIVES; ++d) {
            const Drive drive = load_entry(drives + d);
            if (drive.kind == 0) break;
            const tally more = is_neuron ? drawn(drive, block, neuron, now, words[d]) : 0;
            UNROLL for (int i = 0; i < INPUTS; ++i) total[i] += drive.input == i ? more : 0;
        }
        UNROLL for (int i = 0; i < INPUTS; ++i) {
            if (DRIVEN >> i & 1) sum[i * a.columns] = 0;
            if (RINGED >> i & 1) *slot[i] = 0;
            input[i] = DRIVEN >> i & 1 ? mul((real)(whole)total[i], quantum[i]) : (real)0;
        }
#if DRAWS
        Draw draw((unsigned long long)block.seed, (unsigned)block.stream,
                  neuron + (unsigned)block.number, (unsigned)now);
        step(state, input, parameter, number, output, draw);
#else
        step(state, input, parameter, number, output);
#endif
        if (is_neuron)
            UNROLL for (int i = 0; i < STATES; ++i) a.state[i * a.columns + column] = state[i];

        const bool is_spike = is_neuron && output >= (real)0.5;
        const unsigned spikes = __ballot_sync(0xffffffffu, is_spike), lane = threadIdx.x % 32;
        if (row && lane == 0 && is_neuron) row[place / 32] = spikes;
        if (spikes == 0 || !a.list.ids) continue;
        unsigned to = 0;
        if (lane == 0) to = atomicAdd(count_of(a.list, now), (unsigned)__popc(spikes));
        to = __shfl_sync(0xffffffffu, to, 0) + __popc(spikes & ((1u << lane) - 1));
        if (is_spike) ids_of(a.list, now)[to] = (unsigned)(a.first_id + column);
    }
    pass_on(a.clock, now);
}

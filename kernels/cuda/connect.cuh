// Connections drawn at random: the numbers of connect_numba.py, bit for bit; needs philox.cuh.
//
// A synapse is a key, `source * n_post + target`; keys are left in any order, to be sorted.
// Structs hold numbers of 64 bits. THREADS: of a block.

#define DEVICE static __device__ __forceinline__
#define GLOBAL extern "C" __global__ void __launch_bounds__(THREADS)
#define UNROLL _Pragma("unroll")

typedef unsigned long long uint64;

DEVICE uint4 words_of(uint64 seed, unsigned first, unsigned second, unsigned stage) {
    return philox({first, second, stage, 0xFFFFFF01u}, (unsigned)seed, (unsigned)(seed >> 32));
}

DEVICE unsigned choose(const uint4& words, unsigned k) {
    return k < 2 ? (k == 0 ? words.x : words.y) : (k == 2 ? words.z : words.w);
}

// Words `w` whose `w * columns` ends below this are drawn anew (Lemire, 2019).
DEVICE unsigned rejected(unsigned columns) { return (0u - columns) % columns; }

struct Rows {
    long long* keys;  // [rows][degree]
    unsigned* seen;   // [blocks][words]: for draws without repetition
    uint64 seed;
    long long rows, degree, columns;  // columns: that are drawn from
    long long skip;                   // whether row r leaves out column r
    long long row_stride, column_stride;
};

DEVICE long long key_of(const Rows& a, long long row, long long column) {
    return row * a.row_stride + (column + (a.skip && column >= row)) * a.column_stride;
}

// Draw k of four of a row.
DEVICE unsigned column_of(const Rows& a, const uint4& words, unsigned bound, unsigned row,
                          unsigned four, unsigned k) {
    unsigned word = choose(words, k);
    for (unsigned stage = 1; word * (unsigned)a.columns < bound; ++stage)
        word = choose(words_of(a.seed, row, four, stage), k);
    return __umulhi(word, (unsigned)a.columns);
}

// A thread has four draws of a row.
GLOBAL draw_rows(Rows a) {
    const long long fours = (a.degree + 3) / 4, i = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (i >= a.rows * fours) return;
    const unsigned row = (unsigned)(i / fours), four = (unsigned)(i % fours);
    const unsigned bound = rejected((unsigned)a.columns);
    const uint4 words = words_of(a.seed, row, four, 0);
    UNROLL for (unsigned k = 0; k < 4; ++k)
        if (4ll * four + k < a.degree)
            a.keys[row * a.degree + 4ll * four + k] =
                key_of(a, row, column_of(a, words, bound, row, four, k));
}

// The first different draws of a row, or all columns but these where they are fewer. A block has a
// row at a time; each round draws what is missing, and so never too many.
GLOBAL draw_different(Rows a) {
    __shared__ int found, written;
    const bool is_rest = 2 * a.degree > a.columns;
    const int wanted = (int)(is_rest ? a.columns - a.degree : a.degree);
    const long long size = (a.columns + 31) / 32;
    const unsigned bound = rejected((unsigned)a.columns);
    unsigned* seen = a.seen + blockIdx.x * size;
    for (long long row = blockIdx.x; row < a.rows; row += gridDim.x) {
        for (long long w = threadIdx.x; w < size; w += THREADS) seen[w] = 0;
        if (threadIdx.x == 0) found = written = 0;
        __syncthreads();
        for (long long first = 0, last = 0;; first = last) {
            const int missing = wanted - found;
            __syncthreads();
            if (missing == 0) break;
            last = first + missing;
            for (long long four = first / 4 + threadIdx.x; 4 * four < last; four += THREADS) {
                const uint4 words = words_of(a.seed, (unsigned)row, (unsigned)four, 0);
                UNROLL for (unsigned k = 0; k < 4; ++k) {
                    if (4 * four + k < first || 4 * four + k >= last) continue;
                    const unsigned c =
                        column_of(a, words, bound, (unsigned)row, (unsigned)four, k);
                    const unsigned bit = 1u << c % 32;
                    if (!(atomicOr(seen + c / 32, bit) & bit)) atomicAdd(&found, 1);
                }
            }
            __syncthreads();
        }
        for (long long w = threadIdx.x; w < size; w += THREADS) {
            unsigned bits = is_rest ? ~seen[w] : seen[w];
            if (32 * w + 32 > a.columns) bits &= (1u << a.columns % 32) - 1;
            long long place = row * a.degree + atomicAdd(&written, __popc(bits));
            for (; bits; bits &= bits - 1)
                a.keys[place++] = key_of(a, row, 32 * w + __ffs((int)bits) - 1);
        }
        __syncthreads();
    }
}

struct Pairs {
    long long* keys;
    uint64 seed;
    long long first, count;  // pairs; the first is even
    long long n_pre, n_post, skip;
};

// A thread has two pairs.
GLOBAL draw_pairs(Pairs a) {
    const long long i = (long long)blockIdx.x * THREADS + threadIdx.x;
    const long long block = a.first / 2 + i;
    const unsigned n_pre = (unsigned)a.n_pre, columns = (unsigned)(a.n_post - a.skip);
    const unsigned of_source = rejected(n_pre), of_column = rejected(columns);
    const unsigned low = (unsigned)block, high = (unsigned)(block >> 32);
    const uint4 words = words_of(a.seed, low, high, 0);
    UNROLL for (int k = 0; k < 2; ++k) {
        if (2 * i + k >= a.count) return;
        uint2 pair = k ? uint2{words.z, words.w} : uint2{words.x, words.y};
        for (unsigned stage = 1; pair.x * n_pre < of_source || pair.y * columns < of_column;
             ++stage) {
            const uint4 others = words_of(a.seed, low, high, stage);
            pair = k ? uint2{others.z, others.w} : uint2{others.x, others.y};
        }
        const long long source = __umulhi(pair.x, n_pre), column = __umulhi(pair.y, columns);
        a.keys[2 * i + k] = source * a.n_post + column + (a.skip && column >= source);
    }
}

struct Gaps {
    long long* indptr;     // [rows + 1]; row r + 1 gets the count of row r if there is no target
    int* target;           // or null
    const uint64* longer;  // [size]: how many of 2^32 gaps are longer than each
    const int* guide;      // [256]: where the search begins, by the first byte of a word
    uint64 seed;
    long long rows, columns, skip, size;
};

// The sum over this lane and all below it.
DEVICE long long sum_to(long long value) {
    const unsigned lane = threadIdx.x % 32;
    UNROLL for (unsigned by = 1; by < 32; by *= 2) {
        const long long other = __shfl_sync(0xffffffffu, value, (int)(lane - by) & 31);
        if (lane >= by) value += other;
    }
    return value;
}

// Columns that a row takes with one probability. A warp has a row, a thread four gaps at a time; a
// gap longer than the table goes on from its end.
GLOBAL draw_gaps(Gaps a) {
    const long long row = ((long long)blockIdx.x * THREADS + threadIdx.x) / 32;
    if (row >= a.rows) return;
    const unsigned lane = threadIdx.x % 32;
    long long place = a.target ? a.indptr[row] : 0, column = 0;
    for (unsigned four = lane; column < a.columns; four += 32) {
        const uint4 words = words_of(a.seed, (unsigned)row, four, 0);
        long long at[4], end = 0;
        bool is_taken[4];
        UNROLL for (unsigned k = 0; k < 4; ++k) {
            const unsigned word = choose(words, k);
            long long gap = a.guide[word >> 24];
            while (gap < a.size && word < a.longer[gap]) ++gap;
            at[k] = end += gap;
            is_taken[k] = gap < a.size;
            end += is_taken[k];
        }
        const long long sum = sum_to(end), before = column + sum - end;
        int many = 0;
        UNROLL for (int k = 0; k < 4; ++k) {
            is_taken[k] = is_taken[k] && before + at[k] < a.columns;
            many += is_taken[k];
        }
        const long long count = sum_to(many);
        long long to = place + count - many;
        UNROLL for (int k = 0; k < 4; ++k) {
            if (!is_taken[k]) continue;
            const long long c = before + at[k];
            if (a.target) a.target[to] = (int)(c + (a.skip && c >= row));
            ++to;
        }
        place += __shfl_sync(0xffffffffu, count, 31);
        column += __shfl_sync(0xffffffffu, sum, 31);
    }
    if (!a.target && lane == 0) a.indptr[row + 1] = place;
}

// What CUDA text needs to be compiled by a host compiler (g++ -std=c++17 -ffp-contract=off).
//
// A kernel becomes a plain function; `launch(grid, block, [&] { kernel(...); })` runs it. The threads
// of a block are fibers: one runs until it waits for others, at __syncthreads or at a shuffle, so
// that no two run at once, and the order in which they write is always the same. Shared memory is
// static: blocks run one after the other.

// The checked longjmp takes a fiber's stack for a frame that has ended.
#undef _FORTIFY_SOURCE
#include <setjmp.h>
#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#define __device__
#define __host__
#define __global__
#define __shared__ static
#define __constant__ static const
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __restrict__ __restrict
#define __launch_bounds__(...)
#define __align__(n) alignas(n)

struct alignas(8) uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
struct alignas(8) int2 { int x, y; };
struct alignas(16) int4 { int x, y, z, w; };
struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(16) double2 { double x, y; };
struct alignas(16) ulonglong2 { unsigned long long x, y; };
struct uint3 { unsigned x, y, z; };
struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

static dim3 gridDim, blockDim;
static uint3 blockIdx, threadIdx;
static const int warpSize = 32;

// Threads of a block

struct Fiber {
    enum Wait { READY, WARP, BLOCK, DONE } wait;
    jmp_buf at;  // where it goes on
    uint3 index;
    unsigned char slot[16];  // what a shuffle gives to others
};

static Fiber* fibers;  // as many as the widest block so far has threads, for good
static unsigned fibers_made, running, threads_of_block;
static jmp_buf scheduler;
static void (*call_kernel)(const void*);
static const void* kernel_of_block;

static inline void wait_for(Fiber::Wait whom) {
    fibers[running].wait = whom;
    if (_setjmp(fibers[running].at) == 0) _longjmp(scheduler, 1);
}

// Runs a thread of each block, one after the other.
static inline void run_fiber() {
    while (true) {
        wait_for(Fiber::DONE);
        call_kernel(kernel_of_block);
    }
}

static inline void go_on() {
    threadIdx = fibers[running].index;
    if (_setjmp(scheduler) == 0) _longjmp(fibers[running].at, 1);
}

// Only the first step onto a stack takes a ucontext, whose switches are calls of the system.
static inline void add_fiber() {
    const unsigned size = 1 << 16;
    running = fibers_made++;
    fibers = (Fiber*)std::realloc(fibers, fibers_made * sizeof(Fiber));
    ucontext_t context;
    getcontext(&context);
    context.uc_stack.ss_sp = std::malloc(size);
    context.uc_stack.ss_size = size;
    makecontext(&context, run_fiber, 0);
    if (_setjmp(scheduler) == 0) setcontext(&context);
}

// Lets those go on that wait for each other and are all there; threads that ended are not missed.
static inline bool release(unsigned first, unsigned last, Fiber::Wait whom) {
    unsigned waiting = 0, others = 0;
    for (unsigned i = first; i < last; ++i) {
        waiting += fibers[i].wait == whom;
        others += fibers[i].wait != whom && fibers[i].wait != Fiber::DONE;
    }
    if (waiting == 0 || others > 0) return false;
    for (unsigned i = first; i < last; ++i)
        if (fibers[i].wait == whom) fibers[i].wait = Fiber::READY;
    return true;
}

static inline void run_block() {
    const unsigned threads = threads_of_block;
    for (bool is_moving = true; is_moving;) {
        is_moving = false;
        for (running = 0; running < threads; ++running) {
            if (fibers[running].wait != Fiber::READY) continue;
            go_on();
            is_moving = true;
        }
        for (unsigned i = 0; i < threads; i += 32)
            is_moving |= release(i, i + 32 < threads ? i + 32 : threads, Fiber::WARP);
        is_moving |= release(0, threads, Fiber::BLOCK);
    }
    for (unsigned i = 0; i < threads; ++i) {
        if (fibers[i].wait == Fiber::DONE) continue;
        std::fprintf(stderr, "thread %u waits for threads that wait for something else\n", i);
        std::abort();
    }
}

template <typename Kernel>
static inline void launch(dim3 grid, dim3 block, const Kernel& kernel) {
    threads_of_block = block.x * block.y * block.z;
    gridDim = grid;
    blockDim = block;
    kernel_of_block = &kernel;
    call_kernel = [](const void* kernel) { (*(const Kernel*)kernel)(); };
    while (fibers_made < threads_of_block) add_fiber();
    for (unsigned i = 0; i < threads_of_block; ++i)
        fibers[i].index = {i % block.x, i / block.x % block.y, i / (block.x * block.y)};
    for (unsigned b = 0; b < grid.x * grid.y * grid.z; ++b) {
        blockIdx = {b % grid.x, b / grid.x % grid.y, b / (grid.x * grid.y)};
        for (unsigned i = 0; i < threads_of_block; ++i) fibers[i].wait = Fiber::READY;
        run_block();
    }
}

static inline void __syncthreads() { wait_for(Fiber::BLOCK); }
static inline void __syncwarp(unsigned = 0xffffffffu) { wait_for(Fiber::WARP); }
static inline void __threadfence() {}

// All threads of a warp must take part, whatever the mask says, but for those that have ended.
template <typename T> static inline T exchange(T value, unsigned lane) {
    static_assert(sizeof(T) <= sizeof(Fiber::slot), "a shuffle moves up to 16 bytes");
    const unsigned from = running / 32 * 32 + lane % 32;
    std::memcpy(fibers[running].slot, &value, sizeof(T));
    wait_for(Fiber::WARP);
    if (from < threads_of_block) std::memcpy(&value, fibers[from].slot, sizeof(T));
    wait_for(Fiber::WARP);
    return value;
}

template <typename T> static inline T __shfl_xor_sync(unsigned, T value, int other, int = 32) {
    return exchange(value, running % 32 ^ (unsigned)other);
}
template <typename T> static inline T __shfl_sync(unsigned, T value, int lane, int = 32) {
    return exchange(value, (unsigned)lane);
}
template <typename T> static inline T __shfl_down_sync(unsigned, T value, unsigned by, int = 32) {
    const unsigned lane = running % 32;
    return exchange(value, lane + by < 32 ? lane + by : lane);
}
static inline unsigned __ballot_sync(unsigned, int predicate) {
    unsigned votes = predicate ? 1u << running % 32 : 0u;
    for (int other = 1; other < 32; other *= 2) votes |= __shfl_xor_sync(~0u, votes, other);
    return votes;
}

// Arithmetic

static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fsub_rn(float a, float b) { return a - b; }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fdiv_rn(float a, float b) { return a / b; }
static inline float __fsqrt_rn(float a) { return std::sqrt(a); }
static inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
static inline double __fma_rn(double a, double b, double c) { return std::fma(a, b, c); }
static inline double __dadd_rn(double a, double b) { return a + b; }
static inline double __dsub_rn(double a, double b) { return a - b; }
static inline double __dmul_rn(double a, double b) { return a * b; }
static inline double __ddiv_rn(double a, double b) { return a / b; }
static inline double __dsqrt_rn(double a) { return std::sqrt(a); }
static inline float __fdividef(float a, float b) { return a / b; }
static inline float rsqrtf(float a) { return 1.0f / std::sqrt(a); }
// The C library has functions of these names.
static inline float shim_expf(float a) { return std::exp(a); }
static inline float shim_logf(float a) { return std::log(a); }
#define __expf shim_expf
#define __logf shim_logf

template <typename To, typename From> static inline To shim_bits(From from) {
    static_assert(sizeof(To) == sizeof(From), "a bit cast keeps the size");
    To to;
    std::memcpy(&to, &from, sizeof(To));
    return to;
}
static inline int __float_as_int(float a) { return shim_bits<int>(a); }
static inline unsigned __float_as_uint(float a) { return shim_bits<unsigned>(a); }
static inline float __int_as_float(int a) { return shim_bits<float>(a); }
static inline float __uint_as_float(unsigned a) { return shim_bits<float>(a); }
static inline long long __double_as_longlong(double a) { return shim_bits<long long>(a); }
static inline double __longlong_as_double(long long a) { return shim_bits<double>(a); }

static inline unsigned __umulhi(unsigned a, unsigned b) { return (std::uint64_t)a * b >> 32; }
static inline int __popc(unsigned a) { return __builtin_popcount(a); }
static inline int __popcll(unsigned long long a) { return __builtin_popcountll(a); }
static inline int __clz(int a) { return a ? __builtin_clz((unsigned)a) : 32; }
static inline int __ffs(int a) { return __builtin_ffs(a); }

// Memory

template <typename T> static inline T __ldg(const T* from) { return *from; }
template <typename T> static inline T __ldcs(const T* from) { return *from; }
template <typename T> static inline T __ldcg(const T* from) { return *from; }
template <typename T> static inline void __stcs(T* to, T value) { *to = value; }
template <typename T> static inline void __stcg(T* to, T value) { *to = value; }
template <typename T> static inline T atomicAdd(T* to, T value) {
    const T before = *to;
    *to += value;
    return before;
}
template <typename T> static inline T atomicOr(T* to, T value) {
    const T before = *to;
    *to |= value;
    return before;
}

template <typename T> static inline T min(T a, T b) { return b < a ? b : a; }
template <typename T> static inline T max(T a, T b) { return a < b ? b : a; }

// Single instructions that CUDA has no function for: conversions, and approximations for gradients.

#define PTX static __device__ __forceinline__

PTX float half_to_float(unsigned short value) {
    float out;
    asm("cvt.f32.f16 %0, %1;" : "=f"(out) : "h"(value));
    return out;
}

PTX unsigned short float_to_half(float value) {
    unsigned short out;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(out) : "f"(value));
    return out;
}

#if __CUDA_ARCH__ >= 800
PTX unsigned short float_to_bfloat(float value) {
    unsigned short out;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(out) : "f"(value));
    return out;
}

PTX unsigned floats_to_bfloats(float low, float high) {
    unsigned out;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(out) : "f"(high), "f"(low));
    return out;
}

PTX unsigned floats_to_halves(float low, float high) {
    unsigned out;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(out) : "f"(high), "f"(low));
    return out;
}
#else
PTX unsigned short float_to_bfloat(float value) {
    const unsigned bits = __float_as_uint(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fff;
    return (unsigned short)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

PTX unsigned floats_to_bfloats(float low, float high) {
    return float_to_bfloat(low) | (unsigned)float_to_bfloat(high) << 16;
}

PTX unsigned floats_to_halves(float low, float high) {
    return float_to_half(low) | (unsigned)float_to_half(high) << 16;
}
#endif

// Subnormal numbers count as 0.
PTX float fast_reciprocal(float value) {
    float out;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(out) : "f"(value));
    return out;
}

PTX float fast_power_of_two(float value) {
    float out;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(out) : "f"(value));
    return out;
}

// A place in shared memory: 32 bits, which the compiler does not make anew where it is used.
typedef unsigned Shared;

PTX Shared shared_place(const void* at) {
    Shared out;
    asm volatile("{ .reg .u64 to; cvta.to.shared.u64 to, %1; cvt.u32.u64 %0, to; }"
                 : "=r"(out) : "l"(at));
    return out;
}

// In the order in which they are written, among themselves.
PTX void load_shared(Shared at, float& to) {
    asm volatile("ld.shared.f32 %0, [%1];" : "=f"(to) : "r"(at));
}

PTX void load_shared(Shared at, double& to) {
    asm volatile("ld.shared.f64 %0, [%1];" : "=d"(to) : "r"(at));
}

PTX void load_shared(Shared at, unsigned& to) {
    asm volatile("ld.shared.u32 %0, [%1];" : "=r"(to) : "r"(at));
}

PTX void load_shared(Shared at, uint4& to) {
    asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to.x), "=r"(to.y), "=r"(to.z), "=r"(to.w)
                 : "r"(at));
}

PTX void store_shared(Shared at, float value) {
    asm volatile("st.shared.f32 [%0], %1;" ::"r"(at), "f"(value));
}

PTX void store_shared(Shared at, double value) {
    asm volatile("st.shared.f64 [%0], %1;" ::"r"(at), "d"(value));
}

// Copies 16 bytes without registers; they are there for this thread once it has waited.
PTX void copy_shared(Shared to, const void* from) {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from));
#else
    const uint4 word = *(const uint4*)from;
    asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(word.x), "r"(word.y),
                 "r"(word.z), "r"(word.w));
#endif
}

PTX void wait_for_copies() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_all;");
#endif
}

// Arithmetic in written order, and exp, log and tanh made of it.
//
// A float result is rounded after every operation and no library function is called that rounds, so
// that the device, a host compiler and numba (kernels/maths_numba.py) give the same bits. The
// polynomials are minimax fits, their coefficients rounded to float. Largest errors over all floats,
// in units of the last place: exp_ 1.02, log_ 0.86, tanh_ 1.34. For double these three are the
// platform's own.

__device__ __forceinline__ float add(float a, float b) { return __fadd_rn(a, b); }
__device__ __forceinline__ float sub(float a, float b) { return __fsub_rn(a, b); }
__device__ __forceinline__ float mul(float a, float b) { return __fmul_rn(a, b); }
__device__ __forceinline__ float div(float a, float b) { return __fdiv_rn(a, b); }
__device__ __forceinline__ float abs_(float a) { return fabsf(a); }
__device__ __forceinline__ float round_(float a) { return rintf(a); }
// a * b + c rounded once: the bits of two operations where a is 0 or 1.
__device__ __forceinline__ float fused(float a, float b, float c) { return __fmaf_rn(a, b, c); }

__device__ __forceinline__ double add(double a, double b) { return __dadd_rn(a, b); }
__device__ __forceinline__ double sub(double a, double b) { return __dsub_rn(a, b); }
__device__ __forceinline__ double mul(double a, double b) { return __dmul_rn(a, b); }
__device__ __forceinline__ double div(double a, double b) { return __ddiv_rn(a, b); }
__device__ __forceinline__ double abs_(double a) { return fabs(a); }
__device__ __forceinline__ double round_(double a) { return rint(a); }
__device__ __forceinline__ double fused(double a, double b, double c) { return __fma_rn(a, b, c); }

// One step of Horner's rule.
__device__ __forceinline__ float horner(float total, float x, float coefficient) {
    return add(mul(total, x), coefficient);
}

// 2^n for n from -126 to 127; unsigned, since a NaN brings any n here.
__device__ __forceinline__ float power_of_two(int n) {
    return __int_as_float((int)(((unsigned)n + 127u) << 23));
}

// With x = n ln 2 + r, |r| <= ln(2) / 2: e^x = 2^n (1 + r + r^2 P(r)).
__device__ __forceinline__ float exp_(float x) {
    // Beyond these the result is zero or infinite anyway; a NaN passes both comparisons.
    float y = x < -104.0f ? -104.0f : x;
    y = y > 89.0f ? 89.0f : y;
    // 1.5 * 2^23 more rounds to a whole number, and puts it into the low bits.
    const float shifted = add(mul(y, 1.44269502f), 12582912.0f);
    const float n = sub(shifted, 12582912.0f);
    const float r = sub(sub(y, mul(n, 0.693145752f)), mul(n, 1.42860677e-06f));
    float p = horner(0.00139504916f, r, 0.0083688898f);
    p = horner(p, r, 0.041666206f);
    p = horner(p, r, 0.166665182f);
    p = horner(p, r, 0.5f);
    const float e = add(add(mul(mul(r, r), p), r), 1.0f);
    // In two factors, since 2^n may lie outside the floats; only the last product can round.
    const int whole = (int)((unsigned)__float_as_int(shifted) - 0x4B400000u);
    const int half = whole >> 1;
    return mul(mul(e, power_of_two(half)), power_of_two(whole - half));
}

// With x = 2^n (1 + f) between sqrt(1/2) and sqrt(2) there: n ln 2 + f - f^2 / 2 + f^3 P(f).
__device__ __forceinline__ float log_(float x) {
    const bool is_subnormal = x < 1.17549435e-38f;
    const float scaled = is_subnormal ? mul(x, 8388608.0f) : x;
    const int bits = (int)((unsigned)__float_as_int(scaled) - 0x3F3504F3u);
    const float n = (float)((bits >> 23) - (is_subnormal ? 23 : 0));
    const float f = sub(__int_as_float((bits & 0x7FFFFF) + 0x3F3504F3), 1.0f);
    float p = horner(-0.076344952f, f, 0.12761575f);
    p = horner(p, f, -0.131601825f);
    p = horner(p, f, 0.142017588f);
    p = horner(p, f, -0.166233569f);
    p = horner(p, f, 0.200012267f);
    p = horner(p, f, -0.250008196f);
    p = horner(p, f, 0.333333313f);
    const float square = mul(f, f);
    const float tail = add(mul(mul(f, square), p), mul(n, 1.42860677e-06f));
    float result = add(add(sub(tail, mul(square, 0.5f)), f), mul(n, 0.693145752f));
    result = x > 0.0f ? result : __int_as_float(0x7FC00000);
    result = x == 0.0f ? -__int_as_float(0x7F800000) : result;
    return x == __int_as_float(0x7F800000) ? x : result;
}

// x (1 + x^2 P(x^2)) where |x| is small, else 1 - 2 / (e^(2 |x|) + 1) with the sign of x.
__device__ __forceinline__ float tanh_(float x) {
    const float square = mul(x, x);
    float p = horner(-0.00570498779f, square, 0.020639088f);
    p = horner(p, square, -0.0537397154f);
    p = horner(p, square, 0.133314416f);
    p = horner(p, square, -0.333332807f);
    const float small = mul(x, add(mul(square, p), 1.0f));
    const float size = abs_(x);
    const float large = sub(1.0f, div(2.0f, add(exp_(add(size, size)), 1.0f)));
    return size < 0.625f ? small : (x < 0.0f ? -large : large);
}

__device__ __forceinline__ double exp_(double x) { return exp(x); }
__device__ __forceinline__ double log_(double x) { return log(x); }
__device__ __forceinline__ double tanh_(double x) { return tanh(x); }

// The instructions of ptx.cuh, in C++: the same bits for conversions, exact where they approximate.

static inline float half_to_float(unsigned short bits) {
    _Float16 value;
    std::memcpy(&value, &bits, 2);
    return (float)value;
}

static inline unsigned short float_to_half(float value) {
    const _Float16 rounded = (_Float16)value;
    unsigned short bits;
    std::memcpy(&bits, &rounded, 2);
    return bits;
}

static inline unsigned short float_to_bfloat(float value) {
    const unsigned bits = __float_as_uint(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fff;
    return (unsigned short)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

static inline unsigned floats_to_bfloats(float low, float high) {
    return float_to_bfloat(low) | (unsigned)float_to_bfloat(high) << 16;
}

static inline unsigned floats_to_halves(float low, float high) {
    return float_to_half(low) | (unsigned)float_to_half(high) << 16;
}

static inline float fast_reciprocal(float value) { return 1.0f / value; }
static inline float fast_power_of_two(float value) { return std::exp2(value); }

typedef char* Shared;
static inline Shared shared_place(const void* at) { return (Shared)at; }
template <typename T> static inline void load_shared(Shared at, T& to) {
    std::memcpy(&to, at, sizeof to);
}
template <typename T> static inline void store_shared(Shared at, T value) {
    std::memcpy(at, &value, sizeof value);
}

static inline void copy_shared(Shared to, const void* from) { std::memcpy(to, from, 16); }
static inline void wait_for_copies() {}

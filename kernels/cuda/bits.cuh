// Spikes to bits and back: bit k of byte j stands for value 8 j + k of a dense array.
// BYTES: size of a value. Values are read as integers: only zero or not matters.

#if BYTES == 2
typedef unsigned short value_bits;
#elif BYTES == 4
typedef unsigned value_bits;
#else
typedef unsigned long long value_bits;
#endif

struct Bits {
    value_bits* values;
    unsigned char* bits;
    long long size;   // values
    long long bytes;  // of bits, with the last word filled up
    value_bits one;   // 1.0
};

// A thread has one byte: eight values, 16 bytes at a time.
#define WORDS (BYTES / 2)

extern "C" __global__ void __launch_bounds__(256) pack_bits(Bits a) {
    const value_bits magnitude = (value_bits)~(value_bits)0 >> 1;
    const long long j = (long long)blockIdx.x * 256 + threadIdx.x;
    if (j >= a.bytes) return;
    value_bits value[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    if (8 * j + 8 <= a.size) {
        uint4 word[WORDS];
        #pragma unroll
        for (int w = 0; w < WORDS; ++w) word[w] = ((const uint4*)(a.values + 8 * j))[w];
        memcpy(value, word, sizeof(value));
    } else {
        #pragma unroll
        for (int k = 0; k < 8; ++k)
            if (8 * j + k < a.size) value[k] = a.values[8 * j + k];
    }
    unsigned byte = 0;
    #pragma unroll
    for (int k = 0; k < 8; ++k) byte |= (unsigned)((value[k] & magnitude) != 0) << k;
    a.bits[j] = (unsigned char)byte;
}

extern "C" __global__ void __launch_bounds__(256) unpack_bits(Bits a) {
    const long long j = (long long)blockIdx.x * 256 + threadIdx.x;
    if (8 * j >= a.size) return;
    const unsigned byte = a.bits[j];
    value_bits value[8];
    #pragma unroll
    for (int k = 0; k < 8; ++k) value[k] = byte >> k & 1 ? a.one : (value_bits)0;
    if (8 * j + 8 <= a.size) {
        uint4 word[WORDS];
        memcpy(word, value, sizeof(value));
        #pragma unroll
        for (int w = 0; w < WORDS; ++w) ((uint4*)(a.values + 8 * j))[w] = word[w];
    } else {
        #pragma unroll
        for (int k = 0; k < 8; ++k)
            if (8 * j + k < a.size) a.values[8 * j + k] = value[k];
    }
}

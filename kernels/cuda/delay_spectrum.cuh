// What synapses with delays do to waves of whole numbers of periods. After device.cuh.
// TAPS of a synapse; WAVES of neighbouring frequencies of a thread.

struct alignas(2 * sizeof(real)) Complex {
    real re, im;
};

DEVICE Complex operator*(const Complex& a, const Complex& b) {
    return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}

struct Spectrum {
    const real* taps;      // [TAPS][rows][outputs]
    const int* start;      // [rows][outputs]
    const Complex* waves;  // [length + WAVES]: of the lowest frequency, one period and a bit
    storage* to;           // [many][2][inputs][outputs]: real and imaginary parts
    unsigned rows, inputs, outputs, first, many, length;
};

GLOBAL void LAUNCH_BOUNDS spectrum(const Spectrum a) {
    const unsigned pairs = a.inputs * a.outputs, blocks = (pairs + THREADS - 1) / THREADS;
    const unsigned pair = blockIdx.x % blocks * THREADS + threadIdx.x;
    const unsigned begin = blockIdx.x / blocks * WAVES;
    if (pair >= pairs) return;
    Complex sum[WAVES] = {};
    for (unsigned row = pair / a.outputs; row < a.rows; row += a.inputs) {
        const long long at = (long long)row * a.outputs + pair % a.outputs;
        const unsigned start = (unsigned)a.start[at];
        real tap[TAPS];
        UNROLL for (int j = 0; j < TAPS; ++j)
            tap[j] = a.taps[(long long)j * a.rows * a.outputs + at];
        // Of the first tap at the first frequency, and from one frequency to the next.
        Complex phase = a.waves[(a.first + begin) * start % a.length];
        const Complex turn = a.waves[start];
        UNROLL for (int f = 0; f < WAVES; ++f) {
            const Complex wave = a.waves[a.first + begin + f];
            Complex all = {tap[TAPS - 1], 0};
            UNROLL for (int j = TAPS - 2; j >= 0; --j) {
                all = all * wave;
                all.re += tap[j];
            }
            all = all * phase;
            sum[f].re += all.re;
            sum[f].im += all.im;
            phase = phase * turn;
        }
    }
    UNROLL for (int f = 0; f < WAVES; ++f) {
        if (begin + f >= a.many) break;
        storage* to = a.to + 2ll * (begin + f) * pairs + pair;
        to[0] = to_storage(sum[f].re);
        to[pairs] = to_storage(sum[f].im);
    }
}

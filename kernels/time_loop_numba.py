"""The loops around a step, as numba text with places for what depends on the step.

A place is a line ``$name``. Names in capitals are constants above the text; see
:mod:`spikesim.kernels.print_numba`. Scratch memory holds rows of ``BLOCK`` numbers: first the
parameters, then the states (backward: those before each step of a segment), then, backward, the
cotangents of the states and the sums of those of the parameters.
"""

FORWARD = '''
@njit([void(int64[::1], int64, int64, int64)], cache=True, nogil=True, error_model="numpy")
def run(table, start, stop, scratch):
    """Take the neurons from start to stop through all steps."""
    wide()
    scratch = (scratch + 63) & -64
    states = scratch + ROW * PARAMETERS
    flags = scratch + ROW * SPARE
    $addresses
    last = steps - 1
    for first in range(start, stop, BLOCK):
        n = least(BLOCK, stop - first)
        $whom
        for r in range(PARAMETERS + STATES):
            k = OPERANDS + 3 * r
            fill(ZERO, scratch + ROW * r, table[k], table[k + 1], table[k + 2], first, n)
        for t in range(steps):
            base = t * neurons + first
            if t and t % EVERY == 0:
                saved = (t // EVERY - 1) * STATES * neurons + first
                $save
            if t < last:
                ahead = base + neurons
                $announce
            for i in range(n):
                $step
            $after
        $end
'''

BACKWARD = '''
@njit([void(int64[::1], int64, int64, int64)], cache=True, nogil=True, error_model="numpy")
def run(table, start, stop, scratch):
    """Take the neurons from start to stop through all steps, the last segment first."""
    wide()
    scratch = (scratch + 63) & -64
    states = scratch + ROW * PARAMETERS
    cotangents = states + ROW * STATES * EVERY
    flags = scratch + ROW * SPARE
    $addresses
    last = (steps - 1) // EVERY
    for first in range(start, stop, BLOCK):
        n = least(BLOCK, stop - first)
        $whom
        for i in range(BLOCK * (STATES + SUMS)):
            store_real(cotangents, i, ZERO)
        $begin
        for segment in range(last, -1, -1):
            for r in range(PARAMETERS + STATES):
                # Parameters serve all segments; an initial state starts the first one.
                if segment == (last if r < PARAMETERS else 0):
                    k = OPERANDS + 3 * r
                    fill(ZERO, scratch + ROW * r, table[k], table[k + 1], table[k + 2], first, n)
            if segment:
                saved = (segment - 1) * STATES * neurons + first
                $load
            low = segment * EVERY
            high = least(low + EVERY, steps)
            for t in range(low, high - 1):
                base = t * neurons + first
                now = states + ROW * STATES * (t - low)
                ahead = base + neurons
                $announce
                for i in range(n):
                    $step
            for t in range(high - 1, low - 1, -1):
                # LLVM would see addresses that go down with t, and run the loop unvectorised.
                base = hidden(t * neurons + first)
                now = hidden(states + ROW * STATES * (t - low))
                $add
                if t > low:
                    ahead = base - neurons
                    $announce_back
                for i in range(n):
                    $back
        $end
'''

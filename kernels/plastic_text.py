"""The loops of plastic synapses that :mod:`spikesim.kernels.print_plastic` fills with a rule.

Spikes of receivers are kept in rings, the newest ones also by themselves, where they lie close
together. Before a spike of a sender acts on its synapses, those receivers' spikes that came since
the last one are taken up, the oldest first. A tile of synapses goes through this side by side.
"""

REMEMBER = '''
@cfunc(void(int64, int64, int64, int64), cache=True, error_model="numpy")
def remember(table, begin, steps, thread):
    """Keep the spikes of a thread's receivers."""
    apart()
    $addresses
    start, stop = load_int64(ranges, thread), load_int64(ranges, thread + 1)
    most = load_int64(fullest, APART * thread)
    for step in range(begin, begin + steps):
        row = spikes + 4 * words * (step & last_row)
        for word in range(start // 32, (stop + 31) // 32):
            bits = load_uint32(row, word)
            while bits:
                target = int64(word << 5 | lowest(bits))
                bits &= bits - uint64(1)
                gone = step - read(int32(0), newest, NEWEST * target)
                $before
                $jump
                total = read(int32(0), totals, target)
                write(totals, target, int32(total + 1))
                to = depth * target + (total & (depth - 1))
                for at in range(NEWEST * target + NEWEST - 1, NEWEST * target, -1):
                    write(newest, at, read(int32(0), newest, at - 1))
                    $shift
                write(newest, NEWEST * target, int32(step))
                write(steps_kept, to, int32(step))
                $put
                many = int64(read(int32(0), used, target)) + 1
                write(used, target, int32(many))
                most = greatest(most, many)
    write(fullest, APART * thread, most)
'''

PREPARE = '''
@cfunc(void(int64, int64, int64, int64), cache=True, error_model="numpy")
def prepare(table, begin, steps, thread):
    """Let the traces of a thread's spiking senders jump, and keep what they were."""
    apart()
    $addresses
    if thread == 0:
        write(clock, 0, load_int64(clock, 1))
    write(published, APART * thread, load_int64(fullest, APART * thread))
    for k in range(length * thread, length * thread + load_int64(counts, APART * thread)):
        spike = load_int64(lists, k)
        source, step = spike & 0xFFFFFFFF, spike >> 32
        last = int64(read(int32(0), lasts, source))
        gone = step - last
        write(before_lasts, k, int32(last))
        write(lasts, source, int32(step))
        $senders
'''

VISIT = '''
@njit(void(*[int64] * 8), cache=True, error_model="numpy")
def visit(table, mode, now, settled, thread, rows, many, out):
    """Let synapses take up what came to them.

    Mode SEND: those of the spikes of a block, each until it comes; then let it act, and send.
    Otherwise those of the senders ``rows``, or of all, until step ``now`` inclusively: SETTLE
    changes no result, FOLD also brings eligibilities to the end of ``now``, READ writes the weights
    at its end to ``out`` and changes nothing.
    """
    wide()
    apart()
    $addresses
    $rooms
    kept = scratch + 4 * WIDTH * depth * thread
    step, turns = now, 1
    if mode == SEND:
        turns = threads
    for part in range(parts * thread, parts * (thread + 1)):
        starts = cuts + 8 * sources * part
        stops = starts + 8 * sources
        for other in range(turns):
            first_k, end_k = 0, many
            if mode == SEND:
                first_k = length * other
                end_k = first_k + load_int64(counts, APART * other)
            for k in range(first_k, end_k):
                if mode == SEND:
                    if k + 2 * AHEAD < end_k:
                        later = load_int64(lists, k + 2 * AHEAD) & 0xFFFFFFFF
                        prefetch_to_read(starts + 8 * later)
                        prefetch_to_read(stops + 8 * later)
                    if k + AHEAD < end_k:
                        soon = load_int64(lists, k + AHEAD) & 0xFFFFFFFF
                        start, stop = load_int64(starts, soon), load_int64(stops, soon)
                        announce(place, start, stop, PLACE)
                        announce(weight, start, stop, REAL)
                        $announce
                    spike = load_int64(lists, k)
                    source, step = spike & 0xFFFFFFFF, spike >> 32
                    last = int64(read(int32(0), before_lasts, k))
                else:
                    source = k
                    if rows != 0:
                        source = load_int64(rows, k)
                    last = int64(read(int32(0), lasts, source))
                start, stop = load_int64(starts, source), load_int64(stops, source)
                lower = greatest(last, settled)
                gone = step - last
                $senders
                for first in range(start, stop, WIDTH):
                    n = least(WIDTH, stop - first)
                    $load
                    $replay
                    if mode != SETTLE:
                        end = step + int64(mode != SEND)
                        $bring
                    if mode == SEND:
                        $receivers
                        for i in range(WIDTH):
                            $act
                        for i in range(n):
                            target = int64(read(int32(0), row_target, i))
                            at = ((step + $delay) & (slots - 1)) * targets + target
                            add(ring_number(0), ring, at, int64(read(ring_number(0), row_sent, i)))
                    if mode == READ:
                        give_real(out, first, row_w, n, spare)
                    else:
                        $give
'''

DELIVER = '''
@cfunc(void(int64, int64, int64, int64), cache=True, error_model="numpy")
def deliver(table, begin, steps, thread):
    """Send the spikes of a block; where receivers have no more room for spikes, settle."""
    apart()
    $addresses
    now, settled = begin + steps - 1, load_int64(clock, 0)
    visit(table, SEND, now, settled, thread, 0, 0, 0)
    most = 0
    for other in range(threads):
        most = greatest(most, load_int64(published, APART * other))
    mode = SEND
    if most + 2 * last_row + 4 > depth:
        mode = SETTLE
    $fold
    if mode != SEND:
        visit(table, mode, now, settled, thread, 0, sources, 0)
        write(clock, 1, now)
        most = 0
        for target in range(load_int64(ranges, thread), load_int64(ranges, thread + 1)):
            held, total = int64(read(int32(0), used, target)), read(int32(0), totals, target)
            while held > 0:
                at = depth * target + ((total - held) & (depth - 1))
                if read(int32(0), steps_kept, at) + longest > now:
                    break
                held -= 1
            write(used, target, int32(held))
            most = greatest(most, held)
        write(fullest, APART * thread, most)


@cfunc(void(int64, int64, int64, int64), cache=True, error_model="numpy")
def look(table, begin, steps, thread):
    """Visit as a table says: table, mode, settled, rows, many, out."""
    visit(
        load_int64(table, 0),
        load_int64(table, 1),
        begin,
        load_int64(table, 2),
        thread,
        load_int64(table, 3),
        load_int64(table, 4),
        load_int64(table, 5),
    )
'''

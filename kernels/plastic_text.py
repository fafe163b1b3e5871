"""The loops of plastic synapses that :mod:`spikesim.kernels.print_plastic` fills with a rule.

Spikes of receivers are kept in rings, the newest ones also close together, as 16-bit numbers (of a
step after ``base``; 0 for all before). Before a spike of a sender acts on its synapses, those
receivers' spikes that came since the last one are taken up, the oldest first. A tile of synapses
goes through this side by side. Where all delays are equal, all synapses of a receiver meet its
traces at the same time: these are brought to a step for all receivers at once.
"""

SURVEY = '''
@njit(void(*[int64] * 3), cache=True, error_model="numpy")
def survey(table, begin, thread):
    """Put together anew what synapses look up of a thread's receivers, before step ``begin``."""
    apart()
    $addresses
    start, stop = load_int64(ranges, thread), load_int64(ranges, thread + 1)
    base = begin // REACH * REACH + REACH - (1 << 16)
    for target in range(start, stop):
        for k in range(NEWEST):
            since = int64(read(int32(0), newest, NEWEST * target + k)) - base
            at = 4 * (padded * (k // 4) + target) + k % 4
            write(near, at, uint16(greatest(since, 0)))
    $arrivals
    write(known, APART * thread, begin)
    write(known, APART * thread + 1, base)
    write(known, APART * thread + 2, begin)
'''

ARRIVALS = """
for row in range(slots):
    write(arrived, slots * thread + row, 0)
for target in range(start, stop):
    turn = int64(read(int32(0), totals, target)) - 1
    at = depth * target + (turn & (depth - 1))
    came = int64(read(int32(0), steps_kept, at)) + delay
    while came >= begin:
        $arrival
        turn -= 1
        at = depth * target + (turn & (depth - 1))
        came = int64(read(int32(0), steps_kept, at)) + delay
    write(met, target, int32(came))
    $met
"""

REMEMBER = '''
@cfunc(void(int64, int64, int64, int64), cache=True, error_model="numpy")
def remember(table, begin, steps, thread):
    """Keep the spikes of a thread's receivers."""
    apart()
    $addresses
    if load_int64(known, APART * thread) != begin or begin % REACH == 0:
        survey(table, begin, thread)
    base = load_int64(known, APART * thread + 1)
    start, stop = load_int64(ranges, thread), load_int64(ranges, thread + 1)
    most = load_int64(fullest, APART * thread)
    for step in range(begin, begin + steps):
        row = spikes + 4 * words * (step & last_row)
        came = step + delay
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
                four = load_uint64(near, target)
                more = load_uint64(near, padded + target) << uint64(16) | four >> uint64(48)
                write(near, padded + target, more)
                write(near, target, four << uint64(16) | uint64(step - base))
                $arrival
                many = int64(read(int32(0), used, target)) + 1
                write(used, target, int32(many))
                most = greatest(most, many)
    write(fullest, APART * thread, most)
    write(known, APART * thread, begin + steps)
'''

ARRIVAL = """
row_of = came & (slots - 1)
others = load_int64(arrived, slots * thread + row_of)
write(arrivals, targets * row_of + start + others, int32(target))
write(arrived, slots * thread + row_of, others + 1)
"""

PREPARE = '''
@cfunc(void(int64, int64, int64, int64), cache=True, error_model="numpy")
def prepare(table, begin, steps, thread):
    """Let the traces of a thread's spiking senders jump, and keep what they were."""
    apart()
    $addresses
    if thread == 0:
        write(clock, 0, load_int64(clock, 1))
    write(published, APART * thread, load_int64(fullest, APART * thread))
    first, end = length * thread, length * thread + load_int64(counts, APART * thread)
    for k in range(first, end):
        spike = load_int64(lists, k)
        source, step = spike & 0xFFFFFFFF, spike >> 32
        last = int64(read(int32(0), lasts, source))
        gone = step - last
        write(before_lasts, k, int32(last))
        write(lasts, source, int32(step))
        $senders
    for step in range(begin, begin + steps + 1):
        while first < end and load_int64(lists, first) >> 32 < step:
            first += 1
        write(turns, (last_row + 2) * thread + step - begin, first)
'''

ARRIVE = '''
@njit(void(*[int64] * 3), cache=True, error_model="numpy")
def arrive(table, step, thread):
    """Note those spikes of a thread's receivers that came to synapses before a step."""
    apart()
    $addresses
    start = load_int64(ranges, thread)
    for came in range(load_int64(known, APART * thread + 2), step):
        row = came & (slots - 1)
        for k in range(load_int64(arrived, slots * thread + row)):
            target = int64(read(int32(0), arrivals, targets * row + start + k))
            turn = int64(read(int32(0), totals, target)) - 1
            at = depth * target + (turn & (depth - 1))
            while read(int32(0), steps_kept, at) + delay != came:
                turn -= 1
                at = depth * target + (turn & (depth - 1))
            write(met, target, int32(came))
            $met
        write(arrived, slots * thread + row, 0)
    write(known, APART * thread + 2, step)
'''

HEAR = '''
@njit(void(*[int64] * 3), cache=True, error_model="numpy")
def hear(table, step, thread):
    """Traces of a thread's receivers as a spike of ``step`` meets them."""
    wide()
    apart()
    $addresses
    $rooms
    arrive(table, step, thread)
    step_32 = int32(step)
    for first in range(load_int64(ranges, thread), load_int64(ranges, thread + 1), WIDTH):
        take_int32(row_s, met, first, WIDTH, spare)
        for i in range(WIDTH):
            write(row_gone, i, int32(step_32 - read(int32(0), row_s, i)))
        $heard
'''

VISIT = '''
@cfunc(void(int64, int64, int64, int64), cache=True, error_model="numpy")
def visit(given, begin, steps, thread):
    """Let synapses take up what came to them.

    Mode SEND: those of the spikes from step ``begin`` to ``now``, each until it comes; then let it
    act, and send. Otherwise those of the senders ``rows``, or of all, until step ``now``
    inclusively: SETTLE changes no result, FOLD also brings eligibilities to the end of ``now``,
    READ writes the weights at its end to ``out`` and changes nothing.
    """
    table, mode, settled = load_int64(given, 0), load_int64(given, 1), load_int64(given, 2)
    rows, many, out = load_int64(given, 3), load_int64(given, 4), load_int64(given, 5)
    now = begin + steps - 1
    wide()
    apart()
    $addresses
    $rooms
    kept = scratch + 4 * WIDTH * depth * thread
    starts = cuts + 8 * sources * thread
    stops = starts + 8 * sources
    $survey
    is_known = load_int64(known, APART * thread) >= 0
    oldest = load_int64(known, APART * thread + 1)
    # At the end of a window the last block has brought all there.
    is_folded = mode == READ and (now + 1) % window == 0
    lists_read = 1
    if mode == SEND:
        lists_read = threads
    for step in range(begin, now + 1):
        found = 0
        for other in range(lists_read):
            turn = (last_row + 2) * other + step - begin
            found += load_int64(turns, turn + 1) - load_int64(turns, turn)
        if mode == SEND and found > 0:
            $hear
        for other in range(lists_read):
            first_k, end_k, last_k = 0, many, many
            if mode == SEND:
                turn = (last_row + 2) * other + step - begin
                first_k, end_k = load_int64(turns, turn), load_int64(turns, turn + 1)
                last_k = length * other + load_int64(counts, APART * other)
            for k in range(first_k, end_k):
                if mode == SEND:
                    if k + 2 * AHEAD < last_k:
                        later = load_int64(lists, k + 2 * AHEAD) & 0xFFFFFFFF
                        prefetch_to_read(starts + 8 * later)
                        prefetch_to_read(stops + 8 * later)
                    if k + AHEAD < last_k:
                        soon = load_int64(lists, k + AHEAD) & 0xFFFFFFFF
                        start, stop = load_int64(starts, soon), load_int64(stops, soon)
                        # The processor finds the rest of a row itself.
                        stop = least(stop, start + 2 * WIDTH)
                        announce(place, start, stop, PLACE)
                        announce(weight, start, stop, REAL)
                        $announce
                    source = load_int64(lists, k) & 0xFFFFFFFF
                    last = int64(read(int32(0), before_lasts, k))
                else:
                    source = k
                    if rows != 0:
                        source = load_int64(rows, k)
                    last = int64(read(int32(0), lasts, source))
                start, stop = load_int64(starts, source), load_int64(stops, source)
                lower = greatest(last, settled)
                gone = step - last
                $near
                $senders
                for first in range(start, stop, WIDTH):
                    n = least(WIDTH, stop - first)
                    $load
                    $replay
                    if mode != SETTLE and not is_folded:
                        end = step + int64(mode != SEND)
                        $bring
                    if mode == SEND:
                        $receivers
                        for i in range(WIDTH):
                            $act
                        $send
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
    now, mine = begin + steps - 1, asked + 8 * APART * thread
    write(mine, 0, table)
    write(mine, 1, SEND)
    write(mine, 2, load_int64(clock, 0))
    write(mine, 4, sources)
    call(at_visit, mine, begin, steps, thread)
    $arrive
    most = 0
    for other in range(threads):
        most = greatest(most, load_int64(published, APART * other))
    mode = SEND
    if most + 2 * last_row + 4 > depth:
        mode = SETTLE
    $fold
    if mode != SEND:
        write(mine, 1, mode)
        call(at_visit, mine, now, 1, thread)
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

'''

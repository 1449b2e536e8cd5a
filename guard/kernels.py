"""The batched step on a GPU, as Triton kernels: the loops of `guard.loops` and `guard.batch`, row by row.

Triton knows neither `break` nor early returns, hence the flags. `guard.device` calls these kernels.
"""

# Triton's functions are typed by what they are called with.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"

from __future__ import annotations

import triton
import triton.language as tl

_FIRST = tl.constexpr(1)
_LAST = tl.constexpr(2)
_JOINS = tl.constexpr(4)
_PENDING = tl.constexpr(2)
_HARD = tl.constexpr(1)
_SPACE = tl.constexpr(0x20)


@triton.jit
def _decode(pending, byte):
    """`guard.loops.decode`."""
    length = (pending > 0).to(tl.int32) + (pending > 0xFF).to(tl.int32) + (pending > 0xFFFF).to(tl.int32)
    lead = tl.where(length == 3, pending >> 16, tl.where(length == 2, pending >> 8, pending))
    second = length == 1
    low = tl.where(second & (lead == 0xE0), 0xA0, tl.where(second & (lead == 0xF0), 0x90, 0x80))
    high = tl.where(second & (lead == 0xED), 0x9F, tl.where(second & (lead == 0xF4), 0x8F, 0xBF))
    more = (length > 0) & (byte >= low) & (byte <= high)
    total = tl.where(lead < 0xE0, 2, tl.where(lead < 0xF0, 3, 4))
    whole = more & (length + 1 == total)
    packed = (pending << 8) | byte
    two = ((packed >> 8 & 0x1F) << 6) | (packed & 0x3F)
    three = ((packed >> 16 & 0x0F) << 12) | ((packed >> 8 & 0x3F) << 6) | (packed & 0x3F)
    four = ((packed >> 24 & 0x07) << 18) | ((packed >> 16 & 0x3F) << 12)
    four = four | ((packed >> 8 & 0x3F) << 6) | (packed & 0x3F)
    found = tl.where(total == 2, two, tl.where(total == 3, three, four))
    code = tl.where(more, tl.where(whole, found, -1), tl.where(byte < 0x80, byte, -1))
    begun = tl.where((byte >= 0xC2) & (byte <= 0xF4), byte, 0)
    return code, tl.where(more, tl.where(whole, 0, packed), begun)


@triton.jit
def _move(nodes, edge, root, node, value, flags):
    """`guard.loops.move`; the children of a node are compared all at once."""
    found = tl.full((), -1, tl.int32)
    while (node >= 0) & (found < 0):
        low = tl.load(nodes + 4 * node)
        children = tl.load(nodes + 4 * node + 1) & 0xFFFF
        places = tl.arange(0, 256)
        values = tl.load(edge + low + places, mask=places < children, other=0).to(tl.int32)
        same = (values == value) & (places < children)
        child = tl.max(tl.where(same, low + places, -1), axis=0)
        usable = (node != root + 1) | ((flags & _JOINS) == 0)
        found = tl.where(usable, child, -1)
        node = tl.load(nodes + 4 * node + 2)
    return found


@triton.jit
def _take(pages, blocks, out_start, out, out_flags, nodes, edge,
          root, bounded, collapses, node, code):  # fmt: skip
    """`guard.loops.take`."""
    output = tl.load(blocks + tl.load(pages + (code >> 8)).to(tl.int32) * 256 + (code & 255))
    verbatim = output == 1
    begin = tl.load(out_start + output)
    length = tl.load(out_start + output + 1) - begin
    length = tl.where(output == 0, 0, tl.where(verbatim, tl.where(code < 0x10000, 3, 4), length))
    done = tl.full((), 0, tl.int32)
    for k in range(length):
        shift = 6 * (length - 1 - k)
        head = tl.where(length == 3, 0xE0, 0xF0) | (code >> shift)
        spelled = tl.where(k == 0, head, 0x80 | ((code >> shift) & 0x3F))
        marks = tl.where(k == 0, _FIRST, 0) | tl.where(k == length - 1, _LAST, 0)
        value = tl.where(
            verbatim, spelled, tl.load(out + begin + k, mask=verbatim == 0, other=0).to(tl.int32)
        )
        flags = tl.where(
            verbatim, marks, tl.load(out_flags + begin + k, mask=verbatim == 0, other=0).to(tl.int32)
        )
        before = tl.load(nodes + 4 * node + 1, mask=node >= 0, other=0) >> 16
        opens = ((flags & _FIRST) != 0) & ((flags & _JOINS) == 0)
        done = done | (opens & ((before & _PENDING) != 0)).to(tl.int32)
        came = tl.load(edge + node, mask=node >= 0, other=0).to(tl.int32)
        repeated = (node == root) | ((node > root + 1) & (came == _SPACE))
        skip = (collapses != 0) & (verbatim == 0) & (value == _SPACE) & repeated
        if skip == 0:
            node = _move(nodes, edge, root, node, value, flags)
            outside = (node < 0) & ((flags & _LAST) != 0)
            inside = ((flags & _JOINS) != 0) & (bounded != 0)
            node = tl.where(outside, root + inside.to(tl.int32), node)
            after = tl.load(nodes + 4 * node + 1, mask=node >= 0, other=0) >> 16
            done = done | (((flags & _LAST) != 0) & ((after & _HARD) != 0)).to(tl.int32)
    return node, done


@triton.jit
def _read(pages, blocks, out_start, out, out_flags, nodes, edge,
          root, bounded, collapses, node, pending, raw, raw_start, special, apart, token):  # fmt: skip
    """Reads a token: the node, the bytes pending, and whether a phrase was completed.

    A special one stands between two texts where ``apart``; elsewhere it only lets a phrase begin behind it.
    """
    done = tl.full((), 0, tl.int32)
    marked = tl.load(special + token) != 0
    node = tl.where(marked & ((apart != 0) | (node == root + 1)), root, node)
    pending = tl.where(marked & (apart != 0), 0, pending)
    for k in range(tl.load(raw_start + token), tl.load(raw_start + token + 1)):
        code, pending = _decode(pending, tl.load(raw + k).to(tl.int32))
        if code >= 0:
            node, ended = _take(
                pages, blocks, out_start, out, out_flags, nodes, edge,
                root, bounded, collapses, node, code,
            )  # fmt: skip
            done = done | ended
    return node, pending, done


@triton.jit
def advance(pages, blocks, out_start, out, out_flags, nodes, edge,
            roots, bounded, lanes, states, pendings, reads, raw, raw_start, special, shown,
            slots, offsets, positions, history, prompt_lengths, width, stride, vocabulary, separator,
            collapses):  # fmt: skip
    """Reads the committed tokens that the lanes of a row's request have not read. Grid: rows, lanes.

    Only a request's first row does so. ``reads`` [R, L] counts the tokens read, ``history`` [R, stride] has
    the committed ones, of which ``positions - offsets + 1`` are valid. Special tokens separate the messages
    of a prompt; ``shown`` [R] says whether they do so in the response.
    """
    row, lane = tl.program_id(0), tl.program_id(1)
    slot = tl.load(slots + row).to(tl.int64)
    at = slot * width + lane
    table = tl.load(lanes + at)
    if (table >= 0) & (tl.load(offsets + row) == 0):
        root, bound = tl.load(roots + table), tl.load(bounded + table).to(tl.int32)
        node, pending = tl.load(states + at), tl.load(pendings + at)
        end = (tl.load(positions + row) + 1).to(tl.int32)
        prompt = tl.load(prompt_lengths + slot).to(tl.int32)
        for i in range(tl.load(reads + at), end):
            token = tl.load(history + slot * stride + i).to(tl.int64)
            # One outside the vocabulary stands for an image or the like, and separates as special ones do.
            token = tl.where(token < vocabulary, token, separator)
            apart = tl.where(i < prompt, 1, tl.load(shown + slot).to(tl.int32))
            node, pending, _ = _read(
                pages, blocks, out_start, out, out_flags, nodes, edge,
                root, bound, collapses, node, pending, raw, raw_start, special, apart, token,
            )  # fmt: skip
        tl.store(states + at, node)
        tl.store(pendings + at, pending)
        tl.store(reads + at, tl.maximum(tl.load(reads + at), end))


@triton.jit
def _drafted(pages, blocks, out_start, out, out_flags, nodes, edge,
             root, bounded, collapses, node, pending, raw, raw_start, special, apart, inputs, row, offset):  # fmt: skip
    """Where a lane is after the drafts before a row: those fed to its request's rows up to this one."""
    for k in range(offset):
        token = tl.load(inputs + row - offset + 1 + k).to(tl.int64)
        node, pending, _ = _read(
            pages, blocks, out_start, out, out_flags, nodes, edge,
            root, bounded, collapses, node, pending, raw, raw_start, special, apart, token,
        )  # fmt: skip
    return node, pending


@triton.jit
def forbid(pages, blocks, out_start, out, out_flags, nodes, edge,
           roots, bounded, lanes, states, pendings, raw, raw_start, special, shown, spans, weight, order,
           leads, closers, closing, slots, offsets, inputs, logits, vocabulary, width, collapses,
           BLOCK: tl.constexpr):  # fmt: skip
    """Adds the weights of what a lane forbids to its row of logits. Grid: rows, lanes.

    ``leads`` [V] marks the tokens that start in the middle of a character: where one is unfinished they go on
    with it, and `forbid_tails` judges them.
    """
    row, lane = tl.program_id(0), tl.program_id(1)
    slot = tl.load(slots + row).to(tl.int64)
    at = slot * width + lane
    table = tl.load(lanes + at)
    if table >= 0:
        root, bound = tl.load(roots + table), tl.load(bounded + table).to(tl.int32)
        apart = tl.load(shown + slot).to(tl.int32)
        node, pending = _drafted(
            pages, blocks, out_start, out, out_flags, nodes, edge,
            root, bound, collapses, tl.load(states + at), tl.load(pendings + at), raw, raw_start, special, apart,
            inputs, row, tl.load(offsets + row).to(tl.int32),
        )  # fmt: skip
        line = logits + row.to(tl.int64) * vocabulary
        if ((tl.load(nodes + 4 * node + 1) >> 16) & _PENDING) != 0:
            for start in range(0, closing, BLOCK):
                places = start + tl.arange(0, BLOCK)
                tokens = tl.load(closers + places, mask=places < closing, other=0)
                leading = tl.load(leads + tokens, mask=places < closing, other=0).to(tl.int32)
                kept = tl.where(leading * pending == 0, closing, 0)
                tl.atomic_add(line + tokens, float("-inf"), mask=places < kept)
        while node >= 0:
            for span in range(tl.load(nodes + 4 * node + 3), tl.load(nodes + 4 * node + 7)):
                end = tl.load(spans + 2 * span + 1)
                for start in range(tl.load(spans + 2 * span), end, BLOCK):
                    ranks = start + tl.arange(0, BLOCK)
                    tokens = tl.load(order + ranks, mask=ranks < end, other=0)
                    leading = tl.load(leads + tokens, mask=ranks < end, other=0).to(tl.int32)
                    kept = tl.where(leading * pending == 0, end, 0)
                    tl.atomic_add(line + tokens, tl.load(weight + span), mask=ranks < kept)
            node = tl.load(nodes + 4 * node + 2)


@triton.jit
def forbid_tails(pages, blocks, out_start, out, out_flags, nodes, edge,
                 roots, bounded, lanes, states, pendings, raw, raw_start, special, shown, tails, ending,
                 slots, offsets, inputs, logits, vocabulary, width, collapses,
                 SHARE: tl.constexpr):  # fmt: skip
    """Where a character is unfinished, forbids what would complete a phrase with it. Grid: rows, lanes, shares."""
    row, lane = tl.program_id(0), tl.program_id(1)
    slot = tl.load(slots + row).to(tl.int64)
    at = slot * width + lane
    table = tl.load(lanes + at)
    offset = tl.load(offsets + row).to(tl.int32)
    # Without drafts it is known at once that no character is unfinished, and nearly always so.
    if (table >= 0) & ((offset > 0) | (tl.load(pendings + at) > 0)):
        root, bound = tl.load(roots + table), tl.load(bounded + table).to(tl.int32)
        apart = tl.load(shown + slot).to(tl.int32)
        node, pending = _drafted(
            pages, blocks, out_start, out, out_flags, nodes, edge,
            root, bound, collapses, tl.load(states + at), tl.load(pendings + at), raw, raw_start, special, apart,
            inputs, row, offset,
        )  # fmt: skip
        if pending != 0:
            start = tl.program_id(2) * SHARE
            for k in range(start, tl.minimum(start + SHARE, ending)):
                token = tl.load(tails + k).to(tl.int64)
                _, _, done = _read(
                    pages, blocks, out_start, out, out_flags, nodes, edge,
                    root, bound, collapses, node, pending, raw, raw_start, special, apart, token,
                )  # fmt: skip
                if done != 0:
                    tl.store(logits + row.to(tl.int64) * vocabulary + token, float("-inf"))


@triton.jit
def rescue(lanes, slots, logits, vocabulary, width, eos, ends, BLOCK: tl.constexpr):
    """Gives a watched row the end of text where no token is left. Grid: rows."""
    row = tl.program_id(0)
    watched = tl.load(lanes + tl.load(slots + row).to(tl.int64) * width) >= 0
    line = logits + row.to(tl.int64) * vocabulary
    best = tl.where(watched, float("-inf"), 0.0)
    start = tl.full((), 0, tl.int32)
    while (best == float("-inf")) & (start < vocabulary):
        places = start + tl.arange(0, BLOCK)
        best = tl.max(tl.load(line + places, mask=places < vocabulary, other=float("-inf")), axis=0)
        start += BLOCK
    if best == float("-inf"):
        for k in range(ends):
            tl.store(line + tl.load(eos + k), 0.0)

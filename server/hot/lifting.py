"""Files that lie in a JSON body as data: URIs, left out of its parse.

The parse would scan a photo's megabytes for escapes and copy them into a string, which then is encoded again: half of
what a big photo costs the event loop. Here each one is found by its ends, and a short stand-in is parsed instead.
"""

import secrets

LONG_BYTES = 65536
"""Below this the parse is quicker than looking for the ends."""
MARK = b";base64,"
LONGEST_HEAD = 256
STAND_IN = f"data:{secrets.token_hex(16)}-"
"""Begins every stand-in. Nobody can write it who does not know this process's memory."""


def lift(raw: bytes | bytearray) -> tuple[bytes | bytearray, dict[str, memoryview]]:
    """`raw` with a stand-in for each long data: URI, and what each stands for: the URI's bytes, unchecked.

    A URI is lifted only from between two quotes, with no quote and no backslash in it: whatever is wrong with the JSON
    stays wrong, and every string stays the string it was.

    >>> uri = b"data:image/png;base64," + b"A" * LONG_BYTES
    >>> short, lifted = lift(b'{"url": "' + uri + b'"}')
    >>> len(short) < 100, [bytes(found) == uri for found in lifted.values()]
    (True, [True])
    >>> lift(b'{"url": "data:image/png;base64,AAAA"}')[1]
    {}
    """
    if len(raw) < LONG_BYTES:
        return raw, {}
    view = memoryview(raw)
    pieces: list[bytes | memoryview] = []
    lifted: dict[str, memoryview] = {}
    done = at = 0
    while (at := raw.find(MARK, at)) >= 0:
        start = raw.rfind(b'"', max(done, at - LONGEST_HEAD), at) + 1
        end = raw.find(b'"', at)
        if end < 0:
            break
        if _is_long_uri(raw, start, end):
            name = f"{STAND_IN}{len(lifted)}"
            lifted[name] = view[start:end]
            pieces += (view[done:start], name.encode())
            done = end
        at = end
    return (b"".join((*pieces, view[done:])), lifted) if lifted else (raw, lifted)


def _is_long_uri(raw: bytes | bytearray, start: int, end: int) -> bool:
    return (
        start > 1
        and end - start >= LONG_BYTES
        and raw.startswith(b"data:", start)
        and raw[start - 2] != ord("\\")
        and raw.find(b"\\", start, end) < 0
    )

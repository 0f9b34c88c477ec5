"""What vLLM's log says: lines out of a byte stream, which phase of the start a line begins, which say nothing."""

import asyncio
import re
from collections.abc import AsyncIterator

MOST_LINE_BYTES = 8192
"""A longer line is cut; a traceback's lines are shorter, a dumped configuration is not worth more."""

PHASES = (
    (r"Triton is installed|Triton not installed", "importing vLLM"),
    (r"non-default args", "reading the model's configuration"),
    (r"Using max model len", "starting the engine's process"),
    (r"[Dd]ownload\w* weights|Fetching \d+ files", "downloading the model"),
    (r"Starting to load model", "loading weights"),
    (r"checkpoint shards:\s+\d+% Completed \| (?P<part>\d+/\d+)", "loading weights {part}"),
    (r"Loading weights took|Model loading took", "measuring memory"),
    (r"Encoder cache will be initialized", "trying the largest picture"),
    (r"Compiling a graph|Dynamo bytecode transform", "compiling"),
    (r"KV cache size", "warming up"),
    (r"Capturing CUDA graph", "capturing CUDA graphs"),
    (r"Starting vLLM server", "opening the socket"),
)
"""In the order of a start."""

NOISE = re.compile(
    r"^\s*$|\] Route: |[█▄▀]|Available routes are|api_utils\.py:\d+\]\s*$"  # a banner and a list of paths
    r"|DeprecationWarning|FutureWarning|^\s+(warnings\.warn\(|if hasattr\(value|wrapper = lookup)"  # others' chores
    r"|^nanobind: |^ - (leaked|\.\.\. skipped)|^See https://nanobind"  # at every end
)


class Progress:
    """Where a start is; it only moves forward, though each process of the engine tells the same story again.

    >>> progress = Progress()
    >>> for line in ["Starting to load model /m", "checkpoint shards:  40% Completed | 2/5", "Triton is installed"]:
    ...     progress.read(line)
    >>> progress.phase
    'loading weights 2/5'
    """

    def __init__(self) -> None:
        self.phase = "starting Python"
        self._at = 0

    def read(self, line: str) -> None:
        for at in range(len(PHASES) - 1, self._at - 1, -1):
            pattern, phase = PHASES[at]
            if found := re.search(pattern, line):
                self._at, self.phase = at, phase.format(**found.groupdict())
                return


def is_noise(line: str) -> bool:
    """Whether the line says nothing to an operator."""
    return NOISE.search(line) is not None


async def lines_of(stream: asyncio.StreamReader) -> AsyncIterator[str]:
    r"""Lines that end in \n or, as progress bars do, in \r; the last one may have no end."""
    rest = b""
    while piece := await stream.read(65536):
        *lines, rest = re.split(rb"[\r\n]+", rest + piece)
        for line in lines:
            yield line[:MOST_LINE_BYTES].decode(errors="replace")
        if len(rest) > MOST_LINE_BYTES:
            yield rest[:MOST_LINE_BYTES].decode(errors="replace")
            rest = b""
    if rest:
        yield rest.decode(errors="replace")

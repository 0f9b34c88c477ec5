"""Every query of the dashboard about engines is answered by a real Prometheus that watches a real vLLM."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx2
import pytest

from server.__main__ import RED_DISC
from tests.conftest import until
from tests.deploy.prometheus import panels, running_prometheus

pytestmark = pytest.mark.engine


@asynccontextmanager
async def over_tcp(path: Path) -> AsyncIterator[str]:
    """The engine's Unix socket as `http://host:port`, which is all that Prometheus knows."""

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_unix_connection(str(path))
        await asyncio.gather(copy(reader, inner_writer), copy(inner_reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def test_every_query_about_engines_has_data(engine_socket: Path, tmp_path: Path, unused_tcp_port: int) -> None:
    of_engines = {title: some for title, some in panels().items() if "vllm:" in str(some)}
    content = [{"type": "image_url", "image_url": {"url": RED_DISC}}, {"type": "text", "text": "What is it?"}]
    ask = {"messages": [{"role": "user", "content": content}], "max_tokens": 8}
    transport = httpx2.AsyncHTTPTransport(uds=str(engine_socket))
    async with (
        over_tcp(engine_socket) as url,
        running_prometheus(tmp_path, unused_tcp_port, {"engine": url}) as prometheus,
        httpx2.AsyncClient(transport=transport, base_url="http://engine", timeout=120) as client,
    ):

        async def asked_and_answered() -> bool:
            nonlocal left
            (await client.post("/v1/chat/completions", json=ask)).raise_for_status()
            left = await prometheus.unanswered(of_engines)
            return not left

        left = of_engines
        with suppress(TimeoutError):
            await until(asked_and_answered, timeout_s=60)
        assert left == {}  # as it was then: a rate over seconds is empty again soon
        assert len(of_engines) == 9

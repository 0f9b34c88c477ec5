"""How soon a real engine is free again after its client left: seen in the engine's own count of running requests.

    python -m benchmarks.disconnect --url http://127.0.0.1:8000 --engine unix:/tmp/engine.sock [--times 200]

Half of the clients stream, half do not. A round begins when the engine counts the request as running and ends when it
counts none; each look costs a few milliseconds, which are in the figure. The engine must have no other work. Last line:
JSON. `benchmarks.overhead.disconnect` does the same for all gateways before the mock engine.
"""

import argparse
import asyncio
import json
import re
import statistics
import time

import httpx2

RUNNING = re.compile(r"^vllm:num_requests_running\{[^}]*\} (\S+)", re.MULTILINE)
LIMIT_MS = 50
PATIENCE_S = 10


async def running(engine: httpx2.AsyncClient) -> float:
    """Requests that the engine is working on."""
    return sum(map(float, RUNNING.findall((await engine.get("/metrics")).text)))


async def until(engine: httpx2.AsyncClient, busy: bool) -> None:
    """Look until the engine is busy, or is not."""
    async with asyncio.timeout(PATIENCE_S):
        while (await running(engine) > 0) is not busy:
            await asyncio.sleep(0.001)


async def leave_once(gateway: httpx2.AsyncClient, engine: httpx2.AsyncClient, model: str, stream: bool) -> float:
    """Milliseconds from the client's leaving to a free engine."""
    messages = [{"role": "user", "content": "count to a million"}]
    body = {"model": model, "messages": messages, "max_tokens": 8000, "ignore_eos": True, "stream": stream}
    asking = asyncio.create_task(gateway.post("/v1/chat/completions", json=body))
    await until(engine, busy=True)
    left_s = time.perf_counter()
    asking.cancel()
    await until(engine, busy=False)
    return (time.perf_counter() - left_s) * 1000


async def measure(url: str, engine_url: str, times: int) -> dict[str, float]:
    """Figures over all rounds, in milliseconds."""
    socket = engine_url.removeprefix("unix:")
    transport = httpx2.AsyncHTTPTransport(uds=socket) if engine_url.startswith("unix:") else None
    base_url = "http://engine" if transport else engine_url
    async with (
        httpx2.AsyncClient(transport=transport, base_url=base_url, timeout=30) as engine,
        httpx2.AsyncClient(base_url=url, timeout=60) as gateway,
    ):
        model = (await engine.get("/v1/models")).json()["data"][0]["id"]
        took_ms = [await leave_once(gateway, engine, model, stream=index % 2 == 0) for index in range(times)]
    return {
        "times": times,
        "within_50_ms": sum(one <= LIMIT_MS for one in took_ms),
        "p50_ms": round(statistics.median(took_ms), 1),
        "p99_ms": round(sorted(took_ms)[int(len(took_ms) * 0.99)], 1),
        "max_ms": round(max(took_ms), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--engine", required=True, help="the engine's own address, unix:/path or http://host:port")
    parser.add_argument("--times", type=int, default=200)
    options = parser.parse_args()
    figures = asyncio.run(measure(options.url, options.engine, options.times))
    print(json.dumps({"benchmark": "disconnect", **figures}))


if __name__ == "__main__":
    main()

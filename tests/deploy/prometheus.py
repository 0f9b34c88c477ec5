"""A real Prometheus for a test, and the queries that deploy/ asks of it."""

import asyncio
import json
import math
import re
import shutil
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from deploy.grafana.draw import filled
from tests.conftest import until
from tests.deploy.conftest import ROOT

METRIC = re.compile(r"\b(?:qvl_|vllm:)\w+")
ALERTS: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]


def panels() -> dict[str, list[str]]:
    """Title -> PromQL of every panel, with the dashboard's variables filled in for a test."""
    dashboard = json.loads((ROOT / "deploy/grafana/dashboards/qwenvl.json").read_text())
    found = {}
    for panel in dashboard["panels"]:
        if queries := [filled(target["expr"], 8) for target in panel.get("targets", [])]:
            found[panel["title"]] = queries
    return found


def metrics_in(query: str) -> set[str]:
    """Names of our metrics and vLLM's.

    >>> sorted(metrics_in("rate(qvl_requests_total[5m]) / vllm:kv_cache_usage_perc"))
    ['qvl_requests_total', 'vllm:kv_cache_usage_perc']
    """
    return set(METRIC.findall(query))


class Prometheus:
    """Asks it."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def _get(self, path: str, **params: str) -> Any:
        async with httpx2.AsyncClient(base_url=self.url) as client:
            answer = await client.get(path, params=params, timeout=10)
            assert answer.status_code == 200, answer.text
            return answer.json()["data"]

    async def ask(self, query: str) -> list[float]:
        """The values of all series, without those that are not a number."""
        data = await self._get("/api/v1/query", query=query)
        values = [float(series["value"][1]) for series in data["result"]]
        return [value for value in values if not math.isnan(value)]

    async def unanswered(self, queries: Mapping[str, Iterable[str]]) -> dict[str, str]:
        """The queries that give no data, by the name they go under."""
        return {name: query for name, some in queries.items() for query in some if not await self.ask(query)}

    async def alerts(self) -> set[str]:
        """Names of the alerts that are pending or firing."""
        data = await self._get("/api/v1/alerts")
        return {alert["labels"]["alertname"] for alert in data["alerts"]}


@asynccontextmanager
async def running_prometheus(folder: Path, port: int, targets: Mapping[str, str]) -> AsyncIterator[Prometheus]:
    """Scrapes `job -> http://host:port` every half second, with the alert rules as shipped."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("prometheus is not installed")
    config = {
        "global": {"scrape_interval": "500ms", "evaluation_interval": "500ms"},
        "rule_files": [str(ROOT / "deploy/prometheus/alerts.yml")],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [url.removeprefix("http://")]}]}
            for job, url in targets.items()
        ],
    }
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(config))
    words = [f"--config.file={file}", f"--storage.tsdb.path={folder}/data", f"--web.listen-address=127.0.0.1:{port}"]
    process = await asyncio.create_subprocess_exec(program, *words, "--log.level=error")
    found = Prometheus(f"http://127.0.0.1:{port}")

    async def is_up() -> bool:
        assert process.returncode is None, "Prometheus ended"
        await asyncio.sleep(0.05)
        try:
            return bool(await found.ask("up"))
        except (httpx2.TransportError, AssertionError):
            return False

    try:
        await until(is_up, timeout_s=30)
        yield found
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()

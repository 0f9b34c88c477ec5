"""Dashboard, alerts and runbook: of metrics that exist, each with its entry, and answered by a real Prometheus."""

import asyncio
import re
import shutil
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

import server.app  # noqa: F401  # every metric is registered
from benchmarks.overhead.mock import Mock
from deploy.grafana.draw import History, drawn
from deploy.grafana.make import dashboard
from server.__main__ import RED_DISC
from server.seeing.metrics import REGISTRY
from tests.conftest import ASK, until
from tests.deploy.conftest import ROOT
from tests.deploy.prometheus import ALERTS, metrics_in, panels, running_prometheus

RUNBOOK = (ROOT / "deploy/RUNBOOK.md").read_text()
VLLM = set((ROOT / "deploy/prometheus/vllm-metrics.txt").read_text().split())
LOGGERS = ROOT / ".venv-engine/lib/python3.11/site-packages/vllm/v1/metrics/loggers.py"
SELDOM = (
    "Turned away",
    "Pictures where they are cached",
    "Repaired, clipped, dropped",
    "Cut for going round",
    "Asked of another engine",
    "Taken out",
    "Streams that lost their engine",
)
"""Panels that are empty while all is well, or with one engine alone."""
QUERIES = {alert["alert"]: alert["expr"] for alert in ALERTS} | {
    f"{title} {place}": query for title, some in panels().items() for place, query in enumerate(some)
}


def exposed() -> set[str]:
    """The names of the gateway's samples."""
    names = set()
    for family in REGISTRY.collect():
        endings = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(family.type, [""])
        names |= {family.name + ending for ending in endings}
    return names


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES.keys())
def test_a_query_names_only_metrics_that_exist(query: str) -> None:
    named = metrics_in(query)
    assert named <= exposed() | VLLM
    assert named or "up{" in query


def test_vllms_names_are_those_of_its_source() -> None:
    if not LOGGERS.exists():
        pytest.skip("no .venv-engine with Python 3.11")
    made = re.findall(r'self\._(gauge|counter|histogram)_cls\(\s*name="(vllm:\w+)"', LOGGERS.read_text())
    endings = {"gauge": [""], "counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}
    assert {name + ending for kind, name in made for ending in endings[kind]} == VLLM


def test_every_alert_has_an_entry_in_the_runbook_and_every_entry_an_alert() -> None:
    entries = re.findall(r"^## (\w+)$", RUNBOOK, re.MULTILINE)
    assert entries == [alert["alert"] for alert in ALERTS]


def test_every_entry_says_what_it_means_and_what_to_do() -> None:
    for entry in RUNBOOK.split("\n## ")[1:]:
        name, _, text = entry.partition("\n")
        for part in ("**Means.**", "**Look.**", "**Do.**"):
            assert part in text, f"{name} lacks {part}"


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_says_how_bad_it_is_and_what_is_wrong(alert: dict[str, dict[str, str]]) -> None:
    assert alert["labels"]["severity"] in ("page", "ticket")
    assert alert["annotations"]["summary"]
    assert alert["for"]


@pytest.mark.parametrize("check", [("rules", "alerts.yml"), ("config", "prometheus.yml")])
def test_promtool_accepts_it(check: tuple[str, str]) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: apt-get install prometheus")
    kind, name = check
    words = [promtool, "check", kind, str(ROOT / "deploy/prometheus" / name)]
    found = subprocess.run(words, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr


def test_the_dashboard_is_what_its_table_says() -> None:
    made = subprocess.run([sys.executable, ROOT / "deploy/grafana/make.py", "--check"], check=False)
    assert made.returncode == 0, "run python deploy/grafana/make.py"


async def test_a_real_prometheus_answers_every_query_about_the_gateway(
    mock: Mock, gateway: str, tmp_path: Path, unused_tcp_port: int
) -> None:
    of_gateway = {title: some for title, some in panels().items() if not metrics_in(str(some)) & VLLM}
    everyday = {title: some for title, some in of_gateway.items() if title not in SELDOM}
    content = [{"type": "image_url", "image_url": {"url": RED_DISC}}]
    bodies = [
        ASK,
        {**ASK, "messages": [{"role": "user", "content": content}], "cache_salt": "mine"},
        {**ASK, "stream": True},
        {**ASK, "n": 99},
    ]
    async with (
        running_prometheus(tmp_path, unused_tcp_port, {"gateway": gateway}) as prometheus,
        httpx2.AsyncClient(base_url=gateway) as client,
    ):

        async def asked_and_answered() -> bool:
            for body in bodies:
                await client.post("/v1/chat/completions", json=body)
            await asyncio.sleep(0.1)
            return not await prometheus.unanswered(everyday)

        try:
            await until(asked_and_answered, timeout_s=20)
        except TimeoutError:
            pytest.fail(f"no data for {await prometheus.unanswered(everyday)}")
        assert (await prometheus.unanswered(of_gateway)).keys() <= {*SELDOM}  # none of them is an error


async def test_the_dashboard_is_drawn_from_what_prometheus_holds(
    mock: Mock, gateway: str, tmp_path: Path, unused_tcp_port: int
) -> None:
    async with (
        running_prometheus(tmp_path, unused_tcp_port, {"gateway": gateway}) as prometheus,
        httpx2.AsyncClient(base_url=gateway) as client,
    ):

        async def is_counted() -> bool:
            await client.post("/v1/chat/completions", json=ASK)
            await asyncio.sleep(0.2)
            return bool(await prometheus.ask("rate(qvl_requests_total[8s]) > 0"))

        await until(is_counted, timeout_s=20)
        with History(prometheus.url, span_s=20, interval_s=8) as history:
            figure = await asyncio.to_thread(drawn, dashboard(), history)
    shown = {axes.get_title(loc="left"): axes for axes in figure.axes}
    assert shown.keys() == {*panels()}
    peaks = {line.get_label(): max(line.get_ydata(), default=0) for line in shown["Requests"].lines}
    assert peaks["/v1/chat/completions"] > 0 == peaks["/v1/detect"]
    assert [text.get_text() for text in shown["Steps a second"].texts] == ["no data"]  # no vLLM is scraped


async def test_an_engine_that_goes_is_an_alert(mock: Mock, gateway: str, tmp_path: Path, unused_tcp_port: int) -> None:
    async with running_prometheus(tmp_path, unused_tcp_port, {"gateway": gateway}) as prometheus:
        assert await prometheus.alerts() == set()
        await mock.close()

        async def is_told() -> bool:
            await asyncio.sleep(0.1)
            return {"NoEngineReady", "EngineNotReady"} <= await prometheus.alerts()

        await until(is_told, timeout_s=20)

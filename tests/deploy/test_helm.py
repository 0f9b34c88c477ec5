"""The Helm chart with every values file: rendered by Helm, valid for Kubernetes, and true to the launch table."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.helm.tiers import ROWS, key, words
from server.engines.profiles import TOOL_PARSER
from server.settings import Settings, unknown_variables
from tests.deploy.conftest import ROOT

TOOLS = ROOT / ".venv-deploy"
FILES = {key(card, count, size): (card, count, model) for card, count, size, model in ROWS}
Manifest = dict[str, Any]
SHARED = {"store": "postgresql://me@db/batches", "passwordSecret": "db"}


def values(name: str, **gateway: Any) -> dict[str, Any]:
    """A values file, with keys and with more settings for the gateway."""
    found: dict[str, Any] = yaml.safe_load((ROOT / f"deploy/helm/values/{name}.yaml").read_text())
    found["gateway"] |= {"keys": {"existingSecret": "keys"}, **gateway}
    return found


def cases() -> dict[str, dict[str, Any]]:
    """What is rendered: every file as it is, and what operators change."""
    both = values("l4-3b")
    both["engines"] |= values("h100x4-72b")["engines"]
    everything = {
        **both,
        "route": {
            "enabled": True,
            "parentRefs": [{"name": "front", "namespace": "infra"}],
            "hostnames": ["vl.example.org"],
        },
        "weights": {"existingClaim": "mine", "fetch": False},
        "monitoring": {"labels": {"release": "prometheus"}},
    }
    everything["gateway"] = {
        **both["gateway"],
        "settings": {"QVL_MAX_IN_FLIGHT": "512"},
        "autoscaling": {"enabled": False},
    }
    open_door = values("l4-3b", openToAnyone=True, keys={})
    no_keys = values("l4-3b", keys={})
    misspelt = values("l4-3b")
    misspelt["engines"]["l4-3b"]["replica"] = 3
    return {
        **{name: values(name) for name in FILES},
        "both": both,
        "everything": everything,
        "open door": open_door,
        "shared": values("l4-3b", redisUrl="redis://redis:6379/0", batches=SHARED),
        "workers": values("l4-3b", workers=4),
        "key text": values("l4-3b", keys={"toml": "[[key]]\nname = 'a'\n"}),
        "no keys": no_keys,
        "no engines": {"gateway": {"keys": {"existingSecret": "keys"}}},
        "misspelt": misspelt,
    }


@cache
def rendered() -> dict[str, Any]:
    """All cases, in one run of the tools."""
    if not (TOOLS / ".stamp").is_file():
        pytest.skip("Helm is not installed: scripts/test installs scripts/locks/deploy.txt")
    file = ROOT / ".cache" / "helm-cases.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(cases()))
    command = [TOOLS / "bin/python", ROOT / "tests/deploy/render.py", file]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr[-3000:]
    found: dict[str, Any] = json.loads(made.stdout)
    return found


def manifests(case: str, kind: str) -> list[Manifest]:
    return [manifest for manifest in rendered()[case]["manifests"] if manifest["kind"] == kind]


def pods(case: str) -> Iterator[tuple[str, Manifest]]:
    """(name, pod's spec) of everything that runs."""
    for manifest in rendered()[case]["manifests"]:
        if "template" in manifest.get("spec", {}):
            yield manifest["metadata"]["name"], manifest["spec"]["template"]["spec"]


def container(spec: Manifest) -> Manifest:
    found: Manifest = spec["containers"][0]
    return found


GOOD = [*FILES, "both", "everything", "open door", "key text", "shared", "workers"]


@pytest.mark.parametrize("case", GOOD)
def test_helm_renders_it_and_kubernetes_would_take_it(case: str) -> None:
    assert rendered()[case]["problems"] == []
    assert manifests(case, "Deployment")


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("no keys", "gateway.keys: name a Secret"),
        ("no engines", "give one of the files in values/"),
        ("misspelt", "replica"),
    ],
)
def test_a_mistake_in_the_values_is_told_and_not_rendered(case: str, said: str) -> None:
    assert said in " ".join(rendered()[case]["problems"])
    assert rendered()[case]["manifests"] == []


def test_a_planted_mistake_in_a_manifest_is_found(tmp_path: Path) -> None:
    found = deepcopy(manifests("l4-3b", "StatefulSet")[0])
    found["spec"]["template"]["spec"]["containers"][0]["livenessprobe"] = {}
    file = tmp_path / "m.json"
    file.write_text(json.dumps([found]))
    code = f"import json, sys; sys.path.insert(0, '{ROOT}/tests/deploy'); import render; "
    code += f"print(render.problems(json.load(open('{file}'))))"
    said = subprocess.run([TOOLS / "bin/python", "-c", code], capture_output=True, text=True, check=True).stdout
    assert "livenessprobe" in said


@pytest.mark.parametrize("case", ["l4-3b", "everything"])
def test_custom_kinds_are_valid_by_their_projects_schemas(case: str, tmp_path: Path) -> None:
    node, packages = shutil.which("node"), TOOLS / "crds"
    if node is None or not (packages / "node_modules").is_dir():
        pytest.skip("node or its packages are not installed")
    file = tmp_path / "m.json"
    file.write_text(json.dumps(rendered()[case]["manifests"]))
    command = [node, str(ROOT / "tests/deploy/crds/check.mjs"), str(file), str(packages)]
    answer = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert answer == {"checked": 4 if case == "everything" else 3, "problems": []}


def test_the_values_files_are_those_of_the_launch_table() -> None:
    check = subprocess.run([sys.executable, ROOT / "deploy/helm/tiers.py", "--check"], capture_output=True, check=False)
    assert check.returncode == 0, check.stderr


def paired(args: list[str]) -> dict[str, list[str]]:
    """Flag -> its values; the last of two equal flags counts."""
    found: dict[str, list[str]] = {}
    for word in args:
        if word.startswith("--"):
            found[word] = current = []
        else:
            current.append(word)
    return found


@pytest.mark.parametrize("name", FILES)
def test_an_engine_is_started_as_the_gateway_would_start_it(name: str) -> None:
    card, count, model = FILES[name]
    engine = manifests(name, "StatefulSet")[0]["spec"]["template"]["spec"]
    ours = paired(container(engine)["args"])
    table = paired(words(card, count, model))
    assert ours.pop("--host") == ["0.0.0.0"]
    assert ours.pop("--port") == ["8000"]
    assert ours.pop("--shutdown-timeout") == ["45"]
    assert table.pop("--shutdown-timeout") == ["0"]
    assert ours.pop("--tool-parser-plugin") == ["/opt/qwenvl/tool_parser.py"]
    assert table.pop("--tool-parser-plugin") == [str(TOOL_PARSER)]
    for flag in ("--media-io-kwargs", "--mm-processor-kwargs", "--limit-mm-per-prompt", "--structured-outputs-config"):
        assert json.loads(ours.pop(flag)[0]) == json.loads(table.pop(flag)[0])
    assert ours == table


@pytest.mark.parametrize("name", FILES)
def test_an_engine_gets_as_many_cards_as_it_is_divided_over(name: str) -> None:
    _, count, _ = FILES[name]
    engine = container(manifests(name, "StatefulSet")[0]["spec"]["template"]["spec"])
    assert engine["resources"]["limits"]["nvidia.com/gpu"] == str(count)
    flags = paired(engine["args"])
    if count > 1:
        assert flags["--tensor-parallel-size"] == [str(count)]
        assert flags["--mm-encoder-tp-mode"] == ["data"]
    else:
        assert "--tensor-parallel-size" not in flags


@pytest.mark.parametrize("case", GOOD)
def test_what_is_stopped_is_given_the_time_that_it_takes(case: str) -> None:
    for name, spec in pods(case):
        if "weights" in name:
            continue
        grace_s = spec["terminationGracePeriodSeconds"]
        before_s = container(spec)["lifecycle"]["preStop"]["sleep"]["seconds"]
        if "gateway" in name:
            told = {each["name"]: each.get("value") for each in container(spec)["env"]}
            ends_s = float(told["QVL_LEAVE_LIMIT_S"]) + Settings().leave_delay_s
            assert ends_s > 60
        else:
            ends_s = int(paired(container(spec)["args"])["--shutdown-timeout"][0])
        assert grace_s > before_s + ends_s


@pytest.mark.parametrize("case", GOOD)
def test_nothing_runs_as_root_or_writes_beside_its_volumes(case: str) -> None:
    for _, spec in pods(case):
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["automountServiceAccountToken"] is False
        for each in [*spec["containers"], *spec.get("initContainers", [])]:
            assert each["securityContext"]["readOnlyRootFilesystem"] is True
            assert each["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert each["securityContext"]["allowPrivilegeEscalation"] is False


@pytest.mark.parametrize("case", GOOD)
def test_engines_have_no_way_out(case: str) -> None:
    policy = next(each for each in manifests(case, "NetworkPolicy") if each["metadata"]["name"].endswith("-engines"))
    assert "Egress" in policy["spec"]["policyTypes"]
    assert policy["spec"]["egress"] == []
    chosen = policy["spec"]["podSelector"]["matchLabels"]
    for engine in manifests(case, "StatefulSet"):
        assert chosen.items() <= engine["spec"]["template"]["metadata"]["labels"].items()


def test_what_fetches_the_weights_is_not_held_by_the_engines_policy() -> None:
    policy = next(each for each in manifests("l4-3b", "NetworkPolicy") if each["metadata"]["name"].endswith("-engines"))
    labels = manifests("l4-3b", "Job")[0]["spec"]["template"]["metadata"]["labels"]
    assert not policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()


@pytest.mark.parametrize("case", GOOD)
def test_every_selector_chooses_what_it_is_meant_for(case: str) -> None:
    running = [each["spec"]["template"]["metadata"]["labels"] for each in rendered()[case]["manifests"]
               if each["kind"] in ("Deployment", "StatefulSet")]  # fmt: skip
    for each in [*manifests(case, "Service"), *manifests(case, "PodDisruptionBudget")]:
        wanted = each["spec"]["selector"].get("matchLabels", each["spec"]["selector"])
        assert sum(wanted.items() <= labels.items() for labels in running) == 1, each["metadata"]["name"]
    services = [each["metadata"]["labels"] for each in manifests(case, "Service")]
    for monitor in manifests(case, "ServiceMonitor"):
        wanted = monitor["spec"]["selector"]["matchLabels"]
        assert any(wanted.items() <= labels.items() for labels in services)


def test_the_gateway_finds_each_engine_by_its_headless_service() -> None:
    spec = manifests("both", "Deployment")[0]["spec"]["template"]["spec"]
    env = {each["name"]: each.get("value") for each in container(spec)["env"]}
    headless = [each for each in manifests("both", "Service") if each["spec"].get("clusterIP") == "None"]
    assert set(env["QVL_ENGINE_DNS"].split(",")) == {f"{each['metadata']['name']}.models.svc:8000" for each in headless}
    assert len(headless) == 2


@pytest.mark.parametrize("case", GOOD)
def test_the_gateways_variables_are_settings(case: str) -> None:
    spec = manifests(case, "Deployment")[0]["spec"]["template"]["spec"]
    assert unknown_variables([each["name"] for each in container(spec)["env"]]) == []


def test_gateways_share_limits_and_batches_where_they_are_told_to() -> None:
    spec = manifests("shared", "Deployment")[0]["spec"]["template"]["spec"]
    env = {each["name"]: each for each in container(spec)["env"]}
    assert env["QVL_REDIS_URL"]["value"] == "redis://redis:6379/0"
    assert env["QVL_BATCH_STORE"]["value"] == SHARED["store"]
    assert env["QVL_BATCH_STORE_PASSWORD"]["valueFrom"]["secretKeyRef"] == {"name": "db", "key": "password"}
    alone = manifests("l4-3b", "Deployment")[0]["spec"]["template"]["spec"]
    assert {"name": "QVL_BATCH_STORE", "value": "off"} in container(alone)["env"]


def test_a_gateway_has_as_many_workers_as_it_is_told_to() -> None:
    def workers(case: str) -> str:
        spec = manifests(case, "Deployment")[0]["spec"]["template"]["spec"]
        return {each["name"]: each.get("value") for each in container(spec)["env"]}["QVL_WORKERS"]

    assert (workers("l4-3b"), workers("workers")) == ("1", "4")


def test_anyone_may_call_only_where_the_operator_says_so() -> None:
    def env(case: str) -> dict[str, str]:
        spec = manifests(case, "Deployment")[0]["spec"]["template"]["spec"]
        return {each["name"]: each["value"] for each in container(spec)["env"]}

    assert env("open door")["QVL_AUTH_NONE_ANYWHERE"] == "true"
    assert env("l4-3b")["QVL_KEYS_FILE"] == "/etc/qwenvl/keys.toml"
    assert "QVL_AUTH_NONE_ANYWHERE" not in env("l4-3b")


@pytest.mark.parametrize("kind", ["startupProbe", "readinessProbe", "livenessProbe"])
def test_an_engine_is_judged_by_its_steps(kind: str) -> None:
    spec = manifests("l4-3b", "StatefulSet")[0]["spec"]["template"]["spec"]
    assert "/opt/qwenvl/heartbeat.py" in container(spec)[kind]["exec"]["command"]


@pytest.mark.parametrize("source", [ROOT / "deploy/image/heartbeat.py", TOOL_PARSER], ids=lambda source: source.name)
def test_an_engine_is_brought_the_files_that_vllms_image_lacks(source: Path) -> None:
    spec = manifests("l4-3b", "StatefulSet")[0]["spec"]["template"]["spec"]
    mounts = {each["mountPath"]: each for each in container(spec)["volumeMounts"]}
    assert mounts["/opt/qwenvl"]["readOnly"]
    volume = next(each for each in spec["volumes"] if each["name"] == mounts["/opt/qwenvl"]["name"])
    brought = next(
        each for each in manifests("l4-3b", "ConfigMap") if each["metadata"]["name"] == volume["configMap"]["name"]
    )
    assert brought["data"][source.name].strip() == source.read_text().strip()


def test_engines_roll_when_a_file_that_they_are_brought_changes() -> None:
    found = manifests("l4-3b", "StatefulSet")[0]["spec"]["template"]["metadata"]["annotations"]["checksum/files"]
    texts = [file.read_bytes() for file in (ROOT / "deploy/image/heartbeat.py", TOOL_PARSER)]
    assert found == sha256(b"".join(texts)).hexdigest()


def test_the_gateway_is_scaled_by_its_own_gauge() -> None:
    scaler = manifests("l4-3b", "HorizontalPodAutoscaler")[0]["spec"]
    assert scaler["metrics"][0]["pods"]["metric"]["name"] == "qvl_requests_in_flight"
    assert scaler["scaleTargetRef"]["name"] == manifests("l4-3b", "Deployment")[0]["metadata"]["name"]
    assert manifests("everything", "HorizontalPodAutoscaler") == []


def test_the_alerts_and_the_dashboard_are_those_of_compose() -> None:
    rule = manifests("l4-3b", "PrometheusRule")[0]
    assert rule["spec"] == yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text())
    shown = next(each for each in manifests("l4-3b", "ConfigMap") if "qwenvl.json" in each["data"])
    assert json.loads(shown["data"]["qwenvl.json"]) == json.loads(
        (ROOT / "deploy/grafana/dashboards/qwenvl.json").read_text()
    )

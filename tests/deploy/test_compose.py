"""docker-compose.yml: valid, closed where it says so, and of settings and files that exist."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from server.settings import Settings, unknown_variables
from tests.deploy.conftest import ROOT
from tests.deploy.dockerfile import parse
from tests.deploy.test_lint import tool

FILE = ROOT / "docker-compose.yml"
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
ENGINES = [name for name in SERVICES if name.startswith("engine-")]
GATEWAYS = [name for name in SERVICES if name.startswith("gateway")]


def seconds(text: str) -> int:
    return int(text.removesuffix("s"))


def test_it_is_valid_by_the_official_schema() -> None:
    found = tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(FILE))
    assert found.returncode == 0, found.stdout


def test_the_schema_finds_a_planted_mistake(tmp_path: Path) -> None:
    mistaken = tmp_path / "compose.yml"
    mistaken.write_text(FILE.read_text().replace("read_only:", "readonly:"))
    assert tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(mistaken)).returncode == 1


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_is_on_no_network_with_a_way_out_and_publishes_nothing(name: str) -> None:
    for network in SERVICES[name]["networks"]:
        assert COMPOSE["networks"][network]["internal"] is True
    assert "ports" not in SERVICES[name]


@pytest.mark.parametrize("name", GATEWAYS)
def test_a_gateway_finds_every_engine_by_one_name(name: str) -> None:
    host, _, port = SERVICES[name]["environment"]["QVL_ENGINE_DNS"].partition(":")
    assert port == "8000"
    for engine in ENGINES:
        assert host in SERVICES[engine]["networks"]["engines"]["aliases"]


@pytest.mark.parametrize("name", SERVICES)
def test_nothing_is_root_of_more_than_it_needs(name: str) -> None:
    service = SERVICES[name]
    if name == "weights":  # writes into a volume, once, by hand
        return
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", SERVICES)
def test_its_variables_are_settings(name: str) -> None:
    assert unknown_variables(SERVICES[name].get("environment", {})) == []


def test_the_demos_gateway_shows_what_its_engine_is_started_with() -> None:
    def pixels(name: str) -> dict[str, str]:
        return {key: value for key, value in SERVICES[name]["environment"].items() if "PIXELS" in key}

    assert pixels("gateway-cpu") == pixels("engine-cpu")
    assert pixels("gateway") == pixels("engine-gpu") == {}


def test_every_file_it_mounts_is_there() -> None:
    named = re.findall(r"(\./[\w./-]+):", FILE.read_text())
    assert named
    for path in named:
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("name", OURS)
def test_its_build_targets_are_stages_of_the_dockerfile(name: str) -> None:
    assert OURS[name]["build"]["target"] in parse((ROOT / "Dockerfile").read_text(), {})


@pytest.mark.parametrize("name", SERVICES)
def test_an_image_that_is_not_built_here_has_a_version(name: str) -> None:
    if name not in OURS:
        _, _, tag = SERVICES[name]["image"].partition(":")
        assert re.match(r"v?\d+\.\d+", tag), SERVICES[name]["image"]


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_is_given_longer_to_stop_than_it_takes(name: str) -> None:
    from deploy.image.engine import SHUTDOWN_TIMEOUT_S

    assert seconds(SERVICES[name]["stop_grace_period"]) >= SHUTDOWN_TIMEOUT_S + 15


@pytest.mark.parametrize("name", [name for name in OURS if "gateway" in name])
def test_a_gateway_is_given_longer_to_stop_than_it_takes(name: str) -> None:
    leaves_s = float(SERVICES[name]["environment"]["QVL_LEAVE_LIMIT_S"]) + Settings().leave_delay_s
    assert seconds(SERVICES[name]["stop_grace_period"]) > leaves_s


@pytest.mark.parametrize("profile", ["cpu", "gpu", "multi"])
def test_a_profile_publishes_one_door_and_is_watched(profile: str) -> None:
    started = {name: service for name, service in SERVICES.items() if profile in service.get("profiles", [])}
    doors = [name for name, service in started.items() if any(":8000:" in port for port in service.get("ports", []))]
    assert len(doors) == 1
    assert {"prometheus", "grafana"} <= started.keys()


@pytest.mark.parametrize("name", [*GATEWAYS, "grafana"])
def test_secrets_come_as_files_and_not_as_variables(name: str) -> None:
    service = SERVICES[name]
    assert service["secrets"]
    for key, value in service["environment"].items():
        if "PASSWORD" in key or "KEY" in key:
            assert str(value).startswith("/run/secrets/"), key

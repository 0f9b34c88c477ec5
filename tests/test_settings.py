"""Settings: documented, with their unit in their name, the same by flag and by variable, and refused where misspelt."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
from pydantic import SecretStr, ValidationError

from server.__main__ import read_settings, serve
from server.settings import ENV_PREFIX, Settings, unknown_variables

ROOT = Path(__file__).resolve().parent.parent
FIELDS = Settings.model_fields
UNITS = {
    "_s": "second",
    "_bytes": "bytes",
    "_pixels": "pixels",
    "_fps": "frames a second",
    "_tokens": "tokens",
    "_dpi": "an inch",
}
"""End of a name -> what its sentence says."""
COUNTS = {
    "port",
    "workers",
    "engine_connections",
    "batch_parallel",
    "task_parallel",
    "media_workers",
    "fetch_allow_port",
    "trace_share",
}
"""Numbers of things, beside those that begin with `max_` or hold `_max_`."""


def types_of(hint: Any) -> set[Any]:
    """The plain types in a field's type, a list's items among them."""
    if get_origin(hint) is Literal:
        return {str}
    inner = [one for one in get_args(hint) if isinstance(one, type) or get_origin(one)]
    return {hint} if not inner else set().union(*(types_of(one) for one in inner))


HINTS = get_type_hints(Settings)


@pytest.mark.parametrize("name", FIELDS)
def test_a_setting_says_what_it_is_in_a_sentence(name: str) -> None:
    sentence = FIELDS[name].description or ""
    assert re.fullmatch(r"[A-Z\d`].{15,}[.]", sentence.split("\n")[0]), sentence
    assert "\n" not in sentence


@pytest.mark.parametrize("name", FIELDS)
def test_a_setting_has_a_type_and_a_number_its_unit_or_plainly_none(name: str) -> None:
    found = types_of(HINTS[name])
    assert found <= {str, bool, int, float, SecretStr, type(None)}
    unit = next((unit for unit in UNITS if name.endswith(unit)), None)
    if unit is not None:
        assert found <= {int, float}
        assert UNITS[unit] in (FIELDS[name].description or "").lower()
    elif found & {int, float}:
        assert name in COUNTS or "max_" in name, f"{name} is a number of what?"


# -- flags and variables ---------------------------------------------------------------------------------------------

OTHERS: dict[str, str] = {
    "auth": "none",
    "log_level": "debug",
    "log_format": "json",
    "trace_share": "0.5",
    "fetch_allow_network": "10.0.0.0/8,fd00::/8",
    "engine_dns": "engines:8100,others:8100",
    "video_fps": "1.5",
    "video_frames": "reference",
}


def another(name: str) -> str:
    """A value for a setting that is not its default, as it is written in the environment."""
    found = types_of(HINTS[name])
    if name in OTHERS:
        return OTHERS[name]
    if bool in found:
        return "false" if FIELDS[name].default else "true"
    if found & {int, float}:
        return "17,18" if isinstance(FIELDS[name].default, list) else "17"
    return "one,two" if isinstance(FIELDS[name].default, list) else "one"


def flags(name: str, value: str) -> list[str]:
    """The same on the command line: lists by repeating, switches by their name alone."""
    flag = f"--{name.replace('_', '-')}"
    if bool in types_of(HINTS[name]):
        return [flag if value == "true" else f"--no-{flag[2:]}"]
    values = value.split(",") if isinstance(FIELDS[name].default, list) else [value]
    return [text for one in values for text in (flag, one)]


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in FIELDS:
        monkeypatch.delenv(ENV_PREFIX + name.upper(), raising=False)


def test_every_flag_and_its_variable_mean_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    by_flag = read_settings([text for name in FIELDS for text in flags(name, another(name))])
    for name in FIELDS:
        monkeypatch.setenv(ENV_PREFIX + name.upper(), another(name))
    assert by_flag.model_dump() == read_settings([]).model_dump()
    assert [name for name in FIELDS if getattr(by_flag, name) == FIELDS[name].default] == []


def test_one_flag_changes_one_setting() -> None:
    changed = read_settings(["--max-n", "3"]).model_dump()
    assert {name for name, value in Settings().model_dump().items() if changed[name] != value} == {"max_n"}


def test_a_flag_wins_over_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QVL_PORT", "9000")
    assert read_settings(["--port", "9001"]).port == 9001


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--port", "seventy"], ["--port", "QVL_PORT", "'seventy'"]),
        (["--port", "70000"], ["--port", "65535"]),
        (["--max-n", "0"], ["--max-n", "QVL_MAX_N", "'0'"]),
        (["--max-body-bytes", "-1"], ["--max-body-bytes"]),
        (["--max-body-bytes", "64MB"], ["--max-body-bytes", "'64MB'"]),
        (["--engine-timeout-s", "-1"], ["--engine-timeout-s"]),
        (["--engine-timeout-s", "nan"], ["--engine-timeout-s"]),
        (["--log-level", "chatty"], ["--log-level", "'warning'"]),
        (["--fetch-allow-network", "10.0.0.0/8", "--fetch-allow-network", "ten"], ["--fetch-allow-network", "'ten'"]),
        (["--fetch-allow-port", "http"], ["--fetch-allow-port", "'http'"]),
    ],
    ids=" ".join,
)
def test_a_value_that_cannot_be_is_named_with_its_flag(
    arguments: list[str], says: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        read_settings(arguments)
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert [words for words in says if words not in told] == []
    assert "Traceback" not in told


@pytest.mark.parametrize("name", ["QVL_PROT", "QVL_MAX_BODY", "QVL_", "qvl_prot", "Qvl_Api_Keys"])
def test_a_misspelt_variable_is_found(name: str) -> None:
    assert unknown_variables([name, "HOME", "QVL_PORT", "qvl_port", "MY_QVL_PORT"]) == [name]


def test_the_program_refuses_a_misspelt_variable() -> None:
    variables = {"QVL_PROT": "9000"}
    command = [sys.executable, "-m", "server"]
    ended = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert ended.stderr == "QVL_PROT: no such setting; python -m server --help lists them all\n"


@pytest.mark.parametrize("arguments", [["--prot", "9000"], ["9000"]], ids=" ".join)
def test_a_misspelt_flag_is_named(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        read_settings(arguments)
    assert ended.value.code == 2
    assert " ".join(arguments) in capsys.readouterr().err


def test_a_wrong_variable_is_named_as_that(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("QVL_PORT", "seventy")
    with pytest.raises(SystemExit):
        read_settings([])
    assert "QVL_PORT" in capsys.readouterr().err


def test_help_names_every_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read_settings(["--help"])
    shown = capsys.readouterr().out
    assert [name for name in FIELDS if f"--{name.replace('_', '-')}" not in shown] == []
    assert ">>>" not in shown


def test_keys_do_not_show() -> None:
    made = Settings(api_key=[SecretStr("sk-secret")], engine_api_key=SecretStr("sk-secret"))
    assert "sk-secret" not in repr(made) + str(made) + str(made.model_dump())


def test_settings_do_not_change_and_take_no_others() -> None:
    with pytest.raises(ValidationError):
        Settings().port = 1
    with pytest.raises(ValidationError):
        Settings(**{"prot": 1})  # type: ignore[arg-type]


async def test_an_engine_url_that_cannot_be_opened_ends_the_program_in_words(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert await serve(Settings(engine_url=["ftp://x"])) == 2
    assert "ftp://x" in capsys.readouterr().err

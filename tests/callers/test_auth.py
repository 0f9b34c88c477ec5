"""Keys: who is let in, for what, until when, and that a key stays a secret."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest
from pydantic import SecretStr

from benchmarks.overhead.mock import MODEL, Mock
from server.__main__ import main, serve
from server.app import SCOPES
from server.callers import auth as auth_module
from server.callers.auth import Auth, open_auth
from server.callers.keys import KeyFile, hashed, read_rows
from server.callers.keys_command import run
from server.engines.guard import family
from server.errors import AuthenticationFailed
from server.settings import Settings
from tests.conftest import ASK, Running, until

DETECT = {"image": "data:image/png;base64,AAAA", "labels": ["cat"]}


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def key_table(name: str, key: str, **fields: object) -> str:
    lines = [f"{field} = {value}" for field, value in fields.items()]
    return "\n".join(["[[key]]", f'name = "{name}"', f'hash = "{hashed(key)}"', *lines, ""])


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    """Three keys that may do different things."""
    path = tmp_path / "keys.toml"
    path.write_text(
        key_table("alice", "sk-alice")
        + key_table("bob", "sk-bob", tasks='["chat"]', models='["qwen2.5-vl"]')
        + key_table("carol", "sk-carol", tasks='["detect"]', expires="2020-01-01")
    )
    return path


# -- who is let in ---------------------------------------------------------------------------------------------------


WRONG = [
    {},
    {"authorization": "sk-alice"},
    {"authorization": "Bearer"},
    {"authorization": "Bearer sk-Alice"},
    {"authorization": "Bearer " + hashed("sk-alice")},
    {"authorization": "Token sk-alice"},
    {"authorization": "Basic !!!"},
    {"authorization": "Basic c2stYWxpY2U="},
    {"x-api-key": "sk-alice"},
]


async def test_strangers_are_not_let_in(running: Running, mock: Mock, keys_file: Path) -> None:
    async with (
        running([await mock.listen()], keys_file=str(keys_file)) as url,
        httpx2.AsyncClient(base_url=url) as client,
    ):
        for headers in WRONG:
            for method, path in (("POST", "/v1/chat/completions"), ("POST", "/v1/detect"), ("GET", "/v1/models")):
                answer = await client.request(method, path, json=ASK if method == "POST" else None, headers=headers)
                assert answer.status_code == 401, headers
                assert answer.json()["error"]["code"] == "invalid_api_key"
                assert answer.headers["www-authenticate"] == "Bearer"
    assert mock.stats()["requests"] == 0


async def test_a_key_is_told_by_its_hash_alone(running: Running, mock: Mock, keys_file: Path) -> None:
    async with (
        running([await mock.listen()], keys_file=str(keys_file)) as url,
        httpx2.AsyncClient(base_url=url) as client,
    ):
        answer = await client.post("/v1/chat/completions", json=ASK, headers=bearer("sk-alice"))
    assert answer.status_code == 200
    assert "sk-alice" not in keys_file.read_text()


def test_a_key_whose_time_is_over_is_said_to_be(keys_file: Path) -> None:
    auth = Auth([], KeyFile(keys_file, SCOPES))
    with pytest.raises(AuthenticationFailed, match="expired"):
        auth.caller({b"authorization": b"Bearer sk-carol"})


def test_a_file_without_keys_lets_nobody_in(tmp_path: Path) -> None:
    (tmp_path / "keys.toml").write_text("")
    auth = Auth([], KeyFile(tmp_path / "keys.toml", SCOPES))
    with pytest.raises(AuthenticationFailed):
        auth.caller({})


def test_keys_may_come_by_hash_and_name_in_the_environment() -> None:
    auth = open_auth(Settings(api_key=[SecretStr(f"alice={hashed('sk-1')}"), SecretStr("sk-2")]), SCOPES)
    assert auth.caller({b"authorization": b"bearer sk-1"}).name == "alice"
    assert auth.caller({b"authorization": b"Basic OnNrLTI="}).operator
    with pytest.raises(AuthenticationFailed):
        auth.caller({b"authorization": f"Bearer alice={hashed('sk-1')}".encode()})


# -- for what --------------------------------------------------------------------------------------------------------


async def test_a_key_is_for_its_tasks_and_models_and_told_which(running: Running, mock: Mock, keys_file: Path) -> None:
    async with (
        running([await mock.listen()], keys_file=str(keys_file), model_alias=["qwen2.5-vl", "other"]) as url,
        httpx2.AsyncClient(base_url=url, headers=bearer("sk-bob")) as client,
    ):
        assert (await client.post("/v1/chat/completions", json={**ASK, "model": "qwen2.5-vl"})).status_code == 200
        assert (await client.post("/v1/chat/completions", json={**ASK, "model": "other"})).status_code == 403
        refused = await client.post("/v1/detect", json=DETECT)
        completions = await client.post("/v1/completions", json={"model": "qwen2.5-vl", "prompt": "x"})
        listed = (await client.get("/v1/models")).json()["data"]
        one = await client.get("/v1/models/other")
    assert refused.status_code == completions.status_code == one.status_code == 403
    assert refused.json()["error"] == {
        "scope": "tasks",
        "message": "the key 'bob' is not for the task 'detect'; it is for chat",
        "type": "invalid_request_error",
        "param": None,
        "code": "permission_denied",
    }
    assert [card["id"] for card in listed] == ["qwen2.5-vl"]


async def test_a_task_asks_the_model_that_the_key_is_for(running: Running, mock: Mock, tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    path.write_text(key_table("dan", "sk-dan", models='["other"]'))
    picture = "data:image/png;base64," + (
        "iVBORw0KGgoAAAANSUhEUgAAADgAAAA4AQMAAACSSKldAAAAA1BMVEUAgIBxQSaxAAAADklEQVR42mNgGAVDGQAAAcAAAb8Xq8EAAAAASUVORK5CYII="
    )
    async with (
        running([await mock.listen()], keys_file=str(path), model_alias=["qwen2.5-vl", "other"]) as url,
        httpx2.AsyncClient(base_url=url, headers=bearer("sk-dan"), timeout=20) as client,
    ):
        ours = await client.post("/v1/caption", json={"image": picture})
        theirs = await client.post("/v1/caption", json={"image": picture, "model": MODEL})
    assert (ours.status_code, theirs.status_code) == (200, 403)


async def test_callers_do_not_share_the_engines_cache_but_two_keys_of_one_name_do(
    running: Running, mock: Mock, tmp_path: Path
) -> None:
    path = tmp_path / "keys.toml"
    path.write_text(key_table("a", "sk-1") + key_table("a", "sk-2") + key_table("b", "sk-3"))
    async with running([await mock.listen()], keys_file=str(path)) as url, httpx2.AsyncClient(base_url=url) as client:
        for key in ("sk-1", "sk-2", "sk-3"):
            for asked in (ASK, {**ASK, "priority": 1, "cache_salt": "mine"}):
                assert (await client.post("/v1/chat/completions", json=asked, headers=bearer(key))).status_code == 200
    salts = [orjson.loads(request.body)["cache_salt"] for request in mock.requests]
    assert salts[0] == salts[1] == salts[2] == salts[3] != salts[4] == salts[5]
    assert len(salts[0]) == 32


async def test_without_keys_the_engine_gets_no_salt(mock: Mock, client: httpx2.AsyncClient) -> None:
    await client.post("/v1/chat/completions", json=ASK)
    assert "cache_salt" not in orjson.loads(mock.requests[-1].body)


# -- until when ------------------------------------------------------------------------------------------------------


async def test_a_key_comes_and_goes_without_a_restart(
    running: Running, mock: Mock, keys_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth_module, "RELOAD_S", 0.01)

    async with (
        running([await mock.listen()], keys_file=str(keys_file)) as url,
        httpx2.AsyncClient(base_url=url) as client,
    ):

        async def status(key: str) -> int:
            return (await client.get("/v1/models", headers=bearer(key))).status_code

        assert await status("sk-new") == 401
        run(["new", "--keys-file", str(keys_file), "--name", "dan"], SCOPES, None)
        keys_file.write_text(keys_file.read_text() + key_table("erin", "sk-new"))
        await until(lambda: _is(status("sk-new"), 200))
        alice = next(row.hash for row in read_rows(keys_file.read_text()) if row.name == "alice")
        run(["drop", "--keys-file", str(keys_file), alice[:20]], SCOPES, None)
        await until(lambda: _is(status("sk-alice"), 401))


async def _is(status: Any, wanted: int) -> bool:
    return bool(await status == wanted)


async def test_a_file_that_is_broken_or_gone_changes_nothing(
    keys_file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(auth_module, "RELOAD_S", 0.01)
    auth = Auth([], KeyFile(keys_file, SCOPES))
    auth.start()
    try:
        keys_file.write_text('[[key]]\nname = "alice"\nhash = "sk-pasted-by-mistake"\n')
        await until(lambda: "the keys stay as they were" in caplog.text)
        assert auth.caller({b"authorization": b"Bearer sk-alice"}).name == "alice"
        keys_file.unlink()
        await until(lambda: "No such file" in caplog.text)
        assert auth.caller({b"authorization": b"Bearer sk-alice"}).name == "alice"
        keys_file.write_text(key_table("bob", "sk-bob"))
        await until(lambda: _knows(auth, b"sk-bob") and not _knows(auth, b"sk-alice"))
    finally:
        await auth.close()
    assert "pasted" not in caplog.text


def test_a_key_that_was_let_in_before_is_not_once_the_file_no_longer_has_it(keys_file: Path) -> None:
    auth = Auth([], KeyFile(keys_file, SCOPES))
    assert [auth.caller({b"authorization": b"Bearer sk-alice"}).name for _ in range(2)] == ["alice", "alice"]
    keys_file.write_text(key_table("bob", "sk-bob") + key_table("alice", "sk-new"))
    auth.reload()
    assert not _knows(auth, b"sk-alice")
    assert _knows(auth, b"sk-new")


def test_a_key_that_was_let_in_before_expires(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "keys.toml"
    path.write_text(key_table("alice", "sk-alice", expires="2999-01-01"))
    auth = Auth([], KeyFile(path, SCOPES))
    assert _knows(auth, b"sk-alice")
    monkeypatch.setattr("server.callers.keys.time.time", lambda: 33e9)
    assert not _knows(auth, b"sk-alice")


def test_the_many_ways_to_write_a_key_do_not_fill_the_memory(keys_file: Path) -> None:
    auth = Auth([], KeyFile(keys_file, SCOPES))
    for blanks in range(3000):
        assert auth.caller({b"authorization": b"Bearer %bsk-alice" % (b" " * blanks)}).name == "alice"
    assert sum(map(len, auth._keys.seen)) < 1024 * 256


def _knows(auth: Auth, key: bytes) -> bool:
    try:
        return bool(auth.caller({b"authorization": b"Bearer " + key}))
    except AuthenticationFailed:
        return False


# -- the file --------------------------------------------------------------------------------------------------------

GOOD = f'name = "a"\nhash = "{hashed("sk-1")}"\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[key]]\n", "key 1, name: Field required"),
        ('[[key]]\nname = "a"\nhash = "sk-secret"', "key 1, hash"),
        (f'[[key]]\n{GOOD}task = ["chat"]', "key 1, task: Extra inputs"),
        (f'[[key]]\n{GOOD}tasks = ["chats"]', "names the task 'chats'; there are act, caption, chat"),
        (f"[[key]]\n{GOOD}share = 0", "key 1, share"),
        (f"[[key]]\n{GOOD}concurrent = 0", "key 1, concurrent"),
        (f'[[key]]\n{GOOD}priority = "highest"', "key 1, priority"),
        (f"[[key]]\n{GOOD}[[key]]\n{GOOD}", "the same hash"),
        (f"[key]\n{GOOD}", "two brackets"),
        (f"[[keys]]\n{GOOD}", "'keys' is no table"),
        ("[[key]\n", "not TOML"),
        ('[[key]]\nname = "a\\nb"\nhash = ""', "key 1, name"),
    ],
)
def test_a_wrong_file_is_refused_at_the_start_in_words_without_a_key(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "keys.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=re.escape(says)) as refused:
        open_auth(Settings(keys_file=str(path)), SCOPES)
    assert "secret" not in str(refused.value)


# -- the door --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "my-machine", ""])
def test_a_door_to_other_machines_is_not_opened_without_keys_unless_it_is_said(host: str, keys_file: Path) -> None:
    with pytest.raises(ValueError, match="--auth-none-anywhere"):
        open_auth(Settings(host=host), SCOPES)
    with pytest.raises(ValueError, match="--auth-none-anywhere"):
        open_auth(Settings(host=host, auth="none"), SCOPES)
    assert not open_auth(Settings(host=host, auth_none_anywhere=True), SCOPES).enabled
    assert open_auth(Settings(host=host, keys_file=str(keys_file)), SCOPES).enabled


def test_what_is_said_of_keys_must_not_contradict_itself(keys_file: Path) -> None:
    with pytest.raises(ValueError, match="--auth keys needs keys"):
        open_auth(Settings(auth="keys"), SCOPES)
    with pytest.raises(ValueError, match="leave one out"):
        open_auth(Settings(auth="none", keys_file=str(keys_file)), SCOPES)
    with pytest.raises(ValueError, match="No such file"):
        open_auth(Settings(keys_file="/nowhere/keys.toml"), SCOPES)
    with pytest.raises(ValueError, match="64 hexadecimal digits"):
        open_auth(Settings(api_key=[SecretStr("alice=sha256:abc")]), SCOPES)


async def test_the_program_ends_with_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert await serve(Settings(engine_url=["http://127.0.0.1:1"], host="0.0.0.0")) == 2
    assert "--auth-none-anywhere" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--api-key=sk-in-plain", "--engine-api-key=sk-in-plain", "--api-k=sk-in-plain"])
def test_a_key_in_plain_is_no_flag(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([flag]) == 2
    said = capsys.readouterr().err
    assert "whoever lists the processes" in said
    assert "sk-in-plain" not in said


# -- the command -----------------------------------------------------------------------------------------------------


def test_a_new_key_is_shown_once_and_kept_by_hash(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "keys.toml"
    said = ["--task", "chat", "--share", "2", "--requests-per-minute", "60", "--expires", "2099-01-31"]
    assert run(["new", "--name", "alice", *said], SCOPES, str(path)) == 0
    key = capsys.readouterr().out.strip()
    assert re.fullmatch(r"sk-qvl-[A-Za-z0-9_-]{43}", key)
    assert key not in path.read_text()
    assert path.stat().st_mode & 0o077 == 0
    row = read_rows(path.read_text())[0]
    assert (row.hash, row.tasks, row.share, row.requests_per_minute) == (hashed(key), ("chat",), 2, 60)
    assert Auth([], KeyFile(path, SCOPES)).caller({b"authorization": f"Bearer {key}".encode()}).name == "alice"


def test_a_second_key_of_the_same_name_may_do_the_same_and_the_first_can_be_dropped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "keys.toml"
    path.write_text("# ours\n" + key_table("bob", "sk-bob") + "\n# hers\n" + key_table("alice", "sk-1", share=3))
    assert run(["new", "--name", "alice"], SCOPES, str(path)) == 0
    assert [row.share for row in read_rows(path.read_text())] == [1, 3, 3]
    assert run(["drop", hashed("sk-1")[:19]], SCOPES, str(path)) == 0
    assert [row.name for row in read_rows(path.read_text())] == ["bob", "alice"]
    assert path.read_text().startswith("# ours\n")
    assert run(["list"], SCOPES, str(path)) == 0
    assert capsys.readouterr().out.split("\n")[-2].endswith("alice  priority=normal share=3.0")


@pytest.mark.parametrize(
    "arguments",
    [
        ["new", "--name", "a b"],
        ["new", "--name", "alice", "--task", "paint"],
        ["new", "--name", "alice", "--share", "0"],
        ["new", "--name", "alice", "--expires", "soon"],
        ["drop", "0000"],
        ["drop", ""],
    ],
    ids=" ".join,
)
def test_what_cannot_be_leaves_the_file_as_it_is(keys_file: Path, arguments: list[str]) -> None:
    before = keys_file.read_text()
    assert run(arguments, SCOPES, str(keys_file)) == 1
    assert keys_file.read_text() == before
    assert list(keys_file.parent.iterdir()) == [keys_file]


# -- a secret stays one ----------------------------------------------------------------------------------------------


@pytest.fixture
def environment() -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("QVL_")}
    return {**clean, "QVL_API_KEY": "sk-plain-secret", "QVL_ENGINE_API_KEY": "sk-engine-secret"}


@pytest.mark.parametrize("workers", [1, 2])
async def test_no_key_shows_in_log_metrics_errors_or_processes(
    mock: Mock, environment: dict[str, str], keys_file: Path, tmp_path: Path, workers: int
) -> None:
    log = tmp_path / "log"
    options = ["--port", "0", "--keys-file", str(keys_file), "--log-level", "debug", "--media-workers", "1"]
    options += ["--workers", str(workers), "--batch-store", "off"]
    command = [sys.executable, "-m", "server", "--engine-url", await mock.listen(), *options]
    port = _free_port()
    command[command.index("--port") + 1] = str(port)
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
    shown: list[str] = []
    try:
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
            await until(lambda: _answers(client), 60)
            for key in ("sk-alice", "sk-plain-secret", "sk-wrong-secret"):
                for path, asked in (
                    ("/v1/chat/completions", ASK),
                    ("/v1/chat/completions", {**ASK, "n": 99}),
                    ("/v1/detect", DETECT),
                    (f"/v1/nothing/{'x' * 20}", {}),
                ):
                    answer = await client.post(path, json=asked, headers=bearer(key))
                    shown += [answer.text, str(answer.headers)]
            shown.append((await client.get("/metrics")).text)
            shown.append((await client.get("/openapi.json")).text)
        others = family(process.pid)
        assert sum(" server worker " in command for command in others.values()) == (workers if workers > 1 else 0)
        assert len(others) > (workers if workers > 1 else 0)  # and what decodes
        shown += [Path(f"/proc/{process.pid}/cmdline").read_text(), *others.values()]
        shown += [Path(f"/proc/{each}/environ").read_text() for each in others]
        assert mock.requests[-1].header(b"authorization") == b"Bearer sk-engine-secret"
    finally:
        process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(process.wait, 20)
    shown.append(log.read_text())
    assert "POST /v1/detect" in shown[-1]
    assert [text for text in shown if re.search(r"secret|sk-alice", text)] == []


async def _answers(client: httpx2.AsyncClient) -> bool:
    try:
        return (await client.get("/readyz")).status_code == 200
    except httpx2.TransportError:
        return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port

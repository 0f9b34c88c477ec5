"""The TypeScript client is made from the server's OpenAPI as it is, builds, and does what its own tests say."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clients.conftest import Served
from tests.clients.recipes import ROOT

FOLDER = ROOT / "clients" / "typescript"


@pytest.fixture
def npm() -> str:
    found = shutil.which("npm")
    if found is None or not (FOLDER / "node_modules").is_dir():
        pytest.skip("its packages are not installed: npm ci in clients/typescript")
    return found


def test_its_openapi_is_the_servers():
    check = subprocess.run([sys.executable, FOLDER / "openapi.py", "--check"], cwd=ROOT, check=False)
    assert check.returncode == 0, "run python clients/typescript/openapi.py, then npm run generate"


def test_its_types_are_made_from_it(npm: str, tmp_path: Path):
    command = [str(FOLDER / "node_modules" / ".bin" / "openapi-typescript"), str(FOLDER / "openapi.json")]
    flags = ["--root-types", "--root-types-no-schema-prefix", "-o", str(tmp_path / "schema.ts")]
    subprocess.run([*command, *flags], check=True, capture_output=True)
    assert (tmp_path / "schema.ts").read_text() == (FOLDER / "src" / "schema.ts").read_text()


def test_it_builds_and_its_tests_pass(npm: str, served: Served, photo: Path):
    places = {"QWENVL_URL": served.url, "ENGINE_URL": served.engine_url, "PHOTO": str(photo)}
    done = subprocess.run(
        [npm, "test", "--silent"],
        cwd=FOLDER,
        env={**os.environ, **places},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]

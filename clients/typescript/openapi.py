"""Writes openapi.json anew from the server: python clients/typescript/openapi.py [--check]. Then: npm run generate.

Only what the client covers: the tasks and the models. What of the server's API moves besides does not touch it.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

from server.app import create_app
from server.engines.pool import Pool
from server.settings import Settings
from server.tasks import TASKS

FILE = Path(__file__).with_name("openapi.json")
REF = re.compile(r'"#/components/schemas/(\w+)"')


def described() -> str:
    """The part of the server's OpenAPI that the client is made from."""
    settings = Settings()
    whole: dict[str, Any] = create_app(settings, Pool(settings), [])._api.openapi()  # type: ignore[attr-defined]
    kept = ["/v1/models", "/v1/models/{model}", "/v1/tasks", *(task.path for task in TASKS)]
    paths = {path: whole["paths"][path] for path in kept}
    schemas: dict[str, Any] = {}
    wanted = set(REF.findall(json.dumps(paths)))
    while wanted:
        name = wanted.pop()
        schemas[name] = whole["components"]["schemas"][name]
        wanted |= set(REF.findall(json.dumps(schemas[name]))) - set(schemas)
    part = {
        "openapi": whole["openapi"],
        "info": whole["info"],
        "paths": paths,
        "components": {"schemas": dict(sorted(schemas.items()))},
    }
    return json.dumps(part, indent=1, ensure_ascii=False) + "\n"


def main() -> int:
    new = described()
    if "--check" in sys.argv:
        return int(not FILE.exists() or FILE.read_text("utf-8") != new)
    FILE.write_text(new, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

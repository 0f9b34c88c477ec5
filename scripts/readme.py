"""Writes the README's tables of settings and errors from the code; `--check` says whether they are current.

python scripts/readme.py [--check]
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from server import errors  # noqa: E402
from server.settings import ENV_PREFIX, Settings  # noqa: E402


def settings_table() -> str:
    """One row a setting: flag, default, sentence."""
    rows = ["| flag | default | what |", "| --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        default = field.default
        shown = " ".join(map(str, default)) if isinstance(default, list) else default
        shown = "" if shown in (None, "") else f"`{shown}`"
        rows.append(f"| `--{name.replace('_', '-')}` | {shown} | {field.description} |")
    return "\n".join(rows) + f"\n\nThe variable of `--port` is `{ENV_PREFIX}PORT`, and so on."


def errors_table() -> str:
    """One row a class that can reach a client: status, code, sentence."""
    rows = ["| status | `code` | when |", "| --- | --- | --- |"]
    classes = [item for item in vars(errors).values() if isinstance(item, type) and item.__module__ == errors.__name__]
    leaves = [item for item in classes if item not in (errors.GatewayError, errors.CallerError, errors.ServerError)]
    for item in sorted(leaves, key=lambda item: (item.status, item.code)):
        summary = (item.__doc__ or "").split("\n")[0]
        rows.append(f"| {item.status} | `{item.code}` | {summary} |")
    return "\n".join(rows)


def current(text: str) -> str:
    """The README with its generated parts made anew."""
    for name, table in (("settings", settings_table()), ("errors", errors_table())):
        block = re.compile(rf"<!-- {name} -->.*?<!-- /{name} -->", re.DOTALL)
        text = block.sub(lambda _: f"<!-- {name} -->\n{table}\n<!-- /{name} -->", text)  # noqa: B023
    return text


def main() -> int:
    """Write, or check."""
    readme = ROOT / "README.md"
    text = readme.read_text()
    made = current(text)
    if "--check" in sys.argv:
        return int(made != text)
    readme.write_text(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())

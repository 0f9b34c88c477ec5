"""What the README says of the code is true; its examples are run in tests/engine/test_readme_examples.py."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def test_its_tables_of_settings_and_errors_are_current() -> None:
    check = subprocess.run([sys.executable, ROOT / "scripts/readme.py", "--check"], check=False)
    assert check.returncode == 0, "run python scripts/readme.py"


def test_every_path_in_its_tree_exists() -> None:
    tree = README.split("## The tree")[1].split("```")[1]
    folder = ""
    for line in tree.strip().splitlines():
        names = re.findall(r"[\w/]+(?:\.\w+|/)", line.split("  ")[0] if not line.startswith(" ") else line)
        if not line.startswith(" "):
            folder = names[0]
            assert (ROOT / folder).is_dir(), folder
            continue
        for name in re.findall(r"\b\w+(?:\.py|/)(?=\s|$)", line):
            assert (ROOT / folder / name).exists(), f"{folder}{name}"

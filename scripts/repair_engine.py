"""Makes the CPU build of vLLM import: run by the engine's own interpreter, once, after its packages are installed.

PyPI's torchaudio, torchcodec and torchvision are built for CUDA torch. Beside a CPU torch the first two fail when they
load their C library, and take transformers and vllm with them; Qwen2.5-VL needs neither, so they go. torchvision's
Python half is all that the Qwen processor needs, and it fails only because two operators are not declared: a `.pth`
file declares them before its first import, in this process and in every child. With the PyTorch CPU index all three
are CPU builds and nothing is done: only what fails to import is touched.
"""

import subprocess
import sys
import sysconfig
from pathlib import Path

HOOK_MODULE = "_torchvision_schemas"
HOOK = '''"""Declares the operators that torchvision's Python half names, where its C library cannot be loaded."""

import importlib.util
import sys

SCHEMAS = {
    "torchvision::nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "torchvision::qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


class Declares:
    """Finds torchvision as usual, once, and declares the schemas just before it runs."""

    def find_spec(self, name, path=None, target=None):
        if name != "torchvision":
            return None
        here = sys.meta_path.index(self)
        del sys.meta_path[here]
        try:
            spec = importlib.util.find_spec(name)
        finally:
            sys.meta_path.insert(here, self)
        if spec is None or spec.loader is None:
            return spec
        run = spec.loader.exec_module

        def exec_module(module):
            import torch

            for operator, schema in SCHEMAS.items():
                torch.library.define(operator, schema)
            sys.meta_path.remove(self)
            run(module)

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, Declares())
'''


def imports(module: str) -> bool:
    """Whether `module` imports in a fresh interpreter; a module that is not installed counts as fine."""
    code = (
        "import importlib.util as u, sys; "
        f"sys.exit(0 if u.find_spec('{module}') is None else __import__('{module}') is None)"
    )
    return (
        subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, check=False).returncode == 0
    )


def main() -> int:
    for package in ("torchaudio", "torchcodec"):
        if not imports(package):
            print(f"setup: removing {package}, which is built for CUDA and not needed", file=sys.stderr)
            subprocess.run([sys.executable, "-m", "pip", "uninstall", "-q", "-y", package], check=True)
    if not imports("torchvision"):
        print("setup: declaring the operators that torchvision's C library would have", file=sys.stderr)
        site_packages = Path(sysconfig.get_path("purelib"))
        (site_packages / f"{HOOK_MODULE}.py").write_text(HOOK)
        (site_packages / f"{HOOK_MODULE}.pth").write_text(f"import {HOOK_MODULE}\n")
    broken = [package for package in ("torch", "torchvision", "transformers", "vllm") if not imports(package)]
    if broken:
        print(f"setup: still failing to import in {sys.prefix}: {', '.join(broken)}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())

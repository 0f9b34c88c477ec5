"""Executes a Dockerfile's stages without a container engine: a fresh Debian root, overlays as layers, chroot for RUN.

    python tests/deploy/rootfs.py build gateway [--arg NAME=VALUE]...     prints the image as JSON
    python tests/deploy/rootfs.py start IMAGE.json [-e NAME=VALUE]... [--] [COMMAND...]

Needs root on Linux with mmdebstrap or debootstrap. Everything mounted lives in a mount namespace of its own and goes
with the process. Layers are kept in .cache/rootfs under the digest of all that they were made from. RUN sees the
network and pip's configuration of this machine, as a build secret; it sees nothing else of it.
"""

import argparse
import ctypes
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.deploy.dockerfile import Context, Instruction, Stage, mounts, pairs, parse, substitute, words  # noqa: E402

CACHE = ROOT / ".cache" / "rootfs"
MIRROR = "http://deb.debian.org/debian"
SUITES = {"debian:bookworm-slim": "bookworm"}
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
KEEP_S = 3600
NEW_MOUNTS, PRIVATE, RECURSIVE = 0x20000, 1 << 18, 16384  # sched.h, mount.h


@dataclass
class Image:
    """What a stage makes: layers, the lowest first, and how to start it."""

    layers: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=lambda: {"PATH": SYSTEM_PATH})
    labels: dict[str, str] = field(default_factory=dict)
    user: str = "0"
    workdir: str = "/"
    entrypoint: list[str] = field(default_factory=list)
    healthcheck: list[str] = field(default_factory=list)


class Builder:
    """Makes stages of one Dockerfile."""

    def __init__(self, folder: Path, build_args: dict[str, str]) -> None:
        self._stages = parse((folder / "Dockerfile").read_text(), build_args)
        self._context = Context(folder)
        self._args = build_args
        self._made: dict[str, Image] = {}
        self.runs: dict[str, list[str]] = {}
        """The RUN commands that were executed, by stage."""

    def build(self, name: str) -> Image:
        """The image of a stage, or of a base that a Debian root stands for."""
        if name not in self._made:
            stage = self._stages.get(name)
            self._made[name] = self._stage(stage) if stage else Image(layers=[str(debian(SUITES[name]))])
        return self._made[name]

    def _stage(self, stage: Stage) -> Image:
        base = self.build(stage.base)
        image = Image(**json.loads(json.dumps(asdict(base))))
        args: dict[str, str] = {}
        for instruction in stage.instructions:
            self._apply(image, args, instruction)
            if instruction.word == "RUN":
                self.runs.setdefault(stage.name, []).append(instruction.value)
        return image

    def _apply(self, image: Image, args: dict[str, str], instruction: Instruction) -> None:
        word = instruction.word
        known = {**args, **image.env}
        if word == "ARG":
            name, _, default = instruction.value.partition("=")
            args[name] = self._args.get(name, substitute(default, known))
            return
        if word == "RUN":
            self._run(image, args, instruction.value)
            return
        value = substitute(instruction.value, known)
        if word == "COPY":
            self._copy(image, value)
        elif word in ("ENV", "LABEL"):
            (image.env if word == "ENV" else image.labels).update(pairs(value))
        elif word == "WORKDIR":
            image.workdir = value
        elif word == "USER":
            image.user = value
        elif word == "ENTRYPOINT":
            image.entrypoint = words(value)
        elif word == "HEALTHCHECK":
            image.healthcheck = words(value.partition("CMD ")[2])
        else:
            assert word in ("EXPOSE", "STOPSIGNAL", "VOLUME"), f"{word} is not known here"

    def _run(self, image: Image, args: dict[str, str], value: str) -> None:
        options, command = mounts(value)
        layer = layer_for(image.layers, "RUN", command, json.dumps([image.env, args, image.user], sort_keys=True))
        if not layer.with_suffix(".done").exists():
            say(f"RUN {command}")
            variables = {**image.env, **args, **pip_settings(), "HOME": "/root"}
            with Mounted(image.layers, layer) as root:
                for option in options:
                    place(root, option)
                inside = ["/usr/sbin/chroot", str(root), "/bin/sh", "-c", f"cd {image.workdir} && {command}"]
                subprocess.run(inside, env=variables, check=True, stdin=subprocess.DEVNULL, stdout=sys.stderr)
            layer.with_suffix(".done").touch()
        image.layers.append(str(layer))

    def _copy(self, image: Image, value: str) -> None:
        options = [word for word in value.split() if word.startswith("--")]
        *sources, target = [word for word in value.split() if not word.startswith("--")]
        stage = next((option.removeprefix("--from=") for option in options if option.startswith("--from=")), None)
        if stage is None:
            files = {source: self._context.files(source) for source in sources}
            assert all(files.values()), f"COPY {value}: .dockerignore leaves nothing of it"
            content = digest((ROOT / file).read_bytes() for some in files.values() for file in some)
        else:
            content = digest(layer.encode() for layer in self.build(stage).layers)
        layer = layer_for(image.layers, "COPY", value, content)
        if not layer.with_suffix(".done").exists():
            say(f"COPY {value}")
            goal = layer / target.strip("/")
            if stage is None:
                for source, found in files.items():
                    for file in found:
                        inner = Path(file).relative_to(source) if (ROOT / source).is_dir() else Path(file).name
                        (goal / inner).parent.mkdir(parents=True, exist_ok=True)
                        shutil.copy(ROOT / file, goal / inner)
            else:
                goal.parent.mkdir(parents=True, exist_ok=True)
                with Mounted(self.build(stage).layers, None) as root:
                    subprocess.run(["cp", "-a", str(root / sources[0].strip("/")), str(goal)], check=True)
            layer.with_suffix(".done").touch()
        image.layers.append(str(layer))


class Mounted:
    """Layers as one tree, for as long as the `with` lasts; what is written goes into `upper`, None: nowhere."""

    def __init__(self, layers: list[str], upper: Path | None) -> None:
        self._layers = layers
        self._upper = upper

    def __enter__(self) -> Path:
        self._root = CACHE / "mnt" / str(os.getpid())
        self._root.mkdir(parents=True, exist_ok=True)
        lower = ":".join(os.path.relpath(layer, CACHE) for layer in reversed(self._layers))
        options = f"lowerdir={lower}"
        if self._upper is not None:
            work = self._upper.with_suffix(".work")
            for folder in (self._upper, work):
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir(parents=True)
            options += f",upperdir={os.path.relpath(self._upper, CACHE)},workdir={os.path.relpath(work, CACHE)}"
        elif ":" not in lower:
            options += f":{empty()}"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(self._root)], check=True, cwd=CACHE)
        if self._upper is not None:
            for name in ("proc", "dev", "sys"):
                subprocess.run(["mount", "--rbind", f"/{name}", str(self._root / name)], check=True)
            bind(Path("/etc/resolv.conf"), self._root / "etc/resolv.conf")
        return self._root

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "--recursive", "--lazy", str(self._root)], check=True)
        if self._upper is not None:
            shutil.rmtree(self._upper.with_suffix(".work"), ignore_errors=True)


def empty() -> str:
    """An overlay wants two lower folders."""
    (CACHE / "empty").mkdir(exist_ok=True)
    return "empty"


def bind(source: Path, target: Path) -> None:
    """Show a file or folder of this machine inside a root."""
    if source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
    elif not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    subprocess.run(["mount", "--bind", str(source.resolve()), str(target)], check=True)


def place(root: Path, option: dict[str, str]) -> None:
    """A `--mount` of a RUN: a cache is an empty folder, the secret is this machine's pip configuration."""
    target = root / option["target"].strip("/")
    if option["type"] == "cache":
        target.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(target)], check=True)
    elif Path("/etc/pip.conf").is_file():
        bind(Path("/etc/pip.conf"), target)
        for source in pip_paths():
            bind(source, root / "run/pip" / source.name if source.is_file() else root / str(source).strip("/"))


def pip_paths() -> list[Path]:
    """Folders and certificates of this machine that its pip configuration names."""
    named = " ".join([Path("/etc/pip.conf").read_text(), os.environ.get("PIP_FIND_LINKS", "")]).replace("=", " ")
    found = {Path(word.removeprefix("file://")) for word in named.split() if word.startswith(("/", "file://"))}
    return sorted(path for path in found if path.exists())


def pip_settings() -> dict[str, str]:
    """pip's variables of this machine; certificates where `place` puts them, out of the way of Debian's own."""
    found = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    if "PIP_CERT" in found:
        found["PIP_CERT"] = f"/run/pip/{Path(found['PIP_CERT']).name}"
    return {**found, "PIP_PROGRESS_BAR": "off", "PIP_ROOT_USER_ACTION": "ignore"}


def debian(suite: str) -> Path:
    """A minimal Debian, made afresh if there is none in the cache."""
    folder = CACHE / f"debian-{suite}"
    if not folder.with_suffix(".done").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        tool = shutil.which("mmdebstrap") or shutil.which("debootstrap")
        assert tool, "install mmdebstrap or debootstrap"
        say(f"FROM {suite}: {Path(tool).name}")
        subprocess.run([tool, "--variant=minbase", suite, str(folder), MIRROR], check=True, stdout=sys.stderr)
        folder.with_suffix(".done").touch()
    return folder


def layer_for(below: Iterable[str], *made_from: str) -> Path:
    """Where the layer lies that is made from this; it counts as used."""
    layer = CACHE / digest([*(item.encode() for item in below), *(item.encode() for item in made_from)])[:16]
    if layer.with_suffix(".done").exists():
        layer.with_suffix(".done").touch()
    return layer


def forget_unused() -> None:
    """Delete layers that no image has used for an hour: every change of the server makes new ones."""
    for done in CACHE.glob("*.done"):
        if not done.stem.startswith("debian-") and time.time() - done.stat().st_mtime > KEEP_S:
            done.unlink()
            shutil.rmtree(done.with_suffix(""), ignore_errors=True)


def digest(pieces: Iterable[bytes]) -> str:
    found = hashlib.sha256()
    for piece in pieces:
        found.update(hashlib.sha256(piece).digest())
    return found.hexdigest()


def say(line: str) -> None:
    sys.stderr.write(f"rootfs: {' '.join(line.split())[:150]}\n")
    sys.stderr.flush()


def start(image: Image, variables: dict[str, str], command: list[str]) -> None:
    """Become the image's process: its user, a root that cannot be written to, an empty /tmp."""
    with Mounted(image.layers, None) as root:  # left by exec; the namespace takes the mounts along
        for name in ("proc", "dev", "sys"):
            subprocess.run(["mount", "--rbind", f"/{name}", str(root / name)], check=True)
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(root / "tmp")], check=True)
        os.chroot(root)
        os.chdir(image.workdir)
        uid, _, gid = image.user.partition(":")
        os.setgroups([])
        os.setgid(int(gid or 0))
        os.setuid(int(uid))
        env = {**image.env, **variables}
        os.environ["PATH"] = env["PATH"]
        os.execvpe(command[0], command, env)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("action", choices=["build", "start"])
    parser.add_argument("what", help="a stage, or an image's JSON file")
    parser.add_argument("--arg", "-e", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("command", nargs="*")
    options = parser.parse_args()
    given = dict(item.split("=", 1) for item in options.arg)
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.unshare(NEW_MOUNTS) == 0, "root alone can do this"
    assert libc.mount(None, b"/", None, PRIVATE | RECURSIVE, None) == 0
    if options.action == "build":
        builder = Builder(ROOT, given)
        image = builder.build(options.what)
        forget_unused()
        sys.stdout.write(json.dumps({"image": asdict(image), "runs": builder.runs}, indent=2))
        return
    image = Image(**json.loads(Path(options.what).read_text())["image"])
    start(image, given, options.command or image.entrypoint)


if __name__ == "__main__":
    main()

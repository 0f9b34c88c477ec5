"""The balancers of deploy/balancers as a test starts them: on free ports, as anybody, quiet."""

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.deploy.conftest import ROOT


@dataclass(frozen=True)
class Balancer:
    """One kind: its program, its file, and how it is started with an edited copy of it."""

    program: str
    file: str
    words: tuple[str, ...]
    also: Callable[[str, Path], str] = lambda text, _: text
    """Further edits, for what is not root's or taken on this machine."""


def of_anybody(text: str, folder: Path) -> str:
    """nginx with everything it writes in `folder`."""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"{kind}_temp_path {folder / kind};\n" for kind in kinds)
    text = text.replace("access_log /dev/stdout timed;", f"access_log off;\n{paths}")
    return f"daemon off;\nerror_log stderr error;\npid {folder / 'pid'};\n{text}"


def without_docker(text: str, _: Path) -> str:
    """HAProxy without Docker's name server, and quiet."""
    text = text.replace("resolvers docker init-addr libc,none", "").replace("log stdout format raw local0", "")
    return re.sub(r"resolvers docker\n(?: .*\n)+", "", text)


BALANCERS = {
    "nginx": Balancer("nginx", "nginx.conf", ("-e", "stderr", "-c"), of_anybody),
    "haproxy": Balancer("haproxy", "haproxy.cfg", ("-db", "-f"), without_docker),
    "envoy": Balancer("envoy", "envoy.yaml", ("--concurrency", "1", "-l", "error", "--base-id", "77", "-c")),
}


def edited(text: str, port: int, gateways: list[str]) -> str:
    """The file as shipped, listening on a free port of loopback, with our gateways."""
    for name, url in zip(("gateway-a", "gateway-b"), gateways, strict=True):
        host, _, gateway_port = url.removeprefix("http://").rpartition(":")
        text = text.replace(f"{name}:8000", f"{host}:{gateway_port}")
        text = text.replace(f"address: {name}, port_value: 8000", f"address: {host}, port_value: {gateway_port}")
    text = text.replace("bind :8000", f"bind 127.0.0.1:{port}").replace("listen 8000 ", f"listen 127.0.0.1:{port} ")
    text = text.replace("address: 0.0.0.0, port_value: 8000", f"address: 127.0.0.1, port_value: {port}")
    text = text.replace("port_value: 9901", "port_value: 0")
    left = re.findall(r".*(?:gateway-[ab]|[: ]8000\b).*", text)
    assert left == []
    return text


def program_of(balancer: Balancer) -> str:
    """Where it is, or would be."""
    return shutil.which(balancer.program) or str(ROOT / ".venv-deploy/bin" / balancer.program)

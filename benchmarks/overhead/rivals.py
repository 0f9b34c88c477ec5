"""The gateways that are compared: how each is installed, started before the mock, and named.

To add one: a function from `Place` to `Start`, and a line in GATEWAYS. Rivals from PyPI are installed into
`.cache/rivals/NAME` on first use, at the version pinned here; nginx comes from the system's package manager.
"""

import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RIVALS = ROOT / ".cache" / "rivals"
API_KEY = "sk-bench-0123456789"
VLLM_ROUTER = "vllm-router==0.1.17"
LITELLM = "litellm[proxy]==1.106.2"


class NotHere(Exception):
    """The rival cannot be had on this machine; the message says why."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a gateway is to stand."""

    engine_url: str
    model: str
    port: int
    metrics_port: int
    folder: Path
    """For its configuration and its log."""


@dataclass(frozen=True, slots=True)
class Start:
    """How to start a gateway, and what it calls itself."""

    command: list[str]
    version: str
    environment: Mapping[str, str] = field(default_factory=dict)


def ours(place: Place) -> Start:
    command = [sys.executable, "-m", "server", "--engine-url", place.engine_url, "--port", str(place.port)]
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return Start(command, commit.stdout.strip(), {"QVL_API_KEY": API_KEY})


NGINX_CONFIGURATION = """
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_max_body_size 64m;
  client_body_buffer_size 4m;
  client_body_temp_path {folder}/nginx-body;
  proxy_temp_path {folder}/nginx-proxy;
  fastcgi_temp_path {folder}/nginx-fastcgi;
  uwsgi_temp_path {folder}/nginx-uwsgi;
  scgi_temp_path {folder}/nginx-scgi;
  keepalive_requests 1000000000;
  upstream engine {{
    server {engine};
    keepalive 512;
    keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=2048;
    location / {{
      proxy_pass http://engine;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
    }}
  }}
}}
"""


def nginx(place: Place) -> Start:
    program = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if program is None:
        raise NotHere("no nginx in PATH or /usr/sbin (Debian: apt-get install nginx-light)")
    configuration = place.folder / "nginx.conf"
    engine = place.engine_url.removeprefix("http://")
    configuration.write_text(NGINX_CONFIGURATION.format(folder=place.folder, engine=engine, port=place.port))
    said = subprocess.run([program, "-v"], capture_output=True, text=True, check=True).stderr
    return Start([program, "-c", str(configuration)], said.strip().rpartition("/")[2])


def vllm_router(place: Place) -> Start:
    program = installed("vllm-router", VLLM_ROUTER)
    command = [program, "--host", "127.0.0.1", "--port", str(place.port), "--worker-urls", place.engine_url]
    command += ["--policy", "round_robin", "--log-level", "error", "--prometheus-port", str(place.metrics_port)]
    return Start(command, VLLM_ROUTER.rpartition("==")[2])


LITELLM_CONFIGURATION = """
model_list:
  - model_name: {model}
    litellm_params:
      model: hosted_vllm/{model}
      api_base: {engine}/v1
      api_key: none
general_settings:
  master_key: {api_key}
litellm_settings:
  telemetry: false
"""


def litellm(place: Place) -> Start:
    program = installed("litellm", LITELLM)
    configuration = place.folder / "litellm.yaml"
    configuration.write_text(LITELLM_CONFIGURATION.format(model=place.model, engine=place.engine_url, api_key=API_KEY))
    command = [program, "--host", "127.0.0.1", "--port", str(place.port), "--config", str(configuration)]
    offline = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
    return Start([*command, "--num_workers", "1"], LITELLM.rpartition("==")[2], offline)


def installed(name: str, requirement: str) -> str:
    """The program `name` from a virtual environment of its own, which is made if need be."""
    home = RIVALS / name
    stamp = home / "installed.txt"
    if not stamp.exists() or stamp.read_text() != requirement:
        print(f"installing {requirement} into {home.relative_to(ROOT)} ...", file=sys.stderr, flush=True)
        shutil.rmtree(home, ignore_errors=True)
        try:
            subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
            pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", requirement]
            subprocess.run(pip, check=True, stdout=sys.stderr)
        except subprocess.CalledProcessError as exc:
            raise NotHere(f"pip could not install {requirement} (exit {exc.returncode})") from exc
        stamp.write_text(requirement)
    return str(home / "bin" / name)


GATEWAYS: dict[str, Callable[[Place], Start]] = {
    "ours": ours,
    "nginx": nginx,
    "vllm-router": vllm_router,
    "litellm": litellm,
}

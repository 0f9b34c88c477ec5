"""The gateways that are compared, each before several engines, with health checks as quick as it allows.

To add one: a function from `Place` to `Start`, and a line in GATEWAYS.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.overhead.rivals import API_KEY, LITELLM, VLLM_ROUTER, NotHere, Start, installed

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a gateway is to stand."""

    engines: list[str]
    """URLs, `http://127.0.0.1:port`."""
    model: str
    port: int
    metrics_port: int
    folder: Path

    @property
    def addresses(self) -> list[str]:
        return [url.removeprefix("http://") for url in self.engines]


def ours(place: Place) -> Start:
    command = [sys.executable, "-m", "server", "--port", str(place.port), "--no-access-log", "--log-level", "error"]
    for url in place.engines:
        command += ["--engine-url", url]
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return Start(command, commit.stdout.strip())


NGINX = """
{user}worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {folder}/nginx-body;
  proxy_temp_path {folder}/nginx-proxy;
  fastcgi_temp_path {folder}/nginx-fastcgi;
  uwsgi_temp_path {folder}/nginx-uwsgi;
  scgi_temp_path {folder}/nginx-scgi;
  upstream engines {{
    least_conn;
    {servers}
    keepalive 64;
  }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://engines;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_next_upstream error timeout http_502 http_503 non_idempotent;
      proxy_connect_timeout 2s;
    }}
  }}
}}
"""


def nginx(place: Place) -> Start:
    program = _system("nginx", "nginx-light")
    configuration = place.folder / "nginx.conf"
    user = "user root;\n" if os.getuid() == 0 else ""  # its worker writes bodies into the folder
    servers = "\n    ".join(f"server {address} max_fails=0;" for address in place.addresses)
    configuration.write_text(NGINX.format(folder=place.folder, servers=servers, port=place.port, user=user))
    said = subprocess.run([program, "-v"], capture_output=True, text=True, check=True).stderr
    return Start([program, "-c", str(configuration)], said.strip().rpartition("/")[2])


HAPROXY = """
global
  maxconn 1024
defaults
  mode http
  option http-no-delay
  option redispatch 1
  retries 3
  retry-on conn-failure empty-response response-timeout 502 503
  timeout connect 2s
  timeout client 60s
  timeout server 60s
frontend gateway
  bind 127.0.0.1:{port}
  default_backend engines
backend engines
  balance leastconn
  option httpchk GET /health
  default-server check inter 1s fall 1 rise 1
  {servers}
"""


def haproxy(place: Place) -> Start:
    program = _system("haproxy", "haproxy")
    configuration = place.folder / "haproxy.cfg"
    servers = "\n  ".join(f"server e{number} {address}" for number, address in enumerate(place.addresses))
    configuration.write_text(HAPROXY.format(servers=servers, port=place.port))
    said = subprocess.run([program, "-v"], capture_output=True, text=True, check=True).stdout
    return Start([program, "-db", "-f", str(configuration)], said.split()[2])


def vllm_router(place: Place) -> Start:
    program = installed("vllm-router", VLLM_ROUTER)
    command = [program, "--host", "127.0.0.1", "--port", str(place.port), "--worker-urls", *place.engines]
    command += ["--policy", "round_robin", "--log-level", "error", "--prometheus-port", str(place.metrics_port)]
    command += ["--health-check-interval-secs", "1", "--cb-timeout-duration-secs", "1"]
    return Start(command, VLLM_ROUTER.rpartition("==")[2])


LITELLM_MODEL = """  - model_name: {model}
    litellm_params:
      model: hosted_vllm/{model}
      api_base: {engine}/v1
      api_key: none
"""
LITELLM_REST = """router_settings:
  num_retries: 2
  cooldown_time: 2
  allowed_fails: 1
general_settings:
  master_key: {api_key}
litellm_settings:
  telemetry: false
"""


def litellm(place: Place) -> Start:
    program = installed("litellm", LITELLM)
    configuration = place.folder / "litellm.yaml"
    models = "".join(LITELLM_MODEL.format(model=place.model, engine=url) for url in place.engines)
    configuration.write_text(f"model_list:\n{models}{LITELLM_REST.format(api_key=API_KEY)}")
    command = [program, "--host", "127.0.0.1", "--port", str(place.port), "--config", str(configuration)]
    offline = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
    return Start([*command, "--num_workers", "1"], LITELLM.rpartition("==")[2], offline)


def _system(name: str, package: str) -> str:
    program = shutil.which(name) or shutil.which(f"/usr/sbin/{name}")
    if program is None:
        raise NotHere(f"no {name} in PATH or /usr/sbin (Debian: apt-get install {package})")
    return program


GATEWAYS: dict[str, Callable[[Place], Start]] = {
    "ours": ours,
    "nginx": nginx,
    "haproxy": haproxy,
    "vllm-router": vllm_router,
    "litellm": litellm,
}

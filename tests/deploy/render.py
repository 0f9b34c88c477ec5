"""Renders the Helm chart with each values file, lints it, checks what comes out against Kubernetes' own schemas.

    .venv-deploy/bin/python tests/deploy/render.py CASES.json     prints {case: {"manifests": [...], "problems": [...]}}

Helm itself is Helm's Go SDK, the schemas are those that Kubernetes publishes; both are packages of
scripts/locks/deploy.txt. CASES.json is {case: values}.
"""

import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

import helm_python
import kubernetes_validate
import yaml

CHART = Path(__file__).resolve().parents[2] / "deploy" / "helm"
VERSIONS = ("1.30", "1.37")
CUSTOM = {"ServiceMonitor", "PrometheusRule", "HTTPRoute"}
"""Kinds that Kubernetes itself does not know."""


def manifests(texts: dict[str, str]) -> list[dict[str, Any]]:
    """Every document of the rendered templates."""
    found: list[dict[str, Any]] = []
    for name, text in texts.items():
        if name.endswith(".yaml"):
            found += [document for document in yaml.safe_load_all(text) if document]
    return found


def problems(found: list[dict[str, Any]]) -> list[str]:
    """What Kubernetes would not accept."""
    known = [json.dumps(document, sort_keys=True) for document in found if document["kind"] not in CUSTOM]
    return [problem for text in known for version in VERSIONS if (problem := _problem(text, version))]


@cache
def _problem(text: str, version: str) -> str:
    """Of one document; most are the same in every case."""
    document = json.loads(text)
    try:
        kubernetes_validate.validate(document, version, strict=True)
    except kubernetes_validate.ValidationError as exc:
        path = ".".join(map(str, exc.path))
        return f"{version} {document['kind']} {document['metadata']['name']}: {path}: {exc.message}"
    return ""


def rendered(chart: helm_python.Chart, values: dict[str, Any]) -> dict[str, Any]:
    """One case."""
    try:
        found = manifests(chart.render(values, name="it", namespace="models"))
    except helm_python.HelmError as exc:
        return {"manifests": [], "problems": [str(exc)]}
    report = helm_python.lint(CHART, values, strict=True)
    messages = [message["error"] for message in report["messages"] if message["severity"] >= 2]
    return {"manifests": found, "problems": problems(found) + messages + report["errors"]}


def main() -> None:
    cases = json.loads(Path(sys.argv[1]).read_text())
    with helm_python.Chart.load(CHART) as chart:
        sys.stdout.write(json.dumps({name: rendered(chart, values) for name, values in cases.items()}))


if __name__ == "__main__":
    main()

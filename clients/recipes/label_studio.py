"""Boxes for Label Studio to begin with: an ML backend, or a file of tasks to import.

    pip install qwenvl                               # nothing else: the backend's three paths are below
    python label_studio.py serve car person          # then add http://127.0.0.1:9090 as a model in the project
    python label_studio.py tasks photos/ car person > tasks.json

The project's labelling interface:

    <View>
      <Image name="image" value="$image"/>
      <RectangleLabels name="label" toName="image"><Label value="car"/><Label value="person"/></RectangleLabels>
    </View>

Boxes of Label Studio are shares of the picture in percent; `"image"` in a task is a URL that the model's server can
fetch, or a `data:` URI.
"""

import json
import sys
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from qwenvl import Client, Detection, QwenVLError

FROM_NAME, TO_NAME, VALUE = "label", "image", "image"
VERSION = "qwen2.5-vl"


def prediction(found: Detection) -> dict[str, Any]:
    """A detection as Label Studio reads predictions."""
    width, height = found.image.wh
    result = []
    for number, each in enumerate(found.objects):
        if each.bbox_2d is None:
            continue
        x1, y1, x2, y2 = found.pixels(each)
        box = {
            "x": 100 * x1 / width,
            "y": 100 * y1 / height,
            "width": 100 * (x2 - x1) / width,
            "height": 100 * (y2 - y1) / height,
            "rotation": 0,
            "rectanglelabels": [each.label],
        }
        result.append(
            {
                "id": f"box-{number}",
                "type": "rectanglelabels",
                "from_name": FROM_NAME,
                "to_name": TO_NAME,
                "original_width": width,
                "original_height": height,
                "value": box,
                **({} if each.confidence is None else {"score": each.confidence}),
            }
        )
    sure = [each.confidence for each in found.objects if each.confidence is not None]
    return {"model_version": VERSION, "score": min(sure, default=0.0), "result": result}


class Backend(ThreadingHTTPServer):
    """Label Studio's ML backend: GET /health, POST /setup, POST /predict."""

    def __init__(self, client: Client, labels: Sequence[str], port: int = 9090) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.client, self.labels = client, list(labels)


class Handler(BaseHTTPRequestHandler):
    """One request of Label Studio's."""

    server: Backend

    def do_GET(self) -> None:
        self._answer({"status": "UP", "model_class": "Qwen2.5-VL"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"{}")
        if self.path != "/predict":
            self._answer({"model_version": VERSION})
            return
        try:
            pictures = [task["data"][VALUE] for task in body["tasks"]]
            found = [self.server.client.detect(picture, self.server.labels) for picture in pictures]
        except (QwenVLError, OSError, KeyError) as exc:
            self._answer({"error": str(exc)}, 500)
            return
        self._answer({"results": [prediction(each) for each in found], "model_version": VERSION})

    def _answer(self, data: dict[str, Any], status: int = 200) -> None:
        body = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


def tasks(folder: str, labels: Sequence[str], client: Client) -> list[dict[str, Any]]:
    """Tasks with predictions for every picture of a folder, for Label Studio's import.

    `image` is the path that Label Studio serves when LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT is the folder.
    """
    pictures = sorted(path for path in Path(folder).iterdir() if path.suffix.lower() in {".jpg", ".jpeg", ".png"})
    return [
        {
            "data": {VALUE: f"/data/local-files/?d={path.name}"},
            "predictions": [prediction(client.detect(path, list(labels)))],
        }
        for path in pictures
    ]


if __name__ == "__main__":
    with Client() as the_client:
        if sys.argv[1] == "serve":
            Backend(the_client, sys.argv[2:]).serve_forever()
        else:
            print(json.dumps(tasks(sys.argv[2], sys.argv[3:], the_client), indent=1))

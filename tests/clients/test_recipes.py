"""Each recipe runs as it stands, with the versions that it names, and gets what the engine said."""

import importlib.util
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qwenvl import Client
from tests.clients import recipes
from tests.clients.conftest import Served
from tests.tasks.common import pdf, uri

SAID = '{"place": "outdoors", "people": 2}'
CASES = {
    "openai_sdk": {"chat": SAID, "stream": SAID, "structured": "place='outdoors' people=2"},
    "langchain_chat": {"invoke": SAID, "stream": SAID, "structured": "place='outdoors' people=2"},
    "llamaindex_chat": {"chat": SAID, "stream": SAID},
    "qwen_agent_chat": {"assistant": SAID},
    "vercel-ai": {"generateText": SAID, "streamText": SAID, "output": '{"place":"outdoors","people":2}'},
}


WAYS = {"openai_sdk": [128, "chat", "stream", "structured"]}
"""What a mock engine can answer; the others are asked of a real one, in tests/engine."""


@pytest.mark.parametrize("name", CASES)
def test_a_recipe_gets_what_the_engine_said_of_the_picture(served: Served, photo: Path, name: str):
    served.says(SAID)
    printed = recipes.run(name, served.url, photo, *WAYS.get(name, []))
    assert printed | CASES[name] == printed
    asked = [json.loads(request["body"]) for request in served.engine("requests") if "image" in request["body"]]
    assert asked
    assert all("data:image/jpeg;base64," in json.dumps(body) for body in asked)


def test_a_structured_answer_is_held_to_its_form_by_the_engine(served: Served, photo: Path):
    served.says(SAID)
    recipes.run("openai_sdk", served.url, photo, 128, "structured")
    forms = [json.loads(request["body"]).get("response_format") for request in served.engine("requests")]
    schemas = [form["json_schema"]["schema"] for form in forms if form]
    assert [set(schema["properties"]) for schema in schemas] == [{"place", "people"}]


def test_docling_gets_a_document_of_all_pages(served: Served, tmp_path: Path):
    served.says("# Bill\n\nTotal 5")
    path = tmp_path / "bill.pdf"
    path.write_bytes(pdf((200, 200, "a"), (200, 200, "b")))
    printed = recipes.run("docling_vlm", served.url, path)
    assert printed["pages"] == "2"
    assert printed["markdown"].count("Total 5") == 2
    assert served.engine("stats")["requests"] == 2


# -- Label Studio ----------------------------------------------------------------------------------------------------
@pytest.fixture
def label_studio() -> Any:
    """The recipe as a module."""
    spec = importlib.util.spec_from_file_location("label_studio_recipe", recipes.FOLDER / "label_studio.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def backend(label_studio: Any, client: Client) -> Iterator[str]:
    """The URL of the recipe's ML backend."""
    server = label_studio.Backend(client, ["cat", "dog"], port=0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_label_studio_gets_boxes_in_percent_of_the_picture(served: Served, photo: Path, backend: str):
    served.says('[{"bbox_2d":[56,28,280,140],"label":"cat"}]')
    tasks = [{"id": 1, "data": {"image": uri(photo.read_bytes())}}]
    assert served.http.get(f"{backend}/health").json()["status"] == "UP"
    assert "model_version" in served.http.post(f"{backend}/setup", json={"project": "1"}).json()
    answer = served.http.post(f"{backend}/predict", json={"tasks": tasks}).json()
    [prediction] = answer["results"]
    [box] = prediction["result"]
    assert box["type"] == "rectanglelabels"
    assert box["value"] == {
        "x": 10,
        "y": 10,
        "width": 40,
        "height": 40,
        "rotation": 0,
        "rectanglelabels": ["cat"],
    }
    assert (box["from_name"], box["to_name"]) == ("label", "image")
    assert (box["original_width"], box["original_height"]) == (560, 280)


def test_label_studio_is_told_of_failures(served: Served, backend: str):
    answer = served.http.post(f"{backend}/predict", json={"tasks": [{"data": {"image": "data:image/png;base64,AAAA"}}]})
    assert answer.status_code == 500
    assert "image" in answer.json()["error"]


def test_label_studio_can_import_tasks_with_predictions(served: Served, photo: Path, client: Client, label_studio: Any):
    served.says('[{"bbox_2d":[56,28,280,140],"label":"cat"}]')
    [task] = label_studio.tasks(str(photo.parent), ["cat"], client)
    assert task["data"]["image"].endswith("photo.jpg")
    assert len(task["predictions"][0]["result"]) == 1


# -- what they name ---------------------------------------------------------------------------------------------------
def test_every_recipe_names_its_versions_and_is_in_the_list():
    listed = (recipes.FOLDER / "README.md").read_text()
    for path in recipes.FOLDER.glob("*.py"):
        assert path.name in listed
        for line in re.findall(r"^ *pip install (.*)$", path.read_text(), re.MULTILINE):
            name, _, version = line.split()[0].partition("==")
            if name != "qwenvl":
                assert version, path.name
                assert version in listed, path.name
    package = json.loads((recipes.FOLDER / "vercel-ai" / "package.json").read_text())
    for version in package["dependencies"].values():
        assert version[0].isdigit()
    assert package["dependencies"]["ai"] in listed

"""Documents over HTTP: each page by itself, in its own pixels and points, and what cannot be read said so."""

import io
import json
from typing import Any

import httpx2
import pytest
from PIL import Image

from benchmarks.overhead.mock import Mock
from tests.conftest import until
from tests.tasks.common import events, gateway_before, pdf, picture, says, uri

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAGE = (
    '```html\n<html><body>\n<h1 data-bbox="28 28 280 56">Hello world</h1> \n'
    ' <p data-bbox="28 84 280 112">a page of words</p> \n</body></html>\n```'
)


def document(data: bytes) -> str:
    return uri(data, "application/pdf")


async def parsed(client: httpx2.AsyncClient, data: bytes, **fields: Any) -> dict[str, Any]:
    answer = await client.post("/v1/parse-document", json={"document": document(data), **fields})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def refused(client: httpx2.AsyncClient, data: bytes, **fields: Any) -> tuple[int, str, str]:
    answer = await client.post("/v1/parse-document", json={"document": document(data), **fields})
    error = answer.json()["error"]
    return answer.status_code, error["code"], error["message"]


async def test_boxes_are_in_the_pixels_and_points_of_each_page(client: httpx2.AsyncClient, mock: Mock):
    says(mock, PAGE)
    result = await parsed(client, pdf((612, 792, "Hello world"), (792, 612, "a page of words")))
    assert [(page["page"], page["width"], page["height"]) for page in result["pages"]] == [
        (1, 1224, 1584),
        (2, 1584, 1224),
    ]
    for page in result["pages"]:
        shown = page["model_input"]
        x, y = page["width"] / shown["width"], page["height"] / shown["height"]
        title = page["blocks"][0]
        assert title["type"] == "title"
        assert title["bbox_2d"] == [round(28 * x), round(28 * y), round(280 * x), round(56 * y)]
        assert title["bbox_pt"] == pytest.approx([28 * x / 2, 28 * y / 2, 280 * x / 2, 56 * y / 2], abs=0.01)
        assert f'data-bbox="{" ".join(map(str, title["bbox_2d"]))}"' in page["html"]
    assert (result["status"], result["failed_pages"]) == ("completed", [])
    assert result["markdown"].startswith("# Hello world\n\na page of words\n\n# Hello world")


async def test_a_rotated_page_is_as_its_viewer_sees_it(client: httpx2.AsyncClient, mock: Mock):
    says(mock, PAGE)
    result = await parsed(client, pdf((612, 792, "Hello"), rotate=90))
    assert (result["pages"][0]["width"], result["pages"][0]["height"]) == (1584, 1224)


async def test_words_that_the_text_layer_lacks_are_flagged(client: httpx2.AsyncClient, mock: Mock):
    says(mock, PAGE.replace("a page of words", "wholly invented sentence stands here"))
    page = (await parsed(client, pdf((612, 792, "Hello world and more"))))["pages"][0]
    assert page["text_layer"]["present"] is True
    assert page["text_layer"]["overlap"] < 0.5
    assert page["blocks"][1]["supported"] is False


async def test_only_the_pages_asked_for_are_shown(client: httpx2.AsyncClient, mock: Mock):
    says(mock, PAGE)
    result = await parsed(client, pdf(*[(200, 200, str(at)) for at in range(9)]), pages="2-3,8")
    assert [page["page"] for page in result["pages"]] == [2, 3, 8]
    assert len(mock.requests) == 3


async def test_only_the_forms_asked_for_are_given(client: httpx2.AsyncClient, mock: Mock):
    says(mock, PAGE)
    result = await parsed(client, pdf((200, 200, "x")), output=["markdown"])
    assert "html" not in result
    assert "blocks" not in result["pages"][0]
    assert result["pages"][0]["markdown"]


async def test_a_page_that_fails_costs_no_other(client: httpx2.AsyncClient, mock: Mock):
    says(mock, PAGE)
    data = pdf((200, 200, "x"), (5000, 4, "too long"), (200, 200, "y"))
    result = await parsed(client, data)
    assert (result["status"], result["failed_pages"]) == ("partial", [2])
    assert [page["status"] for page in result["pages"]] == ["completed", "failed", "completed"]
    assert result["pages"][1]["error"]["code"] == "limit_exceeded"
    answer = await client.post("/v1/parse-document", json={"document": document(data), "stream": True})
    assert sorted(kind for kind, _ in events(answer.text)) == ["failed", "item", "item", "message", "result"]


async def test_a_stream_sends_the_first_page_while_later_ones_wait(client: httpx2.AsyncClient, mock: Mock):
    says(mock, PAGE, chunks=4, interval_ms=20)
    body = {"document": document(pdf(*[(200, 200, str(at)) for at in range(30)])), "stream": True}
    async with client.stream("POST", "/v1/parse-document", json=body) as answer:
        first = await anext(answer.aiter_text())
        assert json.loads(first.split("data: ")[1].split("\n")[0])["page"] in range(1, 5)
        assert len(mock.requests) < 20
    await until(lambda: not mock.running)


async def test_a_tiff_of_several_pages_and_a_picture_are_documents_too(client: httpx2.AsyncClient, mock: Mock):
    says(mock, PAGE)
    frames = [Image.new("RGB", (300 + 50 * at, 400), (255, 255, 255)) for at in range(3)]
    out = io.BytesIO()
    frames[0].save(out, "TIFF", save_all=True, append_images=frames[1:])
    result = await parsed(client, out.getvalue())
    assert [(page["width"], page["height"]) for page in result["pages"]] == [(300, 400), (350, 400), (400, 400)]
    result = await parsed(client, picture(560, 280, orientation=6))
    assert [(page["width"], page["height"]) for page in result["pages"]] == [(560, 280)]


async def test_broken_and_odd_documents_are_refused_in_words(client: httpx2.AsyncClient, mock: Mock):
    assert (await refused(client, b"%PDF-1.4 broken"))[:2] == (400, "document_unreadable")
    assert (await refused(client, pdf()))[:2] == (400, "document_unreadable")
    assert (await refused(client, b"PK\x03\x04 a zip"))[:2] == (400, "document_unsupported")
    assert (await refused(client, pdf((9, 9, "x")), pages="2"))[1:] == (
        "invalid_value",
        "pages names page 2; the document has 1",
    )
    assert (await refused(client, pdf((9, 9, "x")), pages="3-1"))[1] == "invalid_value"
    assert (await refused(client, pdf((9, 9, "x")), pages="a"))[1] == "invalid_value"
    assert not mock.requests


async def test_a_document_that_needs_a_password_is_refused_in_words(client: httpx2.AsyncClient, mock: Mock):
    lock = b"/Root 1 0 R /Encrypt << /Filter /Standard /V 1 /R 2 /Length 40 /P -4 /O <%b> /U <%b> >> /ID [<00><00>]"
    data = pdf((200, 200, "x")).replace(b"/Root 1 0 R", lock % (b"41" * 32, b"42" * 32))
    status, code, message = await refused(client, data)
    assert (status, code, message) == (400, "document_unreadable", "document needs a password")


async def test_one_page_of_a_document_is_read(client: httpx2.AsyncClient, mock: Mock):
    says(mock, "Hello world")
    body = {"document": document(pdf((200, 200, "a"), (300, 100, "b"))), "page": 2}
    result = (await client.post("/v1/read-text", json=body)).json()
    assert (result["text"], result["image"]) == ("Hello world", {"width": 600, "height": 200})
    answer = await client.post("/v1/read-text", json={**body, "page": 3})
    assert answer.json()["error"]["message"] == "pages names page 3; the document has 2"


async def test_a_page_without_markup_is_an_error_with_the_raw_text(client: httpx2.AsyncClient, mock: Mock):
    says(mock, "I cannot read this.")
    status, code, _ = await refused(client, pdf((200, 200, "x")))
    assert (status, code) == (502, "answer_unreadable")


async def test_facts_come_with_the_lines_that_say_them(client: httpx2.AsyncClient, mock: Mock):
    says(mock, '{"total":5.25}')
    schema = {"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"]}
    body = {"document": document(pdf((200, 200, "Total 5.25"))), "schema": schema}
    result = (await client.post("/v1/extract", json=body)).json()
    assert result["data"] == {"total": 5.25}
    assert result["pages"][0]["page"] == 1


async def test_a_value_of_the_wrong_type_is_read_where_it_can_be_and_refused_where_not(
    client: httpx2.AsyncClient, mock: Mock
):
    schema = {"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"]}
    body = {"image": uri(picture()), "schema": schema}
    says(mock, '{"total": "$5.25"}')
    result = (await client.post("/v1/extract", json=body)).json()
    assert result["data"] == {"total": 5.25}
    assert result["warnings"][0]["code"] == "value_coerced"
    says(mock, '{"total": "five"}')
    error = (await client.post("/v1/extract", json=body)).json()["error"]
    assert error["code"] == "answer_unreadable"
    assert error["problems"] == ['total: "five" is not of type "number"']


async def test_evidence_is_found_among_the_lines_and_never_invented(mock: Mock):
    """The mock says the same to both questions, so that the record itself is the only line there is."""
    schema = {"type": "object", "properties": {"text_content": {"type": "string"}, "tip": {"type": "number"}}}
    says(mock, '{"bbox_2d": [28, 28, 280, 56], "text_content": "TOTAL 17,000", "tip": 3}')
    async with gateway_before(mock) as client:
        body = {"image": uri(picture()), "schema": schema, "evidence": True}
        result = (await client.post("/v1/extract", json=body)).json()
    found = {each["field"]: each for each in result["evidence"]}
    assert found["text_content"]["match"] == "exact"
    assert found["text_content"]["quote"] == "TOTAL 17,000"
    assert found["text_content"]["bbox_2d"] == [28, 28, 280, 56]
    assert (found["tip"]["match"], found["tip"]["bbox_2d"]) == ("none", None)
    assert len(mock.requests) == 2

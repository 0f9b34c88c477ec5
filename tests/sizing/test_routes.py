"""`GET /v1/fit`, `POST /v1/tokens/estimate` and the cards of `/v1/models/{id}`, over HTTP."""

from typing import Any

import httpx2
import orjson
import pytest

from benchmarks.overhead.mock import MODEL, Mock
from server.tasks import TASKS
from tests.conftest import Running
from tests.tasks.common import pdf, picture, uri
from tests.tasks.test_videos import clip

QUESTION = "What is in this picture?"


def chat(*parts: Any, **more: Any) -> dict[str, Any]:
    return {
        "model": MODEL,
        "messages": [{"role": "user", "content": [*parts, {"type": "text", "text": QUESTION}]}],
        **more,
    }


def image(width: int = 640, height: int = 480, **options: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": uri(picture(width, height)), **options}}


async def test_fit_answers_over_http(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/v1/fit", params={"model": "7B", "gpu": "L4", "concurrency": 8})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["object"] == "fit"
    assert told["verdict"] == "fits"
    assert told["launch"]["vllm"].startswith("vllm serve Qwen/Qwen2.5-VL-7B-Instruct")


@pytest.mark.parametrize(
    ("params", "param"),
    [({"model": "7B"}, "gpu"), ({"model": "8B", "gpu": "L4"}, "model"), ({"model": "/etc", "gpu": "L4"}, "model")],
)
async def test_a_question_that_cannot_be_is_openais_error(
    client: httpx2.AsyncClient, params: dict[str, str], param: str
) -> None:
    answer = await client.get("/v1/fit", params=params)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


async def test_a_picture_costs_what_the_request_itself_would_show(client: httpx2.AsyncClient) -> None:
    body = chat(image(1920, 1080), image(100, 3000), max_tokens=64)
    estimate = (await client.post("/v1/tokens/estimate", json=body)).json()
    shown = (await client.post("/v1/chat/completions", json=body)).headers["x-model-input-size"]
    (question,) = estimate["questions"]
    sizes = [f"{item['model_input']['width']}x{item['model_input']['height']}" for item in question["items"]]
    assert ",".join(sizes) == shown
    assert [item["tokens"] for item in question["items"]] == [
        item["model_input"]["width"] * item["model_input"]["height"] // 784 for item in question["items"]
    ]
    assert question["items"][0]["original"] == {"width": 1920, "height": 1080}
    assert question["items"][0]["param"] == "messages[0].content[0].image_url.url"
    assert estimate["visual_tokens_are"] == "exact"
    assert estimate["prompt_tokens"] == estimate["visual_tokens"] + estimate["text_tokens"]
    assert question["max_tokens"] == 64


async def test_low_detail_costs_less(client: httpx2.AsyncClient) -> None:
    costs = []
    for detail in ("low", "high"):
        answer = await client.post("/v1/tokens/estimate", json=chat(image(1920, 1080, detail=detail)))
        costs.append(answer.json()["visual_tokens"])
    assert costs[0] <= 256 < costs[1] <= 1280


async def test_text_is_counted_by_the_engine_which_sees_no_picture(client: httpx2.AsyncClient) -> None:
    one, two = [(await client.post("/v1/tokens/estimate", json=chat(*[image()] * n))).json() for n in (1, 2)]
    words = len(orjson.dumps(chat()["messages"]).split())  # as the mock's tokenizer counts: base64 would be one more
    assert one["text_tokens_are"] == "exact"
    assert one["text_tokens"] == words - 1  # of a picture's three marks the middle one is the picture's own
    assert two["text_tokens"] == words - 2


async def test_without_an_engine_text_is_guessed_and_said_to_be(running: Running) -> None:
    async with running(["http://127.0.0.1:9"]) as url, httpx2.AsyncClient(base_url=url) as client:
        estimate = (await client.post("/v1/tokens/estimate", json=chat(image(640, 480)))).json()
    assert estimate["text_tokens_are"] == "estimated"
    assert estimate["visual_tokens"] == 391
    assert 15 < estimate["text_tokens"] < 40
    assert estimate["model"] is None
    assert estimate["fits_context"] is None


async def test_a_request_too_long_for_the_context_is_said_to_be(client: httpx2.AsyncClient) -> None:
    estimate = (await client.post("/v1/tokens/estimate", json=chat(image(), max_tokens=32768))).json()
    assert estimate["fits_context"] is False
    assert estimate["longest_question"] > estimate["max_model_len"]


async def test_responses_bodies_are_taken(client: httpx2.AsyncClient) -> None:
    content = [{"type": "input_image", "image_url": uri(picture(640, 480))}, {"type": "input_text", "text": QUESTION}]
    body = {"model": MODEL, "input": [{"role": "user", "content": content}]}
    answer = await client.post("/v1/tokens/estimate", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["visual_tokens"] == 391


async def test_a_task_is_estimated_with_its_own_prompt(client: httpx2.AsyncClient) -> None:
    few, many = [
        (await client.post("/v1/tokens/estimate?task=detect", json={"image": uri(picture()), "labels": labels})).json()
        for labels in (["cat"], [f"thing {number}" for number in range(20)])
    ]
    assert few["visual_tokens"] == many["visual_tokens"] == 560 * 280 // 784
    assert many["text_tokens"] > few["text_tokens"] + 20


async def test_every_page_of_a_document_is_a_question(client: httpx2.AsyncClient) -> None:
    pages = [(595, 842, f"page {number}") for number in range(1, 13)]
    body = {"document": uri(pdf(*pages), "application/pdf")}
    estimate = (await client.post("/v1/tokens/estimate?task=parse-document", json=body)).json()
    assert [question["page"] for question in estimate["questions"]] == list(range(1, 13))
    assert len({question["visual_tokens"] for question in estimate["questions"]}) == 1
    assert estimate["visual_tokens_are"] == "estimated"  # the later pages were not looked at


async def test_windows_of_a_long_clip_are_reckoned_from_the_first(client: httpx2.AsyncClient) -> None:
    body = {"video": clip(150, rate=4)}
    estimate = (await client.post("/v1/tokens/estimate?task=localize-events", json=body)).json()
    spans = [(question["start_s"], question["end_s"]) for question in estimate["questions"]]
    assert len(spans) == 3
    assert spans[-1][1] == pytest.approx(150, abs=1)
    first, second, _ = estimate["questions"]
    assert first["items"][0]["exact"]
    assert not second["items"][0]["exact"]
    assert second["visual_tokens"] == pytest.approx(first["visual_tokens"], rel=0.1)


@pytest.mark.parametrize(
    ("path", "body", "status", "param"),
    [
        ("?task=juggle", {}, 400, "task"),
        ("?task=detect", {"labels": ["cat"]}, 400, None),
        ("", {"prompt": "hello"}, 400, "messages"),
        ("", {"messages": []}, 400, "model"),
        ("", chat({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}), 400, None),
    ],
)
async def test_a_body_that_cannot_be_estimated_is_refused(
    client: httpx2.AsyncClient, path: str, body: dict[str, Any], status: int, param: str | None
) -> None:
    answer = await client.post(f"/v1/tokens/estimate{path}", json=body)
    assert answer.status_code == status, answer.text
    assert param is None or answer.json()["error"]["param"] == param


async def test_both_paths_ask_for_the_key(running: Running, mock: Mock) -> None:
    async with running([await mock.listen()], api_key=["sk-1"]) as url, httpx2.AsyncClient(base_url=url) as client:
        assert (await client.get("/v1/fit", params={"model": "7B", "gpu": "L4"})).status_code == 401
        assert (await client.post("/v1/tokens/estimate", json=chat())).status_code == 401


async def test_the_paths_are_described(client: httpx2.AsyncClient) -> None:
    paths = (await client.get("/openapi.json")).json()["paths"]
    assert "get" in paths["/v1/fit"]
    assert "post" in paths["/v1/tokens/estimate"]
    assert len(TASKS) >= 7


async def test_a_published_model_shows_its_card(client: httpx2.AsyncClient) -> None:
    for name in (MODEL, "qwen2.5-vl"):  # its own name, and the alias
        card = (await client.get(f"/v1/models/{name}")).json()["card"]
        assert card["licence"]["id"] == "Apache-2.0"
        assert card["parameters"] == 8_292_166_656
        assert card["scores"][0]["source"].startswith("http")


async def test_another_model_shows_none(running: Running) -> None:
    mock = Mock(model="my-finetune")
    try:
        async with running([await mock.listen()]) as url, httpx2.AsyncClient(base_url=url) as client:
            assert "card" not in (await client.get("/v1/models/my-finetune")).json()
    finally:
        await mock.close()

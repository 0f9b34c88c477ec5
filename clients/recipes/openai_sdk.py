"""OpenAI's own client: chat, a stream, responses, structured outputs, tools.

pip install openai==3.54.0
python openai_sdk.py photo.jpg
"""

import base64
import json
import os
import sys
from pathlib import Path
from typing import Any, Literal

from openai import OpenAI
from pydantic import BaseModel, Field

URL = os.environ.get("QWENVL_URL", "http://127.0.0.1:8000")
KEY = os.environ.get("QWENVL_API_KEY", "none")
MODEL = "qwen2.5-vl"

TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": "switch_light",
            "description": "Switch the light of a room on or off.",
            "parameters": {
                "type": "object",
                "properties": {"room": {"enum": ["kitchen", "hall"]}, "on": {"type": "boolean"}},
                "required": ["room", "on"],
                "additionalProperties": False,
            },
        },
    }
]


class Scene(BaseModel):
    """What a structured answer holds to."""

    place: Literal["indoors", "outdoors"]
    people: int = Field(ge=0, le=99)


def picture_url(path: str) -> str:
    """A file as a URL that JSON can hold."""
    return f"data:image/jpeg;base64,{base64.b64encode(Path(path).read_bytes()).decode()}"


class Asking:
    """One picture, and every way to ask about it."""

    def __init__(self, client: OpenAI, path: str, most_tokens: int) -> None:
        self._client, self._url, self._most_tokens = client, picture_url(path), most_tokens
        picture = {"type": "image_url", "image_url": {"url": self._url}}
        words = {"type": "text", "text": "What is in this picture?"}
        messages: list[Any] = [{"role": "user", "content": [picture, words]}]
        self._common: dict[str, Any] = {
            "model": MODEL,
            "messages": messages,
            "max_tokens": most_tokens,
            "temperature": 0,
        }

    def chat(self) -> str | None:
        return self._client.chat.completions.create(**self._common).choices[0].message.content

    def stream(self) -> str:
        chunks = self._client.chat.completions.create(**self._common, stream=True)
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)

    def structured(self) -> Scene | None:
        """The class becomes a JSON schema that holds the answer to its form."""
        return self._client.chat.completions.parse(**self._common, response_format=Scene).choices[0].message.parsed

    def tools(self) -> list[tuple[str, Any]]:
        forced: Any = {"type": "function", "function": {"name": "switch_light"}}
        answer = self._client.chat.completions.create(**self._common, tools=TOOLS, tool_choice=forced)
        choice = answer.choices[0]
        calls: list[Any] = list(choice.message.tool_calls or [])
        if choice.finish_reason == "length":  # cut off: what is there of the arguments is no JSON yet
            return [(call.function.name, call.function.arguments) for call in calls]
        return [(call.function.name, json.loads(call.function.arguments)) for call in calls]

    def responses(self) -> str:
        picture = {"type": "input_image", "image_url": self._url, "detail": "auto"}
        words = {"type": "input_text", "text": "What is in this picture?"}
        asked: Any = [{"role": "user", "content": [picture, words]}]
        return self._client.responses.create(model=MODEL, input=asked, max_output_tokens=self._most_tokens).output_text


def main(path: str, most_tokens: int = 128, *ways: str) -> dict[str, Any]:
    """What each way to ask gave."""
    with OpenAI(base_url=f"{URL}/v1", api_key=KEY) as client:
        asking = Asking(client, path, most_tokens)
        every = ("chat", "stream", "structured", "tools", "responses")
        return {way: getattr(asking, way)() for way in ways or every}


if __name__ == "__main__":
    for name, answer in main(sys.argv[1], *map(int, sys.argv[2:3]), *sys.argv[3:]).items():
        print(f"{name}: {answer}")

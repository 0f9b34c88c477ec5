"""LangChain's ChatOpenAI: a question, a stream, and an answer that holds to a model.

pip install langchain-openai==1.7.3
python langchain_chat.py photo.jpg
"""

import base64
import os
import sys
from pathlib import Path
from typing import Any, Literal

from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, Field

URL = os.environ.get("QWENVL_URL", "http://127.0.0.1:8000")
KEY = os.environ.get("QWENVL_API_KEY", "none")


class Scene(BaseModel):
    """What a structured answer holds to."""

    place: Literal["indoors", "outdoors"]
    people: int = Field(ge=0, le=99)


def main(path: str, most_tokens: int = 128) -> dict[str, Any]:
    """What each way to ask gave."""
    chat = ChatOpenAI(base_url=f"{URL}/v1", api_key=KEY, model="qwen2.5-vl", temperature=0, max_tokens=most_tokens)
    picture = f"data:image/jpeg;base64,{base64.b64encode(Path(path).read_bytes()).decode()}"
    message = HumanMessage(
        content=[
            {"type": "image_url", "image_url": {"url": picture}},
            {"type": "text", "text": "What is in this picture?"},
        ]
    )
    return {
        "invoke": chat.invoke([message]).text,
        "stream": "".join(chunk.text for chunk in chat.stream([message])),
        "structured": chat.with_structured_output(Scene, method="json_schema").invoke([message]),
    }


if __name__ == "__main__":
    for name, answer in main(sys.argv[1], *map(int, sys.argv[2:])).items():
        print(f"{name}: {answer}")

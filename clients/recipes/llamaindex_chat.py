"""LlamaIndex' OpenAILike: a question about a picture, and a stream.

pip install llama-index-llms-openai-like==0.8.1
python llamaindex_chat.py photo.jpg
"""

import os
import sys
from typing import Any

from llama_index.core.llms import ChatMessage, ImageBlock, TextBlock
from llama_index.llms.openai_like import OpenAILike

URL = os.environ.get("QWENVL_URL", "http://127.0.0.1:8000")
KEY = os.environ.get("QWENVL_API_KEY", "none")


def main(path: str, most_tokens: int = 128) -> dict[str, Any]:
    """What each way to ask gave."""
    llm = OpenAILike(
        model="qwen2.5-vl",
        api_base=f"{URL}/v1",
        api_key=KEY,
        is_chat_model=True,
        context_window=32_768,
        max_tokens=most_tokens,
        temperature=0,
    )
    message = ChatMessage(role="user", blocks=[ImageBlock(path=path), TextBlock(text="What is in this picture?")])
    return {
        "chat": llm.chat([message]).message.content,
        "stream": "".join(chunk.delta or "" for chunk in llm.stream_chat([message])),
    }


if __name__ == "__main__":
    for name, answer in main(sys.argv[1], *map(int, sys.argv[2:])).items():
        print(f"{name}: {answer}")

"""Qwen-Agent: an assistant that sees, with this server behind it.

pip install qwen-agent==0.0.34 soundfile python-dateutil tqdm
python qwen_agent_chat.py photo.jpg
"""

import os
import sys
from pathlib import Path
from typing import Any

from qwen_agent.agents import Assistant

URL = os.environ.get("QWENVL_URL", "http://127.0.0.1:8000")
KEY = os.environ.get("QWENVL_API_KEY", "none")


def main(path: str, most_tokens: int = 128) -> dict[str, Any]:
    """What the assistant said."""
    llm = {
        "model": "qwen2.5-vl",
        "model_type": "qwenvl_oai",  # pictures and clips, in OpenAI's words
        "model_server": f"{URL}/v1",
        "api_key": KEY,
        "generate_cfg": {"max_tokens": most_tokens, "temperature": 0},
    }
    assistant = Assistant(llm=llm, system_message="You are a helpful assistant.")
    content = [{"image": str(Path(path).resolve())}, {"text": "What is in this picture?"}]
    *_, answer = assistant.run([{"role": "user", "content": content}])  # each is the answer so far
    return {"assistant": answer[-1]["content"]}


if __name__ == "__main__":
    for name, answer in main(sys.argv[1], *map(int, sys.argv[2:])).items():
        print(f"{name}: {answer}")

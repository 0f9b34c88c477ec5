"""`qwenvl chat`: one question, or a conversation, about pictures and clips."""

import contextlib
import sys
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from qwenvl.cli.exits import ANSWERED, INTERRUPTED, NO_SERVER, SOME_FAILED, USAGE, UsageError, give, say
from qwenvl.cli.files import DOCUMENTS, STDIN, VIDEOS, expanded
from qwenvl.cli.options import Answer, Server
from qwenvl.client import Client
from qwenvl.errors import QwenVLError
from qwenvl.parts import ask, image_part, video_part

if TYPE_CHECKING:
    from openai import OpenAI


def chat(
    prompt: str | None = None,
    /,
    *,
    image: Annotated[list[str] | None, Parameter(name=("--image", "-i"), negative="")] = None,
    video: Annotated[list[str] | None, Parameter(name=("--video", "-v"), negative="")] = None,
    system: str | None = None,
    answer: Answer = Answer(),
    server: Server = Server(),
) -> int:
    """Ask about pictures and clips in your own words; the answer comes as it is written.

    Without a PROMPT it is a conversation: a question a line, an empty line or Ctrl-D ends it.

    ```
    qwenvl chat "What is unusual here?" -i photo.jpg
    qwenvl chat "What changed?" -i before.jpg -i after.jpg
    echo "Describe it." | qwenvl chat - -v clip.mp4
    qwenvl chat -i floorplan.png
    ```

    Parameters
    ----------
    prompt
        The question; - reads it from stdin.
    image
        A picture, folder, quoted pattern or URL; repeat it.
    video
        A clip or URL; repeat it.
    system
        What the model is told about itself first.
    """
    from openai import APIConnectionError, APIError

    try:
        media = [image_part(name) for name in (expanded(image, DOCUMENTS - {".pdf"}) if image else [])]
        media += [video_part(name) for name in (expanded(video, VIDEOS) if video else [])]
    except (UsageError, OSError) as exc:
        say(f"qwenvl: {exc}")
        return USAGE
    with Client(**server.arguments()) as client:
        try:
            talk = Talk(client.openai, answer.model or client.models()[0].id, system, media, answer)
            if prompt is not None:
                talk.ask(sys.stdin.read() if prompt == STDIN else prompt)
            else:
                talk.converse()
        except KeyboardInterrupt:
            return INTERRUPTED
        except (APIConnectionError, QwenVLError) as exc:
            say(f"qwenvl: {exc}")
            return NO_SERVER
        except APIError as exc:
            say(f"qwenvl: {exc.message}")
            return SOME_FAILED
    return ANSWERED


class Talk:
    """A conversation; the pictures go with the first question."""

    def __init__(
        self, openai: "OpenAI", model: str, system: str | None, media: list[dict[str, Any]], answer: Answer
    ) -> None:
        self._openai, self._model, self._media = openai, model, media
        self._messages: list[Any] = [{"role": "system", "content": system}] if system else []
        options = answer.options()
        self._options: dict[str, Any] = {
            name: options[name] for name in ("temperature", "max_tokens", "seed") if name in options
        }

    def ask(self, text: str) -> None:
        """Write the answer to stdout as it comes."""
        media, self._media = self._media, []
        self._messages.append(ask(text, *media))
        chunks = self._openai.chat.completions.create(
            model=self._model, messages=self._messages, stream=True, **self._options
        )
        written = []
        for chunk in chunks:
            piece = (chunk.choices[0].delta.content or "") if chunk.choices else ""
            written.append(piece)
            sys.stdout.write(piece)
            sys.stdout.flush()
        give("")
        self._messages.append({"role": "assistant", "content": "".join(written)})

    def converse(self) -> None:
        """A question a line until an empty one."""
        prompting = sys.stdin.isatty()
        with contextlib.suppress(EOFError):
            while True:
                if prompting:
                    sys.stderr.write("> ")
                    sys.stderr.flush()
                line = sys.stdin.readline().strip()
                if not line:
                    return
                self.ask(line)

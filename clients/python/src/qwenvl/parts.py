"""Content parts for chat, from whatever a picture or clip is."""

from typing import Any

from qwenvl.inputs import ClipInput, MediaInput, data_uri, source, sources


def image_part(image: MediaInput) -> dict[str, Any]:
    """A picture as a part of a chat message: a URL as it is, anything else as a `data:` URI.

    >>> image_part("https://example.com/a.jpg")
    {'type': 'image_url', 'image_url': {'url': 'https://example.com/a.jpg'}}
    """
    return {"type": "image_url", "image_url": {"url": data_uri(source(image))}}


def video_part(video: ClipInput) -> dict[str, Any]:
    """A clip, or its frames in order, as a part of a chat message."""
    found = sources(video)
    if isinstance(found, list):
        return {"type": "video", "video": [data_uri(each) for each in found]}
    return {"type": "video_url", "video_url": {"url": data_uri(found)}}


def ask(text: str, *media: dict[str, Any]) -> dict[str, Any]:
    """A user's message: pictures and clips, then words.

    >>> ask("What is it?", image_part("https://example.com/a.jpg"))["content"][1]
    {'type': 'text', 'text': 'What is it?'}
    """
    return {"role": "user", "content": [*media, {"type": "text", "text": text}]}

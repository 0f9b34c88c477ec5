"""Media fields of a request: a URL, a data: URI, or an OpenAI content part; for clips also a list of frames."""

from typing import Annotated, Any

from pydantic import AfterValidator

from server.errors import InvalidValue

MAX_FRAMES = 4096
_PARTS = {
    "image_url": ("image_url", "url"),
    "input_image": ("image_url", "url"),
    "image": ("image", "url"),
    "video_url": ("video_url", "url"),
    "video": ("video", "url"),
    "file": ("file", "file_data"),
    "input_file": ("file_data", "file_data"),
}


def media_source(value: Any, *, param: str) -> str:
    """The URL or data: URI in a field. Raises InvalidValue.

    >>> media_source({"type": "image_url", "image_url": {"url": "data:,"}}, param="image")
    'data:,'
    >>> media_source("https://x.org/a.jpg", param="image")
    'https://x.org/a.jpg'
    """
    if isinstance(value, dict):
        key, inner = _PARTS.get(str(value.get("type")), ("url", "url"))
        value = value.get(key, value.get("url", value.get("file_url")))
        value = value.get(inner, value.get("url")) if isinstance(value, dict) else value
    if isinstance(value, str) and value.strip():
        return value
    raise InvalidValue(f"{param} must be a URL, a data: URI or an OpenAI content part", param=param)


def clip_source(value: Any, *, param: str) -> str | list[str]:
    """The source of a clip: one video, or its frames in order. Raises InvalidValue.

    >>> clip_source({"type": "video", "video": ["data:,1", "data:,2"]}, param="video")
    ['data:,1', 'data:,2']
    """
    if isinstance(value, dict) and isinstance(value.get("video"), list):
        value = value["video"]
    if isinstance(value, list):
        return [media_source(each, param=f"{param}[{at}]") for at, each in enumerate(value)]
    return media_source(value, param=param)


def _is_media(value: Any) -> Any:
    if not isinstance(value, str | dict | list) or not value:
        raise ValueError("must be a URL, a data: URI or an OpenAI content part")
    return value


Media = Annotated[str | dict[str, Any], AfterValidator(_is_media)]
Frames = Annotated[str | dict[str, Any] | list[str | dict[str, Any]], AfterValidator(_is_media)]

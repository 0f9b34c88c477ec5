"""vLLM's own parser of Qwen's tool calls, with an end to blanks. Loaded by vLLM (`--tool-parser-plugin`), not by us.

The grammar of a call that is forced allows blanks between its values without end, unlike that of `response_format`
under `disable_any_whitespace`, and a model that was not taught tools writes them until its tokens are used up.
"""

from typing import Any

from vllm.tool_parsers import ToolParserManager

MOST_BLANKS = 64
"""In a row: enough for JSON that is indented eight deep."""

Hermes = ToolParserManager.get_tool_parser("hermes")


class BoundedHermes(Hermes):  # type: ignore[misc,valid-type]
    """Parses as vLLM does."""

    def get_structural_tag(self, *args: Any, **kwargs: Any) -> Any:
        """The grammar of the calls that a request may make; None where it is free."""
        tag = super().get_structural_tag(*args, **kwargs)
        _bound(tag)
        return tag


def _bound(part: Any) -> None:
    """Bounds every schema in a grammar, in place."""
    if isinstance(part, list):
        for each in part:
            _bound(each)
    elif hasattr(type(part), "model_fields"):
        if "max_whitespace_cnt" in type(part).model_fields:
            part.max_whitespace_cnt = MOST_BLANKS
        for name in type(part).model_fields:
            _bound(getattr(part, name))


ToolParserManager.register_module("hermes", force=True, module=BoundedHermes)

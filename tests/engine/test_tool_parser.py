"""The parser that our engines are given ends the blanks of forced calls: asked in vLLM's own environment."""

import json
import subprocess

import pytest

from server.engines.profiles import TOOL_PARSER
from tests.engine.conftest import ENGINE_PYTHON

pytestmark = pytest.mark.engine

ASK = """
import json, runpy, sys
import xgrammar
from xgrammar.testing import _is_grammar_accept_string
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
from vllm.tool_parsers import ToolParserManager
runpy.run_path(sys.argv[1])
tool = {"name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}, "strict": True}
request = ChatCompletionRequest(
    model="m", messages=[{"role": "user", "content": "hi"}],
    tools=[{"type": "function", "function": tool}], tool_choice="required",
)
parser = object.__new__(ToolParserManager.get_tool_parser("hermes"))
grammar = xgrammar.Grammar.from_structural_tag(parser.get_structural_tag(request))
call = '<tool_call>\\n{"name": "f", "arguments": {"a": 1%s}}\\n</tool_call>'
print(json.dumps([_is_grammar_accept_string(grammar, call % (" " * blanks)) for blanks in (0, 64, 65, 5000)]))
"""


def test_a_forced_call_cannot_write_blanks_without_end() -> None:
    found = subprocess.run([ENGINE_PYTHON, "-c", ASK, TOOL_PARSER], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr[-2000:]
    assert json.loads(found.stdout.splitlines()[-1]) == [True, True, False, False]

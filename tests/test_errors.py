"""Errors: one shape, one tree, and no code that the tree does not name."""

import ast
import re
from http import HTTPStatus
from pathlib import Path

import pytest

from server import errors
from server.errors import AnswerUnreadable, CallerError, GatewayError, LimitExceeded, ServerError
from server.media.jobs import error_from_json, error_to_json

SERVER = Path(errors.__file__).parent
BRANCH = re.compile(r"^[ │├└─]*[├└]── (?P<name>\w+)(?: +(?P<status>\d{3}|\dxx)[ ,]+(?P<codes>.+))?$", re.M)
TREE = {match["name"]: match for match in BRANCH.finditer(re.sub(r",\n[ │]+", ", ", errors.__doc__ or ""))}
"""Of the module's docstring."""
GROUPS = (CallerError, ServerError)


def classes() -> list[type[GatewayError]]:
    """Every error that has a line of its own in the tree."""
    found = [item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, GatewayError)]
    return [item for item in found if item not in (GatewayError, *GROUPS)]


def made(kind: type[GatewayError]) -> GatewayError:
    """One of its kind."""
    return kind("n", value=2, limit=1) if issubclass(kind, LimitExceeded) else kind("it is so", param="n")


def codes_of(name: str) -> set[str]:
    """The codes that the tree gives a class."""
    return set((TREE[name]["codes"] or "").replace(" ", "").split(","))


def test_the_tree_and_the_classes_are_the_same() -> None:
    assert set(TREE) == {kind.__name__ for kind in (*classes(), *GROUPS)}


@pytest.mark.parametrize("kind", classes(), ids=lambda kind: str(kind.__name__))
class TestEachError:
    def test_stands_in_the_tree_with_its_status_and_code(self, kind: type[GatewayError]) -> None:
        assert int(TREE[kind.__name__]["status"]) == kind.status
        assert kind.code in codes_of(kind.__name__)

    def test_is_the_callers_or_ours_as_its_status_says(self, kind: type[GatewayError]) -> None:
        assert HTTPStatus(kind.status)
        assert issubclass(kind, CallerError if kind.status < 500 else ServerError)
        assert kind.type in {"invalid_request_error", "rate_limit_error", "server_error", "overloaded_error"}
        assert (kind.type == "invalid_request_error") <= (kind.status < 500)

    def test_says_when_it_is_raised(self, kind: type[GatewayError]) -> None:
        assert (kind.__doc__ or "").strip()

    def test_has_openais_shape(self, kind: type[GatewayError]) -> None:
        error = made(kind).body()["error"]
        assert {"message", "type", "param", "code"} <= error.keys()
        assert (error["type"], error["code"], error["param"]) == (kind.type, kind.code, "n")
        assert re.fullmatch(r"[a-z][a-z0-9_]*", error["code"])

    def test_is_the_same_after_the_way_from_a_decode_process(self, kind: type[GatewayError]) -> None:
        error = made(kind)
        came = error_from_json(error_to_json(error))
        assert type(came) is kind
        assert came.body() == error.body()


def test_openais_four_fields_cannot_be_overwritten_by_details() -> None:
    error = AnswerUnreadable("no JSON", details={"raw": "text", "code": "mine", "message": "mine"}).body()["error"]
    assert (error["code"], error["message"], error["raw"]) == ("answer_unreadable", "no JSON", "text")


def test_a_limit_is_told_in_words_and_in_numbers() -> None:
    error = LimitExceeded("n", value=9, limit=8).body()["error"]
    assert error["message"] == "n is 9; the limit is 8"
    assert (error["value"], error["limit"]) == (9, 8)


def codes_in(path: Path) -> set[tuple[str, str]]:
    """(class, code) of every error that a file makes with a code of its own."""
    names = {kind.__name__ for kind in classes()}
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names):
            continue
        for keyword in node.keywords:
            if keyword.arg == "code" and isinstance(keyword.value, ast.Constant):
                found.add((node.func.id, str(keyword.value.value)))
    return found


def test_no_file_makes_up_a_code_that_the_tree_does_not_name() -> None:
    used = {pair for path in SERVER.rglob("*.py") for pair in codes_in(path)}
    assert used, "nothing was found: the search is broken"
    assert {(name, code) for name, code in used if code not in codes_of(name)} == set()

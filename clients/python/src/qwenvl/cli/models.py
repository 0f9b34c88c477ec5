"""`qwenvl models`: what can be asked."""

from typing import Annotated

from cyclopts import Parameter

from qwenvl.cli.exits import ANSWERED, NO_SERVER, give, say
from qwenvl.cli.options import Server
from qwenvl.client import Client
from qwenvl.errors import QwenVLError


def models(*, json: Annotated[bool, Parameter(negative="")] = False, server: Server = Server()) -> int:
    """List the models that the server has: name, what it is an alias of, context in tokens.

    ```
    qwenvl models
    qwenvl models --json
    ```

    Parameters
    ----------
    json
        A line of JSON for each, with all that the server says.
    """
    try:
        with Client(**server.arguments()) as client:
            cards = client.models()
    except QwenVLError as exc:
        say(f"qwenvl: {exc}")
        return NO_SERVER
    for card in cards:
        root = card.root if card.root != card.id else None
        give(
            card.model_dump_json(exclude_unset=True)
            if json
            else f"{card.id}\t{root or '-'}\t{card.max_model_len or '-'}"
        )
    return ANSWERED

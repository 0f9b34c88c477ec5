"""`qwenvl mcp`: the tasks as tools for agents."""

import hmac
import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from qwenvl.cli.exits import ANSWERED, USAGE, say
from qwenvl.cli.options import Server

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

TOKEN_VARIABLE = "QWENVL_MCP_TOKEN"  # noqa: S105 - the name of it


def mcp(
    *,
    root: Annotated[list[Path] | None, Parameter(negative="")] = None,
    http: Annotated[bool, Parameter(negative="")] = False,
    host: str = "127.0.0.1",
    port: int = 8765,
    token: Annotated[str | None, Parameter(env_var=TOKEN_VARIABLE)] = None,
    server: Server = Server(),
) -> int:
    """Serve the tasks as tools of an MCP server: on stdin and stdout, or over HTTP at /mcp.

    ```
    qwenvl mcp --root ~/Pictures
    qwenvl mcp --http --port 8765 --root scans/
    ```

    In a program that starts MCP servers: `{"command": "qwenvl", "args": ["mcp", "--root", "/home/me/Pictures"]}`.

    Parameters
    ----------
    root
        A folder whose files may be read; repeat it. This folder, if left out; over HTTP none.
    http
        Streamable HTTP instead of stdin and stdout.
    host
        Address to listen on. Another than this machine's own needs --token.
    port
        Port to listen on.
    token
        What callers have to present as a bearer token.
    """
    try:
        from qwenvl.mcp_server import mcp_server
    except ImportError:
        say("qwenvl: this needs the official mcp package: pip install 'qwenvl[mcp]'")
        return USAGE
    roots = [path.expanduser() for path in root] if root else [] if http else [Path.cwd()]
    for path in roots:
        if not path.is_dir():
            say(f"qwenvl: --root {path} is no folder")
            return USAGE
    if http and token is None and not _is_here(host):
        say(f"qwenvl: --host {host} lets others in: give them a --token")
        return USAGE

    from qwenvl.async_client import AsyncClient

    built = mcp_server(AsyncClient(**server.arguments()), roots)
    if not http:
        built.run("stdio")
        return ANSWERED
    import uvicorn

    app: Any = built.streamable_http_app(host=host)
    say(f"MCP at http://{host}:{port}/mcp")
    uvicorn.run(Guarded(app, token) if token else app, host=host, port=port, log_level="warning")
    return ANSWERED


class Guarded:
    """Lets in who knows the token."""

    def __init__(self, app: "ASGIApp", token: str) -> None:
        self._app, self._wanted = app, f"Bearer {token}".encode()

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        if scope["type"] == "http":
            given = dict(scope["headers"]).get(b"authorization", b"")
            if not hmac.compare_digest(given, self._wanted):
                headers = [(b"www-authenticate", b"Bearer"), (b"content-length", b"0")]
                await send({"type": "http.response.start", "status": 401, "headers": headers})
                await send({"type": "http.response.body", "body": b""})
                return
        await self._app(scope, receive, send)


def _is_here(host: str) -> bool:
    """
    >>> _is_here("localhost"), _is_here("::1"), _is_here("0.0.0.0"), _is_here("example.com")
    (True, True, False, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

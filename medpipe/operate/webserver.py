"""Dagster's webserver for the browser of this machine: `python -m medpipe.operate.webserver OPTION…`.

The options are those of `dagster-webserver`. That looks at no `Host` and no `Origin`, and executes what is
asked for by GET: any page that is open in a browser on the machine could start a run. Here it cannot.
MLflow's server has such a guard of its own. The proxy of `medpipe serve` asks under this address.
"""

from __future__ import annotations

import runpy
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import dagster_webserver.app
from dagster_webserver.webserver import DagsterWebserver
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.websockets import WebSocketClose

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_OWN_NAMES = {"127.0.0.1", "localhost", "::1"}
_INSTEAD = "; `medpipe serve` serves others"


def refusal(scope: Scope) -> tuple[int, str] | None:
    """Why a request is none of a page of ours or of a program on this machine.

    Args:
        scope: ASGI connection scope of an HTTP request or a WebSocket.

    Returns:
        HTTP status and a sentence; None where the request may pass.
    """
    headers = Headers(scope=scope)
    host, origin = headers.get("host", ""), headers.get("origin")
    if _name_in(host) not in _OWN_NAMES:
        return 421, f"this UI answers to 127.0.0.1 and localhost, not to {host!r}{_INSTEAD}"
    if origin is not None and origin != f"http://{host}":
        return 403, f"a page of {origin!r} may not ask this UI{_INSTEAD}"
    is_graphql = scope["path"].endswith("/graphql")
    if is_graphql and b"query" in parse_qs(scope["query_string"]):
        return 405, "GraphQL is asked for by POST, in the body"
    if headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        followed = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
        if is_graphql or not followed or scope.get("method") != "GET":
            return 403, "a page of another site may link to this UI, no more"
    return None


def _name_in(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


class _OwnPagesOnly:
    """ASGI middleware that answers what `refusal` refuses."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = refusal(scope) if scope["type"] in ("http", "websocket") else None
        if refused is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            status, reason = refused
            await PlainTextResponse(f"{reason}\n", status)(scope, receive, send)
        else:
            await WebSocketClose(reason=refused[1])(scope, receive, send)


class _LoopbackWebserver(DagsterWebserver[Any, Any]):
    def build_middleware(self) -> list[Middleware]:
        return [Middleware(_OwnPagesOnly), *super().build_middleware()]


if __name__ == "__main__":
    # Dagster's command finds its webserver's class by this name and has no option for another.
    setattr(dagster_webserver.app, "DagsterWebserver", _LoopbackWebserver)  # noqa: B010
    runpy.run_module("dagster_webserver", run_name="__main__", alter_sys=True)

"""What `medpipe dev` lets a browser ask the Dagster UI."""

from __future__ import annotations

from typing import Any

import pytest

from medpipe.operate.webserver import refusal

HOST = "127.0.0.1:3000"
LINK = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


def asked(
    headers: dict[str, str], *, path: str = "/graphql", method: str = "POST", query: str = ""
) -> dict[str, Any]:
    pairs = [(name.encode(), value.encode()) for name, value in {"host": HOST, **headers}.items()]
    return {"type": "http", "method": method, "path": path, "query_string": query.encode(), "headers": pairs}


@pytest.mark.parametrize(
    "scope",
    [
        asked({}),
        asked({"origin": f"http://{HOST}", "sec-fetch-site": "same-origin"}),
        asked({"host": "localhost:3000", "origin": "http://localhost:3000"}),
        asked({"host": "[::1]:3000"}),
        asked({"sec-fetch-site": "none"}, path="/runs/a", method="GET"),
        asked(LINK, path="/runs/a", method="GET"),
        asked({}, method="GET"),
    ],
)
def test_own_pages_programs_and_links_may_ask(scope: dict[str, Any]) -> None:
    assert refusal(scope) is None


@pytest.mark.parametrize(
    ("scope", "status"),
    [
        (asked({"host": "rebound.example:3000"}), 421),
        (asked({"host": "127.0.0.1.rebound.example"}), 421),
        (asked({"host": ""}), 421),
        (asked({"host": "[::1"}), 421),
        (asked({"origin": "https://evil.example"}), 403),
        (asked({"origin": "null"}), 403),
        (asked({"origin": f"https://{HOST}"}), 403),
        (asked({"origin": "http://127.0.0.1:3001"}), 403),
        (asked({"sec-fetch-site": "cross-site"}), 403),
        (asked({"sec-fetch-site": "same-site"}, path="/runs/a", method="GET"), 403),
        (asked(LINK | {"sec-fetch-dest": "iframe"}, path="/runs/a", method="GET"), 403),
        (asked(LINK, method="GET"), 403),
        (asked({}, method="GET", query="query=mutation"), 405),
        (asked({}, query="a=b&query=mutation"), 405),
        (asked({}, path="/dagster/graphql", query="query=mutation"), 405),
    ],
)
def test_nobody_else_may(scope: dict[str, Any], status: int) -> None:
    refused = refusal(scope)
    assert refused is not None and refused[0] == status


def test_a_socket_of_another_page_is_refused() -> None:
    scope = asked({"origin": "https://evil.example"}) | {"type": "websocket"}
    del scope["method"]
    assert refusal(scope) is not None
    own = asked({"origin": f"http://{HOST}"}) | {"type": "websocket"}
    del own["method"]
    assert refusal(own) is None

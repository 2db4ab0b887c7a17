"""Asking the hub which data sets there are."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from medpipe.ingest.errors import FetchError
from medpipe.ingest.hub import HubClient
from medpipe.ingest.hub_errors import Progress, Retries, with_retries
from medpipe.settings import Settings

_TIMEOUT_SECONDS = 30.0
_RETRIES = Retries(attempts=3, longest_wait=5.0)
"""Few: a person waits."""


@dataclass(frozen=True)
class FoundDataset:
    """One data set of the hub's answer; None is what the hub did not say."""

    id: str
    """`owner/name`."""
    downloads: int | None
    """In the last 30 days."""
    likes: int | None
    licence: str | None
    """As the data set's card states it."""
    gated: str | None
    """How consent is given, `auto` or `manual`, where it is needed."""
    size: str | None
    """Number of records by its card, such as `10K<n<100K`."""
    languages: tuple[str, ...]


def search_hub(
    text: str,
    *,
    settings: Settings,
    limit: int = 20,
    retries: Retries = _RETRIES,
    progress: Progress = lambda message: None,
) -> list[FoundDataset]:
    """Asks the hub for data sets whose name contains a text, most downloaded first.

    Args:
        text: what to look for.
        settings: hub address (`HF_ENDPOINT`) and credential (`HF_TOKEN`).
        limit: most results.
        retries: how often a failing request is tried again.
        progress: told of further tries.

    Raises:
        FetchError: no network, no access, too many requests, or an answer that cannot be read.
    """
    hub = HubClient.from_settings(settings)
    token = hub.token.get_secret_value() if hub.token else ""
    with _explained(host=hub.host, has_token=bool(token)):
        items = with_retries(
            lambda: _ask(hub.endpoint, text, limit=limit, token=token),
            retries=retries,
            what="search",
            progress=progress,
        )
        return [_found(item) for item in items]


def _ask(endpoint: str, text: str, *, limit: int, token: str) -> list[dict[str, Any]]:
    """The hub's answer to `GET /api/datasets`.

    `HfApi.list_datasets` asks the same but without a time limit, and waits for minutes where the hub is
    not there.
    """
    from huggingface_hub import get_session, hf_raise_for_status

    response = get_session().get(
        f"{endpoint}/api/datasets",
        params={"search": text, "limit": limit, "sort": "downloads", "direction": -1},
        # Only the token that is set: one that `hf auth login` stored must not go to whatever mirror is set.
        headers={"authorization": f"Bearer {token}"} if token else {},
        timeout=_TIMEOUT_SECONDS,
    )
    hf_raise_for_status(response)
    items = response.json()
    if not isinstance(items, list):
        raise ValueError("no list")
    return items[:limit]


def _found(item: dict[str, Any]) -> FoundDataset:
    tags = [str(tag) for tag in item.get("tags") or []]

    def tagged(name: str) -> tuple[str, ...]:
        return tuple(tag.removeprefix(f"{name}:") for tag in tags if tag.startswith(f"{name}:"))

    return FoundDataset(
        id=item["id"],
        downloads=item.get("downloads"),
        likes=item.get("likes"),
        licence=next(iter(tagged("license")), None),
        gated=item.get("gated") or None,
        size=next(iter(tagged("size_categories")), None),
        languages=tagged("language"),
    )


@contextlib.contextmanager
def _explained(*, host: str, has_token: bool) -> Iterator[None]:
    """Says what went wrong and the fix; never in the words of the answer, which could repeat a credential.

    Raises:
        FetchError: the block failed at the hub or on the way to it.
    """
    import httpx2
    from huggingface_hub import errors

    try:
        yield
        return
    except errors.OfflineModeIsEnabled:
        message = "the hub cannot be asked while HF_HUB_OFFLINE is set; unset it"
    except errors.HfHubHTTPError as error:
        message = _status_message(error.response.status_code, host=host, has_token=has_token)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        message = (
            f"no network to {host} ({type(error).__name__}): check the connection and HF_ENDPOINT; "
            "`medpipe sources` lists what the catalog knows without it"
        )
    except (ValueError, KeyError, TypeError, AttributeError):  # no JSON, or of another shape
        message = f"{host} did not answer as the hub does; check HF_ENDPOINT"
    raise FetchError(message) from None


def _status_message(status: int, *, host: str, has_token: bool) -> str:
    if status in (401, 403):
        fix = "HF_TOKEN is refused: set a valid one or unset it" if has_token else "set HF_TOKEN"
        return f"{host} answered {status}; {fix}"
    if status == 429:
        fix = "wait a few minutes" if has_token else "wait a few minutes, or set HF_TOKEN for more requests"
        return f"{host} has had too many requests (429); {fix}"
    if status >= 500:
        return f"{host} answered {status} again and again; wait a while and run again"
    return f"{host} answered {status} to a search; check HF_ENDPOINT: not every mirror can search"

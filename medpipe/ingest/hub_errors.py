"""What went wrong at the hub, in words that name the thing and the fix, and what is worth another try.

Messages are written here and never taken from the answer: what a server or a proxy says could repeat the
credential that was sent.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from medpipe.ingest.errors import FetchError

T = TypeVar("T")
Progress = Callable[[str], None]

TOO_MANY = 429
_TRANSIENT = frozenset({408, TOO_MANY, 500, 502, 503, 504})


class DamagedDownloadError(OSError):
    """The bytes that arrived are not those that the hub has."""


@dataclass(frozen=True, kw_only=True)
class Retries:
    """How often a failing request is tried again."""

    attempts: int = 5
    """Tries in all."""
    first_wait: float = 1.0
    """Seconds before the second try; doubled before each further one."""
    longest_wait: float = 30.0
    """Most seconds between two tries where the hub asks for none."""
    longestasked_wait: float = 300.0
    """Most seconds where it does; the hub counts requests in windows of five minutes."""


def with_retries(
    call: Callable[[], T],
    *,
    retries: Retries,
    what: str,
    progress: Progress,
    starts_anew: Callable[[], bool] = lambda: False,
) -> T:
    """Calls a function until it succeeds, fails for good, or has been tried often enough.

    Args:
        call: makes the request.
        retries: how often and how far apart.
        what: the thing asked for, named in progress messages.
        progress: told before each further try.
        starts_anew: asked after a failure; True forgets the tries before, because something was achieved.

    Raises:
        Exception: whatever the last try raised.
    """
    attempt = 0
    while True:
        attempt += 1
        try:
            return call()
        except Exception as error:
            if starts_anew():
                attempt = 1
            reason = transient_reason(error)
            if reason is None or attempt >= retries.attempts:
                raise
            wait = min(retries.longest_wait, retries.first_wait * 2 ** (attempt - 1))
            if asked := asked_wait(error):
                wait = min(retries.longestasked_wait, asked)
        progress(f"{what}: {reason}; try {attempt + 1} of {retries.attempts} in {wait:g} s")
        time.sleep(wait)


def transient_reason(error: Exception) -> str | None:
    """Why a failure may pass by itself; None if it will not."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        return f"the hub answered {status}" if status in _TRANSIENT else None
    if isinstance(error, httpx2.TimeoutException):
        return "no answer in time"
    if isinstance(error, (httpx2.NetworkError, httpx2.RemoteProtocolError)):
        return "the connection failed"
    return str(error) if isinstance(error, DamagedDownloadError) else None


def asked_wait(error: Exception) -> float | None:
    """Seconds that a busy hub asks to wait: `Retry-After` as seconds or as a date, or its `RateLimit`."""
    from huggingface_hub.utils import parse_ratelimit_headers  # type: ignore[attr-defined]

    response = getattr(error, "response", None)
    if response is None:
        return None
    value = response.headers.get("retry-after")
    if value is None:
        limit = parse_ratelimit_headers(response.headers) if response.status_code == TOO_MANY else None
        return None if limit is None else float(limit.reset_in_seconds)
    if value.isdecimal():
        return float(value)
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, math.ceil(until.timestamp() - datetime.now(UTC).timestamp()))


@contextlib.contextmanager
def explained(
    *, repository: str, revision: str, page: str, has_token: bool, host: str, file: str | None = None
) -> Iterator[None]:
    """Turns the hub library's errors into one that names the repository, or the file, and the fix.

    Raises:
        FetchError: the block failed at the hub or on the way to it.
    """
    import httpx2
    from huggingface_hub import errors

    def gated() -> str:
        step = (
            "the HF_TOKEN that is set has no access; use a token of the account that accepted them"
            if has_token
            else "set HF_TOKEN to a token of that account"
        )
        return (
            f"{repository} is gated: accept its terms at {page}, then {step}, and enable the source with "
            "`medpipe sources enable ID --accept-terms`"
        )

    try:
        yield
        return
    except errors.GatedRepoError:
        message = gated()
    except errors.RevisionNotFoundError:
        message = (
            f"{repository} has no revision '{revision}' at {host}: correct 'revision' in the catalog, or "
            "fetch with refresh if the publisher removed the commit"
        )
    except errors.RepositoryNotFoundError:
        message = (
            f"{repository} was not found at {host}: check 'repository' in the catalog and HF_ENDPOINT; "
            f"if it is private or gated, accept its terms at {page} and "
            + ("use another HF_TOKEN, this one has no access" if has_token else "set HF_TOKEN")
        )
    except errors.EntryNotFoundError:
        message = (
            f"{file or 'a file'} of {repository}, which was listed at revision {revision}, is not there at "
            f"{host}; run again, or fetch with refresh if the publisher removed it"
        )
    except errors.OfflineModeIsEnabled:
        message = (
            f"{repository} cannot be fetched while HF_HUB_OFFLINE is set; unset it, or name a folder hub "
            "by MEDPIPE_HUB"
        )
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403):
            message = gated()
        elif status in _TRANSIENT:
            message = f"{host} answered {status} for {repository} again and again; wait a while and run again"
        else:
            message = f"{host} answered {status} for {repository}; open {page} to see whether it still exists"
    except DamagedDownloadError as error:
        message = (
            f"{file or 'a file'} of {repository}: {error}, again and again; check the network or the mirror "
            f"{host} and run again"
        )
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        message = (
            f"no network to {host} ({type(error).__name__}) while fetching {repository}: check the "
            "connection and HF_ENDPOINT, or name a folder hub by MEDPIPE_HUB; what arrived is kept, the next "
            "run goes on with it"
        )
    except json.JSONDecodeError:
        message = (
            f"{host} gives no answer of a hub for {repository}, perhaps a login page: check HF_ENDPOINT and "
            "whether the network asks for a login first"
        )
    raise FetchError(message) from None

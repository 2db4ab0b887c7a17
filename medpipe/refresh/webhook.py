"""Telling a web service: one JSON body, one try, and never a word of the address in an error."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from pydantic import SecretStr

TIMEOUT_SECONDS = 5.0


class WebhookError(OSError):
    """The web service was not told; the message names the variable and not the address, which is a secret."""


def post(url: SecretStr, body: Mapping[str, Any]) -> None:
    """Posts a JSON body.

    Raises:
        WebhookError: there was no answer in time, or it was no success.
    """
    data = json.dumps(body, ensure_ascii=False).encode()
    address = url.get_secret_value()
    try:
        if not address.startswith(("https://", "http://")):
            raise ValueError("no address of a web service")
        headers = {"Content-Type": "application/json"}
        # An address with a space or a line end in it is refused here, with the address in the error.
        request = urllib.request.Request(address, data=data, headers=headers, method="POST")  # noqa: S310 - as above
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS):  # noqa: S310 - as above
            return
    except urllib.error.HTTPError as error:
        reason = f"it answered {error.code}"
    except Exception as error:
        reason = f"no answer ({type(error).__name__})"
    raise WebhookError(
        f"the web service that MEDPIPE_WEBHOOK_URL names was not told: {reason}; check the address"
    )

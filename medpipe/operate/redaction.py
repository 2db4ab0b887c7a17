"""Takes secrets out of text that is about to be kept or shown: the second line, behind not writing them."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from medpipe.settings import Settings

HIDDEN = "***"
_SHORTEST = 4
"""A shorter one would take half of every word away, and hides nothing."""


class Redaction:
    """Replaces some texts by `***`."""

    def __init__(self, secrets: Iterable[str]) -> None:
        """Prepares it.

        Args:
            secrets: texts to hide; those of fewer than four characters are left alone.
        """
        found = {each for each in secrets if len(each) >= _SHORTEST}
        self._secrets = sorted(found, key=len, reverse=True)

    def of(self, text: str) -> str:
        """The text without them."""
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return text


def redaction_of(settings: Settings) -> Redaction:
    """Hides what the settings hold as secret, and the passwords of addresses among them."""
    secrets: list[str] = []
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            secrets += [value.get_secret_value(), *_of_address(value.get_secret_value())]
        elif isinstance(value, str):
            secrets += _of_address(value)
    return Redaction(secrets)


def _of_address(address: str) -> list[str]:
    """User with password, and password alone, of `scheme://user:password@host`; nothing of other texts."""
    if "://" not in address:
        return []
    try:
        user, separator, _ = urlsplit(address).netloc.rpartition("@")
    except ValueError:
        return []
    password = user.partition(":")[2]
    return [user, password, unquote(password)] if separator and password else []

"""Where the hub is; light enough for what only shows addresses."""

from __future__ import annotations

from urllib.parse import urlsplit

HUB = "https://huggingface.co"


def public_host(endpoint: str) -> str:
    """Host and port of an address, without any credential that it may hold."""
    parts = urlsplit(endpoint)
    return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)


def dataset_page(endpoint: str | None, repository: str) -> str:
    """Page of a data set on the hub, or on the mirror that `endpoint` names."""
    address = endpoint or HUB
    return f"{urlsplit(address).scheme}://{public_host(address)}/datasets/{repository}"

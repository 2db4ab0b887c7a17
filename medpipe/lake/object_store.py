"""An S3 bucket as a store of bytes by key: read, written with conditions, listed.

Endpoint, region and credentials come from the standard AWS variables and files, which boto3 reads itself
(`AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID`, `AWS_PROFILE`, a role of the machine); none passes through medpipe.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_NOT_THERE = {"404", "NoSuchKey", "NotFound"}
_READ_TRIES = 3
_CONDITION_FAILED = {"412", "PreconditionFailed", "ConditionalRequestConflict", "409"}


class StoreError(OSError):
    """The store cannot be used; the message names the address and the fix."""


class ChangedMeanwhileError(StoreError):
    """A conditional write was refused: somebody else has written the object since it was read."""


class DamagedObjectError(StoreError):
    """An object is missing or not what its name says; the message names the data set, the file, the fix."""


@dataclass(frozen=True)
class Listed:
    """An object as a listing shows it."""

    key: str
    """Below the store's prefix."""
    etag: str
    bytes: int
    modified: float
    """Unix time in seconds."""


class ObjectStore:
    """All objects below `s3://bucket/prefix`."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        prefix = parts.path.strip("/")
        if parts.scheme != "s3" or not parts.netloc or parts.query or "@" in parts.netloc:
            raise StoreError(f"{parts.scheme}://… is no store; write s3://bucket/prefix, without credentials")
        self.url = f"s3://{parts.netloc}/{prefix}".rstrip("/")
        if find_spec("boto3") is None:
            raise StoreError(f"{self.url} needs boto3: pip install 'medpipe[s3]'")
        self._bucket = parts.netloc
        self._prefix = f"{prefix}/" if prefix else ""

    @functools.cached_property
    def _client(self) -> Any:
        from boto3.session import Session
        from botocore.config import Config

        retries = {"mode": "standard", "total_max_attempts": 5}
        return Session().client("s3", config=Config(retries=retries, connect_timeout=10, read_timeout=60))

    @contextmanager
    def _talking(self, key: str) -> Iterator[None]:
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code in _CONDITION_FAILED:
                raise ChangedMeanwhileError(f"{self.url}/{key} was changed by another machine") from None
            raise StoreError(self._in_words(key, f"{code}: {error}")) from error
        except (BotoCoreError, Boto3Error) as error:
            raise StoreError(self._in_words(key, f"{type(error).__name__}: {error}")) from error

    def _in_words(self, key: str, cause: str) -> str:
        return (
            f"{self.url}/{key} cannot be reached ({cause}); check MEDPIPE_LAKE, AWS_ENDPOINT_URL, the "
            "credentials and that the bucket exists"
        )

    def get(self, key: str) -> tuple[bytes, str] | None:
        """An object's bytes and its entity tag; None if there is none.

        Raises:
            StoreError: the store cannot be reached, or refuses.
        """
        from botocore.exceptions import IncompleteReadError, ResponseStreamingError

        with self._talking(key):
            for tries_left in reversed(range(_READ_TRIES)):
                try:
                    found = self._client.get_object(Bucket=self._bucket, Key=self._prefix + key)
                    return found["Body"].read(), str(found["ETag"])
                except self._client.exceptions.ClientError as error:
                    if error.response["Error"]["Code"] in _NOT_THERE and not _is_bucket(error):
                        return None
                    raise
                except (IncompleteReadError, ResponseStreamingError):
                    # boto3 tries a request again, but not the body of its answer.
                    if not tries_left:
                        raise
        raise AssertionError("the last try returns or raises")

    def put(self, key: str, data: bytes, *, if_match: str | None = None, create_only: bool = False) -> str:
        """Writes an object at once and returns its entity tag.

        Args:
            key: of the object.
            data: its bytes.
            if_match: only where the object still has this entity tag.
            create_only: only where there is none.

        Raises:
            ChangedMeanwhileError: the condition does not hold; nothing was written.
            StoreError: the store cannot be reached, or refuses.
        """
        condition: dict[str, str] = {"IfMatch": if_match} if if_match else {}
        if create_only:
            condition["IfNoneMatch"] = "*"
        with self._talking(key):
            return str(
                self._client.put_object(Bucket=self._bucket, Key=self._prefix + key, Body=data, **condition)[
                    "ETag"
                ]
            )

    def size(self, key: str) -> int | None:
        """Bytes of an object; None if there is none.

        Raises:
            StoreError: the store cannot be reached, or refuses.
        """
        with self._talking(key):
            try:
                found = self._client.head_object(Bucket=self._bucket, Key=self._prefix + key)
                return int(found["ContentLength"])
            except self._client.exceptions.ClientError as error:
                if error.response["Error"]["Code"] in _NOT_THERE:
                    return None
                raise

    def upload(self, path: Path, key: str) -> None:
        """Uploads a file, a large one in several parts; nothing is to be seen of it before the last one.

        Raises:
            StoreError: the store cannot be reached, or refuses.
        """
        with self._talking(key):
            self._client.upload_file(str(path), self._bucket, self._prefix + key)

    def download(self, key: str, path: Path) -> bool:
        """Writes an object's bytes to a file; returns whether there is such an object.

        Raises:
            StoreError: the store cannot be reached, or refuses.
        """
        with self._talking(key):
            try:
                self._client.download_file(self._bucket, self._prefix + key, str(path))
            except self._client.exceptions.ClientError as error:
                if error.response["Error"]["Code"] in _NOT_THERE:
                    return False
                raise
        return True

    def objects(self, folder: str) -> Iterator[Listed]:
        """All objects whose key begins with `folder/` in order of their keys; all where it is empty.

        Raises:
            StoreError: the store cannot be reached, or refuses.
        """
        for page in self._pages(folder):
            for found in page.get("Contents", ()):
                yield Listed(
                    key=str(found["Key"]).removeprefix(self._prefix),
                    etag=str(found["ETag"]),
                    bytes=int(found["Size"]),
                    modified=found["LastModified"].timestamp(),
                )

    def folders(self, folder: str) -> list[str]:
        """Names of the folders directly below `folder/`, in order.

        Raises:
            StoreError: the store cannot be reached, or refuses.
        """
        found = [
            each["Prefix"]
            for page in self._pages(folder, Delimiter="/")
            for each in page.get("CommonPrefixes", ())
        ]
        return sorted(str(prefix).rstrip("/").rpartition("/")[2] for prefix in found)

    def _pages(self, folder: str, **options: str) -> Iterator[dict[str, Any]]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix + (f"{folder}/" if folder else ""), **options
        )
        with self._talking(folder):
            yield from pages

    def delete(self, key: str) -> None:
        """Removes an object; does nothing if there is none.

        Raises:
            StoreError: the store cannot be reached, or refuses.
        """
        with self._talking(key):
            self._client.delete_object(Bucket=self._bucket, Key=self._prefix + key)


def _is_bucket(error: Any) -> bool:
    return str(error.response["Error"]["Code"]) == "NoSuchBucket"


@functools.cache
def object_store(url: str) -> ObjectStore:
    """The store of a URL, one a process: its connections are kept open.

    Raises:
        StoreError: the URL is none of a store.
    """
    return ObjectStore(url)

"""Small files that several machines read and change: snapshots, tombstones, `sources.lock`.

They lie in the store under the path that they have in the lake. Before reading, the local copy is brought up
to date; after writing, the file is sent. Files that are named by their content are written once; of others
the last writer wins, or a change is made on what the others wrote (`change`).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from medpipe.lake.files import write_bytes_atomically, write_json_atomically
from medpipe.lake.layout import Lake
from medpipe.lake.object_store import ChangedMeanwhileError, Listed, object_store

_TAGS = ".store"
"""Folder of the local copy that keeps the entity tag of each file that was fetched."""
_TRIES = 20


def refresh(lake: Lake, folder: str) -> None:
    """Brings a folder of small files up to date; does nothing where the lake has no store.

    A file that another machine deleted goes here, too. Times of change are those in the store.

    Args:
        lake: the lake.
        folder: its path in the lake.

    Raises:
        StoreError: the store cannot be reached: what is here may be out of date and is not used.
    """
    if lake.store is None:
        return
    store, known = object_store(lake.store), _read_tags(lake, folder)
    there = {item.key: item for item in store.objects(folder)}
    for key, item in there.items():
        path = lake.root / key
        if known.get(key) != item.etag or not path.is_file():
            found = store.get(key)
            if found is not None:
                _place(path, found[0], item)
    for key in known.keys() - there.keys():
        (lake.root / key).unlink(missing_ok=True)
    tags = {key: item.etag for key, item in there.items()}
    if tags != known:
        _write_tags(lake, folder, tags)


def _place(path: Path, data: bytes, item: Listed) -> None:
    write_bytes_atomically(path, data)
    os.utime(path, (item.modified, item.modified))


def _tags_path(lake: Lake, folder: str) -> Path:
    return lake.root / _TAGS / f"{folder.replace('/', '_')}.json"


def _read_tags(lake: Lake, folder: str) -> dict[str, str]:
    try:
        found = orjson.loads(_tags_path(lake, folder).read_bytes())
    except (FileNotFoundError, orjson.JSONDecodeError):
        return {}
    return found if isinstance(found, dict) else {}


def _write_tags(lake: Lake, folder: str, tags: dict[str, str]) -> None:
    write_json_atomically(_tags_path(lake, folder), tags)


def share(lake: Lake, path: Path, *, once: bool = False) -> bool:
    """Sends a small file of the lake to the store; does nothing where the lake has none.

    Args:
        lake: the lake.
        path: the file.
        once: where the store has it already it stays as it is.

    Returns:
        Whether what the others see is this file: not where the store had it already.

    Raises:
        StoreError: the store cannot be reached; the other machines do not see the file.
    """
    if lake.store is None:
        return True
    key = path.relative_to(lake.root).as_posix()
    try:
        object_store(lake.store).put(key, path.read_bytes(), create_only=once)
    except ChangedMeanwhileError:
        return False
    return True


def change(lake: Lake, path: Path, edit: Callable[[Any], Any]) -> None:
    """Changes a JSON file on what the store has of it, again where another machine was faster.

    Args:
        lake: a lake that has a store.
        path: the file in the local copy; brought up to date.
        edit: gets the content, None where there is none, and returns the new one.

    Raises:
        ChangedMeanwhileError: others changed it each time.
        StoreError: the store cannot be reached.
    """
    store, key = object_store(str(lake.store)), path.relative_to(lake.root).as_posix()
    for attempt in range(_TRIES):
        found = store.get(key)
        data = orjson.dumps(
            edit(orjson.loads(found[0]) if found else None), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS
        )
        try:
            if found is None:
                store.put(key, data, create_only=True)
            elif data != found[0]:
                store.put(key, data, if_match=found[1])
            break
        except ChangedMeanwhileError:
            if attempt == _TRIES - 1:
                raise
    write_bytes_atomically(path, data)


def refresh_file(lake: Lake, path: Path) -> None:
    """Brings one small file up to date; does nothing where the lake has no store.

    Raises:
        StoreError: the store cannot be reached.
    """
    if lake.store is None:
        return
    found = object_store(lake.store).get(path.relative_to(lake.root).as_posix())
    if found is None:
        path.unlink(missing_ok=True)
    elif not path.is_file() or path.read_bytes() != found[0]:
        write_bytes_atomically(path, found[0])


def remove(lake: Lake, path: Path) -> None:
    """Deletes one small file here and in the store.

    Raises:
        StoreError: the store cannot be reached.
    """
    if lake.store is not None:
        object_store(lake.store).delete(lake.key(path))
    path.unlink(missing_ok=True)

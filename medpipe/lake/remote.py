"""Data sets in an object store: files by their digest, a manifest that commits them, a local copy to read.

In the store a file is `files/<first two>/<SHA-256>`, whichever data set it belongs to: it never changes, two
machines that write the same data set at once cannot mix their bytes, and a file that several data sets share
is uploaded once. A data set is `<room>/<name>/<digest>/manifest.json`; its PUT, behind all files, commits it.
`<room>/<name>/HEAD` names the current one; of two machines that publish at once the last one wins, as on a
disk. What a killed upload leaves is an object that no manifest names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

import orjson
from pydantic import ValidationError

from medpipe.lake.digest import sha256_file
from medpipe.lake.files import naming_a_full_disk, temporary_sibling
from medpipe.lake.layout import HEAD, Lake
from medpipe.lake.manifest import (
    MANIFEST,
    DatasetFile,
    Manifest,
    ManifestError,
    read_manifest,
    write_manifest,
)
from medpipe.lake.object_store import DamagedObjectError, ObjectStore, object_store

_WORKERS = 8
_verified: set[tuple[str, str]] = set()
"""Files of this process whose digest was computed, by path and digest."""


def file_key(sha256: str) -> str:
    """Key of a file by its SHA-256."""
    return f"files/{sha256[:2]}/{sha256}"


def store_of(lake: Lake) -> ObjectStore:
    """The store of a lake that has one."""
    return object_store(str(lake.store))


def head_of(lake: Lake, key: str) -> str | None:
    """Digest of the current data set of a name; None if nothing was published."""
    found = store_of(lake).get(f"{key}/{HEAD}")
    return found[0].decode().strip() if found else None


def set_head(lake: Lake, key: str, digest: str) -> None:
    """Makes a data set the current one of its name."""
    if head_of(lake, key) != digest:
        store_of(lake).put(f"{key}/{HEAD}", digest.encode())


def manifest_of(lake: Lake, key: str) -> Manifest | None:
    """The manifest of the data set at a key; None where there is no data set.

    Raises:
        ManifestError: it is broken, or of another schema version.
    """
    found = store_of(lake).get(f"{key}/{MANIFEST}")
    if found is None:
        return None
    try:
        manifest = Manifest.model_validate(orjson.loads(found[0]))
        for file in manifest.files:
            _inside(file.path)
        return manifest
    except (orjson.JSONDecodeError, ValidationError, ValueError) as error:
        raise ManifestError(
            f"{lake.store}/{key}/{MANIFEST} cannot be read ({error}); delete that object and materialise "
            "again"
        ) from error


def _inside(path: str) -> None:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts:
        raise ValueError(f"the file {path!r} leads out of its data set")


def digests_of(lake: Lake, key: str) -> list[str]:
    """Names of all data sets of a name, the current one first."""
    head = head_of(lake, key)
    found = [name for name in store_of(lake).folders(key) if name[0] != "."]
    return sorted(found, key=lambda name: (name != head, name))


def push(lake: Lake, folder: Path, manifest: Manifest, *, key: str) -> None:
    """Uploads a data set that lies in the local copy: its files, then its manifest.

    Files that the store has already, of any data set, are not sent again.

    Args:
        lake: the lake.
        folder: the data set's folder.
        manifest: its manifest.
        key: the data set's key.

    Raises:
        StoreError: the store cannot be reached; nothing of the data set is to be seen there.
    """
    _upload_missing(store_of(lake), folder, manifest.files)
    data = orjson.dumps(manifest.model_dump(mode="json"), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)
    store_of(lake).put(f"{key}/{MANIFEST}", data)


def _upload_missing(store: ObjectStore, folder: Path, files: Iterable[DatasetFile]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def send(file: DatasetFile) -> None:
        if store.size(file_key(file.sha256)) != file.bytes:
            store.upload(folder / file.path, file_key(file.sha256))

    with ThreadPoolExecutor(_WORKERS) as pool:
        for _ in pool.map(send, {file.sha256: file for file in files}.values()):
            pass


def fetch(
    lake: Lake,
    folder: Path,
    manifest: Manifest,
    files: Iterable[DatasetFile],
    *,
    key: str,
    keep_manifest: bool = True,
) -> None:
    """Brings files of a data set into the local copy, each under its name once its digest is right.

    Args:
        lake: the lake.
        folder: the data set's folder.
        manifest: its manifest.
        files: those that are wanted.
        key: the data set's key.
        keep_manifest: with the last of them write the manifest, so that the folder is a data set.

    Raises:
        DamagedObjectError: an object is missing, or its bytes are not those that were written.
        DiskFullError: the disk is full.
    """
    from concurrent.futures import ThreadPoolExecutor

    known = _local_digests(folder)
    missing = [file for file in files if not _is_here(folder, file, known)]
    with naming_a_full_disk(folder), ThreadPoolExecutor(_WORKERS) as pool:
        for _ in pool.map(lambda file: _fetch_one(lake, folder, file, key=key), missing):
            pass
    is_whole = all((folder / file.path).is_file() for file in manifest.files)
    if keep_manifest and is_whole and known != _digests(manifest):
        write_manifest(folder, manifest)


def _digests(manifest: Manifest) -> dict[str, str]:
    return {file.path: file.sha256 for file in manifest.files}


def _local_digests(folder: Path) -> dict[str, str]:
    try:
        return _digests(read_manifest(folder))
    except ManifestError:
        return {}


def _is_here(folder: Path, file: DatasetFile, known: dict[str, str]) -> bool:
    path = folder / file.path
    if not path.is_file() or path.stat().st_size != file.bytes:
        return False
    mark = (str(path), file.sha256)
    if known.get(file.path) == file.sha256 or mark in _verified:
        return True
    if sha256_file(path) != file.sha256:
        return False
    _verified.add(mark)
    return True


def _fetch_one(lake: Lake, folder: Path, file: DatasetFile, *, key: str) -> None:
    store, target = store_of(lake), folder / file.path
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_sibling(target)
    try:
        found = store.download(file_key(file.sha256), temporary)
        problem = "is missing" if not found else None
        if found and sha256_file(temporary) != file.sha256:
            problem = f"is damaged: its {temporary.stat().st_size:,} bytes do not have the digest in its name"
        if problem is not None:
            raise DamagedObjectError(
                f"{file.path} of the data set {key} cannot be read: the object {store.url}/"
                f"{file_key(file.sha256)} {problem}; delete that object, then materialise the asset of {key} "
                "again with force: true on a machine that has its inputs"
            )
        temporary.replace(target)
        _verified.add((str(target), file.sha256))
    finally:
        temporary.unlink(missing_ok=True)


def fetch_pinned(lake: Lake, folder: Path, *, key: str) -> None:
    """Brings a data set that is named by its digest into the local copy; does nothing if it is nowhere.

    Raises:
        StoreError: the store cannot be reached, or an object is damaged.
    """
    if (folder / MANIFEST).is_file():
        return
    manifest = manifest_of(lake, key)
    if manifest is not None:
        fetch(lake, folder, manifest, manifest.files, key=key)


def leftovers(room: Path, published: Iterable[str]) -> Iterator[Path]:
    """Data sets of the local copy that the store lacks: those of a process killed before its upload."""
    known = set(published)
    if room.is_dir():
        for folder in sorted(room.iterdir()):
            if folder.is_dir() and folder.name[0] != "." and folder.name not in known:
                yield folder


def names_in(lake: Lake, room: str) -> list[str]:
    """Names of all folders directly below a room, here or in the store, in order.

    Raises:
        StoreError: the store cannot be reached.
    """
    folder = lake.room(room)
    here = {path.name for path in folder.iterdir() if path.is_dir()} if folder.is_dir() else set()
    if lake.store is not None:
        here |= set(store_of(lake).folders(room))
    return sorted(name for name in here if name[0] != ".")

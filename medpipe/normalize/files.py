"""The files of a snapshot in the order in which they are read, unpacked, each once."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

from medpipe.catalog.source import Source, SourceFile
from medpipe.ingest.archives import unpacked
from medpipe.ingest.choice import files_of, lookup_files
from medpipe.ingest.subsets import is_published, published_split
from medpipe.lake.dataset import Dataset
from medpipe.normalize.errors import NormalizeError
from medpipe.normalize.lookup import load_lookup
from medpipe.normalize.records import Origin


def label(file: SourceFile) -> str:
    """Short name of an entry of `files` in facts and messages."""
    published = [file.subset, published_split(file)] if is_published(file) else []
    return ":".join(part for part in [file.path, file.member, *published] if part is not None)


def opened_files(source: Source, raw: Dataset) -> Generator[tuple[Path, Origin], None, None]:
    """Each file of a source once, archives unpacked, in the order of the entry's patterns.

    Of several patterns that match a file, or a member of an archive, the first wins.

    Args:
        source: the catalog entry.
        raw: its snapshot.

    Yields:
        Where the bytes are until the next file is asked for, and where they come from: `Origin.path` is the
        path within the snapshot, with the member's name behind that of its archive.

    Raises:
        NormalizeError: nothing matches, or a lookup is wrong.
        IngestError: a file or the snapshot is gone; an archive is damaged or has no such member.
    """
    taken: set[str] = set()
    for file in source.files:
        paths = files_of(raw, file)
        table = load_lookup(file.lookup, lookup_files(raw, file)) if paths and file.lookup else None
        for path in paths:
            place = path.relative_to(raw.path).as_posix()
            if place in taken:
                continue
            with unpacked(path, member=file.member, file_format=file.format) as members:
                for member in members:
                    name = f"{place}/{member.name}" if member.name else place
                    if name not in taken:
                        taken.add(name)
                        origin = Origin(
                            source=source, revision=raw.digest, path=name, file=file, lookup=table
                        )
                        yield member.path, origin
    if not taken:
        patterns = ", ".join(repr(label(file)) for file in source.files)
        raise NormalizeError(
            f"{source.id}: no file of {raw.path} matches {patterns}; correct 'files' in its catalog entry"
        )

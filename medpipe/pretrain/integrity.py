"""Whether what a plan was compiled with is still what its manifests say, and held-out text is held out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from medpipe.lake.digest import digest_bytes, sha256_file
from medpipe.lake.draft import file_mistakes
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import MANIFEST, ManifestError, read_manifest
from medpipe.pretrain.corpus import ShardInfo, TokenizerInfo, list_shards, of_split
from medpipe.pretrain.result import CHECKPOINTS, stage_run_folder
from medpipe.records.kinds import Split

if TYPE_CHECKING:
    from medpipe.pretrain.compile import CompiledPlan
    from medpipe.tokens.shard import OpenShard
    from medpipe.tokens.snapshot import CorpusSnapshot

_NAMED = 3
"""So many examples stand in a message."""


def changed_files(folder: Path) -> list[str]:
    """Files of a data set that are gone or not what its manifest says, each with what is wrong.

    Sizes are compared always; bytes only of files that are newer than the manifest, which is written last:
    an honest data set is checked without being read. `medpipe tokens verify` reads every byte.

    Raises:
        ManifestError: the folder is no data set.
    """
    manifest = read_manifest(folder)
    written = (folder / MANIFEST).stat().st_mtime_ns
    problems = []
    for file in manifest.files:
        path = folder / file.path
        if not path.is_file():
            problems.append(f"{path} is missing")
            continue
        status = path.stat()
        if status.st_size != file.bytes:
            problems.append(f"{path} has {status.st_size:,} bytes instead of {file.bytes:,}")
        elif status.st_mtime_ns > written and sha256_file(path) != file.sha256:
            problems.append(f"{path} does not have the bytes that were written")
    return problems


class ChangedInputError(ValueError):
    """Shards or tokenizer are not what a plan was compiled with; the message names each and the fix."""


def refuse_changed_inputs(
    lake: Lake, snapshot: CorpusSnapshot, tokenizer: TokenizerInfo, shards: Iterable[ShardInfo]
) -> None:
    """Looks at what a trainer is about to read, as `changed_files` does; nothing is read that is as it was.

    What it cannot see: bytes that changed while size and time of the file stayed, as on a failing disk, and
    what changes while the trainer runs.

    Raises:
        ChangedInputError: a file is gone or changed; all of them are named.
    """
    wanted = {(shard.domain.value, shard.source, shard.digest) for shard in shards}
    problems = [*changed_shards(lake, snapshot, wanted), *changed_tokenizer(tokenizer)]
    if problems:
        raise ChangedInputError(
            f"{'; '.join(problems)}. Nothing was trained on it and every checkpoint is as it was"
        )


def changed_shards(
    lake: Lake, snapshot: CorpusSnapshot, wanted: Collection[tuple[str, str, str]] | None = None
) -> list[str]:
    """Shards of a snapshot whose files are gone or changed, each with the fix.

    Args:
        lake: the lake.
        snapshot: names the data sets.
        wanted: domain, source and digest of those to look at; all of them if None.
    """
    problems = []
    for ref in snapshot.shards:
        if wanted is not None and (ref.domain, ref.source, ref.digest) not in wanted:
            continue
        folder = lake.dataset("shards", ref.domain, ref.source, digest=ref.digest)
        try:
            found = changed_files(folder)
        except ManifestError:
            continue  # compiling names it
        if found:
            more = f" and {len(found) - 1} more files" if len(found) > 1 else ""
            problems.append(f"{found[0]}{more}; materialise shards/{ref.domain} again with force")
    return problems


def changed_tokenizer(tokenizer: TokenizerInfo) -> list[str]:
    """Whether the tokenizer file is the one that its digest names."""
    fix = "the shards were encoded with another one; materialise the tokenizer again with force"
    try:
        content = tokenizer.path.read_bytes()
    except OSError as error:
        return [
            f"{tokenizer.path} cannot be read ({error.strerror}); materialise the tokenizer again with force"
        ]
    stated = {file.path: file.sha256 for file in read_manifest(tokenizer.folder).files}
    if stated.get(tokenizer.path.name) != sha256_file(tokenizer.path):
        return [f"{tokenizer.path} was swapped: its digest is {digest_bytes(content)}; {fix}"]
    return []


def damaged_checkpoints(compiled: CompiledPlan, lake: Lake) -> dict[Path, list[str]]:
    """Reads every checkpoint that a curriculum has on the disk and compares it with its manifest.

    Returns:
        What is wrong with each, by folder, in the order of stages and steps; an empty list if nothing is.
    """
    found: dict[Path, list[str]] = {}
    for stage in compiled.stages:
        folder = stage_run_folder(lake, compiled, stage.label) / CHECKPOINTS
        kept = [path for path in folder.iterdir() if path.name.isdigit()] if folder.is_dir() else []
        for path in sorted(kept):
            try:
                found[path] = list(file_mistakes(path, read_manifest(path)))
            except ManifestError as error:
                found[path] = [str(error)]
    return found


def validation_overlap(lake: Lake, snapshot: CorpusSnapshot) -> list[str]:
    """Held-out documents that are trained on, too: by id, and by equal tokens under another id.

    All training shards of the snapshot are looked at, also those that the plan does not read: another stage
    or the next plan will. Document indexes are read one shard at a time; tokens are compared only where a
    training document has the length and the bytes of a held-out one.

    Returns:
        One line for each pair of sources that share documents.
    """
    from medpipe.tokens.shard import ShardError, open_shards

    shards, _ = list_shards(lake, snapshot)
    if not of_split(shards, Split.VALIDATION):
        return []
    try:
        held_out = open_shards(lake, snapshot, split=Split.VALIDATION)
        training = open_shards(lake, snapshot, split=Split.TRAIN)
    except ShardError:
        return []  # named by `changed_shards` or by compiling
    known = _index_of(held_out)
    shared: dict[tuple[str, str], set[str]] = defaultdict(set)
    for shard in training:
        if shard.documents == 0:
            continue
        for identity, source in _equal_documents(shard, held_out, known):
            shared[_name(shard), source].add(identity)
    return [
        f"{len(ids):,} documents of {source} are held out and trained on in {trained} (such as "
        f"{', '.join(sorted(ids)[:_NAMED])}); materialise corpus/documents and the shards again, which split "
        "by content"
        for (trained, source), ids in sorted(shared.items())
    ]


def _name(shard: OpenShard) -> str:
    return f"{shard.domain}/{shard.source}"


def _index_of(shards: Sequence[OpenShard]) -> pl.DataFrame:
    """Documents of held-out shards, with the place of their shard."""
    frames = [
        shard.document_index()
        .select("id", "offset", "length", "text_bytes")
        .with_columns(shard=pl.lit(place, dtype=pl.Int64))
        for place, shard in enumerate(shards)
        if shard.documents
    ]
    return pl.concat(frames)


def _equal_documents(
    shard: OpenShard, held_out: Sequence[OpenShard], known: pl.DataFrame
) -> Iterable[tuple[str, str]]:
    """Id of each document of a training shard that is held out, and the source that holds it out."""
    index = shard.document_index().select("id", "offset", "length", "text_bytes")
    same_id = index.join(known, on="id", how="inner")
    for identity, place in same_id.select("id", "shard").iter_rows():
        yield identity, _name(held_out[place])
    alike = index.join(known, on=["length", "text_bytes"], how="semi")
    if alike.is_empty():
        return
    sizes = alike.select("length", "text_bytes").unique()
    by_content: dict[bytes, int] = {}
    for row in known.join(sizes, on=["length", "text_bytes"], how="semi").iter_rows(named=True):
        tokens = held_out[row["shard"]].tokens[row["offset"] : row["offset"] + row["length"]]
        by_content[np.ascontiguousarray(tokens).tobytes()] = row["shard"]
    seen = set(same_id["id"])
    for identity, offset, length in alike.select("id", "offset", "length").iter_rows():
        place = by_content.get(np.ascontiguousarray(shard.tokens[offset : offset + length]).tobytes())
        if place is not None and identity not in seen:
            yield identity, _name(held_out[place])

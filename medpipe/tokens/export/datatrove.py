"""datatrove: `<split>/<rank>_unshuffled.ds`, its `.index` and `.metadata`, one rank a shard."""

from __future__ import annotations

import shutil
from pathlib import Path

from medpipe.tokens.export.common import Shards, new_folder, one_dtype


def export_datatrove(shards: Shards, target: Path, *, tokenizer: Path) -> dict[str, int]:
    """Writes what `DocumentTokenizer` writes and `DatatroveFolderDataset` reads.

    Ids of int32 are never negative, so their bytes are those of datatrove's uint32.

    Args:
        shards: by split.
        target: the new folder.
        tokenizer: the `tokenizer.json`, named in the metadata.

    Returns:
        Tokens by file.

    Raises:
        ExportError: there are no shards.
    """
    size = 2 if one_dtype(shards) == "uint16" else 4
    written = {}
    with new_folder(target) as folder:
        for split, chosen in shards.items():
            for rank, shard in enumerate(chosen):
                path = folder / split / f"{rank:05d}_unshuffled.ds"
                path.parent.mkdir(exist_ok=True)
                shutil.copyfile(shard.path, path)  # a link would let others write into the lake
                path.with_name(path.name + ".index").write_bytes(shard.doc_ends.astype("<u8").tobytes())
                count = len(shard.tokens)
                lines = (f"{tokenizer}|{size}", str(count), _human(count))
                path.with_name(path.name + ".metadata").write_text("\n".join(lines))
                written[f"{split}/{path.name}"] = count
    return written


def _human(count: int) -> str:
    """As datatrove writes it (`humanize.metric(count, unit="T")`): three figures, as in `16.4 MT`."""
    exponent = len(str(count)) - 1
    figures = count / 10 ** (exponent // 3 * 3)
    if round(figures, 2 - exponent % 3) >= 10 ** (exponent % 3 + 1):  # 9.999 has four figures once rounded
        exponent += 1
        figures = count / 10 ** (exponent // 3 * 3)
    return f"{figures:.{2 - exponent % 3}f} {('', 'k', 'M', 'G', 'T', 'P')[exponent // 3]}T"

"""Megatron-LM: `<split>_text_document.bin` and `.idx` (MMIDIDX, version 1), one sequence a document."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medpipe.tokens.export.common import Shards, join_tokens, new_folder, one_dtype
from medpipe.tokens.index import TokenIndex


def export_megatron(shards: Shards, target: Path) -> dict[str, int]:
    """Writes one pair of files a split, as `preprocess_data.py --append-eod` names and fills them.

    Returns:
        Tokens by file prefix, the value of Megatron's `--data-path`.

    Raises:
        ExportError: there are no shards.
    """
    dtype = one_dtype(shards)
    written = {}
    with new_folder(target) as folder:
        for split, chosen in shards.items():
            if chosen:
                prefix = folder / f"{split}_text_document"
                written[prefix.name] = join_tokens(chosen, prefix.with_suffix(".bin"))
                lengths = np.concatenate([shard.index.lengths for shard in chosen])
                prefix.with_suffix(".idx").write_bytes(TokenIndex(dtype, lengths).to_bytes())
    return written

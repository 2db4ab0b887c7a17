"""nanoGPT and baby-llama2: `train.bin` and `val.bin`, headerless uint16, `<eos>` behind each document."""

from __future__ import annotations

from pathlib import Path

from medpipe.tokens.export.common import ExportError, Shards, join_tokens, new_folder, one_dtype

_NAMES = {"train": "train.bin", "validation": "val.bin"}


def export_nanogpt(shards: Shards, target: Path) -> dict[str, int]:
    """Writes a folder as nanoGPT's `data/<name>/`.

    Returns:
        Tokens by file.

    Raises:
        ExportError: ids are int32, which nanoGPT's `np.memmap(..., dtype=np.uint16)` would misread.
    """
    if one_dtype(shards) != "uint16":
        raise ExportError(
            "nanoGPT reads uint16 only, and this vocabulary needs int32; export to megatron, or take a "
            "tokenizer of at most 65,536 entries"
        )
    with new_folder(target) as folder:
        return {
            _NAMES[split]: join_tokens(chosen, folder / _NAMES[split])
            for split, chosen in shards.items()
            if chosen
        }

"""Hugging Face `datasets`: a `DatasetDict` of token lists, as `load_from_disk` and LLaMA-Factory read it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from medpipe.tokens.export.common import Shards, new_folder, one_dtype


def export_datasets(shards: Shards, target: Path) -> dict[str, int]:
    """Writes `save_to_disk` of one data set a split with the columns `id`, `source`, `input_ids`.

    `input_ids` keep the shards' type. LLaMA-Factory takes the folder as `tokenized_path`. The tokens go by
    way of a temporary Arrow copy beside `target`; memory stays that of a batch.

    Returns:
        Documents by split.

    Raises:
        ExportError: there are no shards.
    """
    # Imported here: it takes seconds.
    from datasets import Dataset, DatasetDict, disable_progress_bars

    one_dtype(shards)
    disable_progress_bars()
    with new_folder(target) as folder, tempfile.TemporaryDirectory(dir=target.parent) as cache:
        splits = {
            split: Dataset.from_parquet(
                [str(shard.path.with_suffix(".tokens.parquet")) for shard in chosen],
                cache_dir=str(Path(cache) / split),
            ).rename_column("tokens", "input_ids")
            for split, chosen in shards.items()
            if chosen
        }
        DatasetDict(splits).save_to_disk(str(folder))
        return {split: rows.num_rows for split, rows in splits.items()}

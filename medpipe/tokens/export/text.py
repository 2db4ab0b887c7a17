"""Plain text for LLaMA-Factory's and MedicalGPT's pretraining: one `{"text"}` a line."""

from __future__ import annotations

from pathlib import Path

import orjson
from tokenizers import Tokenizer

from medpipe.lake.files import write_json_atomically
from medpipe.tokens.export.common import Shards, new_folder, one_dtype

_DOCUMENTS_AT_ONCE = 512


def export_text(
    shards: Shards, target: Path, *, tokenizer: Tokenizer, name: str = "medpipe"
) -> dict[str, int]:
    """Decodes the shards into `<split>.jsonl` and describes them in `dataset_info.json`.

    MedicalGPT reads a folder of the `.jsonl` files; LLaMA-Factory takes the folder as `dataset_dir` and
    `<name>_train` as `dataset` with `stage: pt`.

    Args:
        shards: by split.
        target: the new folder.
        tokenizer: that of the shards.
        name: begins the names of the data sets in `dataset_info.json`.

    Returns:
        Documents by file.

    Raises:
        ExportError: there are no shards.
    """
    one_dtype(shards)
    written, described = {}, {}
    with new_folder(target) as folder:
        for split, chosen in shards.items():
            if not chosen:
                continue
            file_name, count = f"{split}.jsonl", 0
            with (folder / file_name).open("wb") as file:
                for shard in chosen:
                    ends = shard.doc_ends.tolist()
                    starts = [0, *ends[:-1]]
                    for first in range(0, len(ends), _DOCUMENTS_AT_ONCE):
                        bounds = zip(
                            starts[first : first + _DOCUMENTS_AT_ONCE],
                            ends[first : first + _DOCUMENTS_AT_ONCE],
                            strict=True,
                        )
                        ids = [shard.tokens[start : end - 1].tolist() for start, end in bounds]
                        for text in tokenizer.decode_batch(ids, skip_special_tokens=False):
                            file.write(orjson.dumps({"text": text}) + b"\n")
                    count += len(ends)
            written[file_name] = count
            described[f"{name}_{split}"] = {"file_name": file_name, "columns": {"prompt": "text"}}
        write_json_atomically(folder / "dataset_info.json", described)
    return written

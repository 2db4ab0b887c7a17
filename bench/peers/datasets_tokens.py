"""`datasets.map` and tokenizers: `python -m bench.peers.datasets_tokens INPUTS OUTPUT`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from tokenizers import Tokenizer

from bench.clock import timed

PROCESSES = 2


def main() -> None:
    """Reads the halves, encodes them in two processes and writes the ids behind each other as uint16."""
    inputs, output = (Path(name) for name in sys.argv[1:3])
    tokenizer = Tokenizer.from_file(str(inputs / "tokenizer.json"))
    eos = tokenizer.token_to_id("<eos>")

    def encode(batch: Mapping[str, Any]) -> dict[str, Any]:
        found = tokenizer.encode_batch_fast(batch["text"], add_special_tokens=False)
        return {"ids": [np.array([*each.ids, eos], np.uint16) for each in found]}

    def work() -> dict[str, Any]:
        files = sorted(str(path) for path in (inputs / "halves").glob("*.parquet"))
        texts = datasets.load_dataset(
            "parquet", data_files=files, split="train", columns=["text"], cache_dir=str(output / "cache")
        )
        encoded = texts.map(encode, batched=True, num_proc=PROCESSES, remove_columns=["text"])
        path = output / "tokens.bin"
        with path.open("wb") as file:
            for batch in encoded.with_format("arrow").iter(1_000):
                flat = batch["ids"].combine_chunks().flatten()
                file.write(flat.to_numpy(zero_copy_only=False).astype(np.uint16).tobytes())
        return {"files": [path.as_posix()]}

    timed(work, packages=("datasets", "tokenizers"))


if __name__ == "__main__":
    main()

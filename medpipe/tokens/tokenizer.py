"""The tokenizer: byte-level BPE, trained once, or a published one; pinned by digest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from medpipe.lake.dataset import Built, Dataset, find_reusable, publish
from medpipe.lake.digest import digest_bytes, sha256_file
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import Recipe
from medpipe.records.kinds import Split
from medpipe.tokens.config import TOKENIZER_CODE_VERSION, TokenizerConfig
from medpipe.tokens.engine import PROBES
from medpipe.tokens.published import TokenizerError, read_published, require_unspoken
from medpipe.tokens.report import tokenizer_report
from medpipe.tokens.sample import sample_ids, sample_texts
from medpipe.tokens.vocabulary import dtype_of

__all__ = [
    "FILE",
    "TokenizerError",
    "load_tokenizer",
    "train_tokenizer",
    "untrained_tokenizer",
    "vocabulary_size",
]

ROOM = "tokenizer"
FILE = "tokenizer.json"
COMPARED_TEXTS = 500
"""So many documents must come out with a publisher's own ids."""


def untrained_tokenizer(config: TokenizerConfig) -> Tokenizer:
    """A tokenizer that only lacks its merges.

    Text is cut into runs of letters (Chinese characters are letters), of digits, of other marks and of
    spaces before merging, so no merge crosses a punctuation mark, Chinese or not. There is no
    normalizer: what is decoded is the text, byte for byte.
    """
    tokenizer = Tokenizer(models.BPE())
    by_runs = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.pre_tokenizer = (
        pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), by_runs])
        if config.digits == "individual"
        else by_runs
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def train_tokenizer(
    documents: Dataset,
    *,
    lake: Lake,
    config: TokenizerConfig,
    force: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Built:
    """Trains a byte-level BPE on a seeded sample of the training documents, or takes a published tokenizer.

    The sample is stratified by domain. Once made it is pinned: with the same settings the current one is
    reused whatever has become of the documents since.

    Args:
        documents: `corpus/documents`.
        lake: where the tokenizer is published, as `tokenizer/<name>/<digest>/tokenizer.json`.
        config: vocabulary, special tokens, sample; or the file of a published tokenizer.
        force: train on the documents as they are now.
        progress: takes one line of news at a time.

    Returns:
        The tokenizer; its facts hold vocabulary size, special tokens with ids, the digest of the
        documents it was trained on, and a report on the validation split.

    Raises:
        TokenizerError: there is no training document; or the file of a published tokenizer cannot be
            read, or has no `eos_token`; or text can produce a special token.
    """
    inputs = {} if config.file is None else {"file": _file_digest(config.file)}
    recipe = Recipe(inputs=inputs, code_version=TOKENIZER_CODE_VERSION, config=config.recipe)
    if not force and (found := find_reusable(lake, ROOM, config.name, recipe=recipe)):
        return Built(found, reused=True)
    say = progress or (lambda _: None)
    chosen = sample_ids(documents, split=Split.TRAIN, budget=config.sample_bytes, seed=config.seed)
    sample: dict[str, Any] = {}
    if config.file is not None:
        say(f"tokenizer: taking {config.file}")
        texts = (text for _, text in sample_texts(documents, chosen.head(COMPARED_TEXTS)))
        tokenizer = read_published(config, sample=[*PROBES, *texts])
    else:
        tokenizer, sample = _train(documents, chosen, config, say)
        require_unspoken(tokenizer, config.special_tokens)
    size = vocabulary_size(tokenizer)
    say(f"tokenizer: {size:,} entries, ids are {dtype_of(size)}; measuring it on the validation split")
    with publish(lake, ROOM, config.name, recipe=recipe) as draft:
        content = tokenizer.to_str().encode()
        (draft.path / FILE).write_bytes(content)
        draft.content_digest = digest_bytes(content)
        draft.rows = size
        draft.facts = {
            "vocabulary_size": size,
            "eos_id": tokenizer.token_to_id(config.eos_token),
            "pad_id": tokenizer.token_to_id(config.pad_token),
            "special_tokens": {
                token: number
                for token in config.special_tokens
                if (number := tokenizer.token_to_id(token)) is not None
            },
            "documents": documents.digest,
            "sample": sample,
            "report": tokenizer_report(tokenizer, documents),
        }
    return Built(draft.dataset, reused=False)


def _train(
    documents: Dataset, chosen: pl.DataFrame, config: TokenizerConfig, say: Callable[[str], None]
) -> tuple[Tokenizer, dict[str, Any]]:
    """The trained tokenizer, and what it was trained on."""
    if chosen.is_empty():
        raise TokenizerError(
            "no training document for the tokenizer; check that corpus/documents keeps some (its metadata "
            "counts what was rejected and why), or raise sample_bytes"
        )
    size = int(chosen["size"].sum())
    say(f"tokenizer: training on {chosen.height:,} documents, {size / 1e6:.1f} MB")
    tokenizer = untrained_tokenizer(config)
    tokenizer.train_from_iterator(
        (text for _, text in sample_texts(documents, chosen)),
        trainers.BpeTrainer(
            vocab_size=config.vocabulary_size,
            min_frequency=config.min_frequency,
            special_tokens=list(config.special_tokens),
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    tokenizer.encode_special_tokens = True
    by_domain = dict(chosen.group_by("domain").agg(size=pl.col("size").sum()).iter_rows())
    return tokenizer, {"documents": chosen.height, "bytes": size, "bytes_by_domain": by_domain}


def _file_digest(path: Path) -> str:
    try:
        return sha256_file(path)
    except OSError as error:
        raise TokenizerError(
            f"{path} cannot be read ({error.strerror}); set the tokenizer's `file` to a tokenizer.json, a "
            "SentencePiece .model or a .tiktoken file"
        ) from error


def vocabulary_size(tokenizer: Tokenizer) -> int:
    """Rows that an embedding needs: the largest id and one."""
    return max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1


def load_tokenizer(dataset: Dataset) -> Tokenizer:
    """Loads a published tokenizer, set so that text never becomes a special token.

    A text that holds the characters `<eos>` is encoded like any other text; only the code that writes
    shards sets the special id.

    Raises:
        TokenizerError: the file is missing or cannot be read.
    """
    path: Path = dataset.file(FILE)
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises a bare Exception
        raise TokenizerError(
            f"{path} cannot be read ({error}); train the tokenizer again with force"
        ) from error
    tokenizer.encode_special_tokens = True
    return tokenizer

"""What a tokenizer does to the validation split: what it compresses, cannot spell, loses."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import polars as pl
from tokenizers import Tokenizer

from medpipe.lake.dataset import Dataset
from medpipe.records.kinds import Split
from medpipe.tokens.documents import BATCH_ROWS
from medpipe.tokens.encode import cut_groups
from medpipe.tokens.published import unknown_token
from medpipe.tokens.sample import scan_documents

LONGEST_TOKENS = 20
PIECE_CHARACTERS = 500_000
EXAMPLES = 5
_EXAMPLE_CHARACTERS = 80


def tokenizer_report(tokenizer: Tokenizer, documents: Dataset) -> dict[str, Any]:
    """Encodes and decodes every validation document, some megabytes at a time.

    A document longer than `PIECE_CHARACTERS` is measured in pieces of that length.

    Args:
        tokenizer: as it is published.
        documents: `corpus/documents`.

    Returns:
        `by_domain`, `by_language` and `all`: `documents`, `tokens`, `bytes_per_token` (UTF-8),
        `characters_per_token`, `unknown_rate` (share of tokens that stand for what the vocabulary cannot
        spell); `round_trip_texts`, `round_trip_failures` and up to `EXAMPLES` ids of failures; `unused_share`
        of the vocabulary, special tokens aside; `longest_tokens` that were used.
    """
    unknown = unknown_token(tokenizer)
    unknown_id = -1 if unknown is None else tokenizer.token_to_id(unknown)
    used = np.zeros(max(tokenizer.get_vocab(with_added_tokens=True).values(), default=0) + 1, np.int64)
    counts: defaultdict[tuple[str, str], np.ndarray[Any, Any]] = defaultdict(lambda: np.zeros(5, np.int64))
    failures, last_failed = 0, ""
    examples: list[str] = []
    records = (
        scan_documents(documents)
        .filter(pl.col("split").cast(pl.String) == Split.VALIDATION.value)
        .select("id", pl.col("domain", "lang").cast(pl.String), "text")
    )
    groups = (
        part
        for batch in records.collect_batches(chunk_size=BATCH_ROWS, maintain_order=True)
        for group in cut_groups(batch)
        for part in cut_groups(_in_pieces(group))
    )
    for group in groups:
        texts = group["text"].to_list()
        encodings = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        ids = [encoding.ids for encoding in encodings]
        decoded = tokenizer.decode_batch(ids, skip_special_tokens=False)
        rows = group.select("id", "domain", "lang", "text_bytes", "is_first").iter_rows()
        for (document, domain, lang, size, is_first), text, tokens, again in zip(
            rows, texts, ids, decoded, strict=True
        ):
            if again != text and document != last_failed:
                last_failed = document
                failures += 1
                examples += [document] * (failures <= EXAMPLES)
            own = np.asarray(tokens, np.int64)
            np.add.at(used, own, 1)
            unknowns = int(np.count_nonzero(own == unknown_id))
            counts[domain, lang] += (is_first, len(tokens), size, len(text), unknowns)
    return {
        "all": _rates(sum(counts.values(), np.zeros(5, np.int64))),
        "by_domain": _grouped(counts, 0),
        "by_language": _grouped(counts, 1),
        "round_trip_texts": int(sum(count[0] for count in counts.values())),
        "round_trip_failures": failures,
        "round_trip_examples": examples,
        **_vocabulary(tokenizer, used),
    }


def _in_pieces(group: pl.DataFrame) -> pl.DataFrame:
    """One row a piece, so that a long document is not measured at once; `is_first` marks each first piece.

    A token takes some 300 bytes of memory while it is measured.
    """
    group = group.drop("text_bytes")
    if (group["text"].str.len_chars() <= PIECE_CHARACTERS).all():
        return group.with_columns(is_first=pl.lit(value=True))
    starts = pl.int_ranges(0, pl.max_horizontal(pl.col("text").str.len_chars(), 1), PIECE_CHARACTERS)
    return (
        group.with_columns(start=starts)
        .explode("start")
        .with_columns(text=pl.col("text").str.slice("start", PIECE_CHARACTERS), is_first=pl.col("start") == 0)
        .drop("start")
    )


def _rates(count: np.ndarray[Any, Any]) -> dict[str, float | int]:
    documents, tokens, size, characters, unknowns = (int(number) for number in count)
    per = tokens or 1
    return {
        "documents": documents,
        "tokens": tokens,
        "bytes_per_token": round(size / per, 3),
        "characters_per_token": round(characters / per, 3),
        "unknown_rate": round(unknowns / per, 6),
    }


def _grouped(
    counts: dict[tuple[str, str], np.ndarray[Any, Any]], part: int
) -> dict[str, dict[str, float | int]]:
    summed: defaultdict[str, np.ndarray[Any, Any]] = defaultdict(lambda: np.zeros(5, np.int64))
    for key, count in counts.items():
        summed[key[part]] += count
    return {name: _rates(count) for name, count in sorted(summed.items())}


def _vocabulary(tokenizer: Tokenizer, used: np.ndarray[Any, Any]) -> dict[str, Any]:
    special = set(tokenizer.get_added_tokens_decoder())
    ordinary = [number for number in tokenizer.get_vocab().values() if number not in special]
    unused = sum(1 for number in ordinary if not used[number])
    spelled = [(tokenizer.decode([number]), number) for number in np.flatnonzero(used).tolist()]
    longest = sorted(spelled, key=lambda item: (-len(item[0]), item[1]))[:LONGEST_TOKENS]
    return {
        "unused_share": round(unused / (len(ordinary) or 1), 4),
        "longest_tokens": [
            {
                "token": text[:_EXAMPLE_CHARACTERS],
                "id": number,
                "characters": len(text),
                "count": int(used[number]),
            }
            for text, number in longest
        ],
    }


def report_markdown(report: dict[str, Any]) -> str:
    """The report as Markdown tables."""
    head = ("", "documents", "tokens", "bytes a token", "characters a token", "unknown")
    lines = [f"| {' | '.join(head)} |", "| --- |" + " ---: |" * (len(head) - 1)]
    rows = [("all", report["all"]), *report["by_language"].items(), *report["by_domain"].items()]
    lines += [
        f"| {name} | {row['documents']:,} | {row['tokens']:,} | {row['bytes_per_token']:.2f} | "
        f"{row['characters_per_token']:.2f} | {row['unknown_rate']:.4%} |"
        for name, row in rows
    ]
    lines += [
        "",
        f"Texts that did not come back exactly: {report['round_trip_failures']:,} of "
        f"{report['round_trip_texts']:,}. Entries that the validation split never used: "
        f"{report['unused_share']:.1%}.",
        "",
        "| longest tokens | characters | times |",
        "| --- | ---: | ---: |",
    ]
    lines += [
        f"| `{each['token'].replace('|', chr(92) + '|').replace(chr(10), '⏎')}` | {each['characters']} | "
        f"{each['count']:,} |"
        for each in report["longest_tokens"]
    ]
    return "\n".join(lines)

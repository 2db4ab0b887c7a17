"""What a person looks at of tokens: how sentences are cut, and how documents of shards begin."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from medpipe.lake.dataset import Dataset

SENTENCES = {
    "zh": "患者因咳嗽、发热三天就诊，给予阿莫西林 0.5 g，每日三次，一周后复查。",
    "en": "The patient has had a cough for three days and was given 0.5 g of amoxicillin.",
}
"""Ours, by language."""
_BORDER = " | "
_TOKENS_DECODED = 600
"""So many tokens of a document are decoded: more than a preview shows, even at a byte a token."""
_UNFINISHED = "\ufffd"
"""Stands where the bytes of a character were cut."""


def cut_sentences(tokenizer: Tokenizer) -> list[dict[str, Any]]:
    """How a Chinese and an English sentence are cut.

    Args:
        tokenizer: as `load_tokenizer` gives it.

    Returns:
        `language`, `characters`, `tokens`, and `cut`: the sentence with a bar between tokens; a piece that
        takes several tokens, such as a rare character in bytes, is followed by their number.
    """
    rows = []
    for language, sentence in SENTENCES.items():
        offsets = tokenizer.encode(sentence, add_special_tokens=False).offsets
        rows.append(
            {
                "language": language,
                "characters": len(sentence),
                "tokens": len(offsets),
                "cut": _BORDER.join(_pieces(sentence, offsets)),
            }
        )
    return rows


def _pieces(sentence: str, offsets: Iterable[tuple[int, int]]) -> list[str]:
    """The parts of a sentence that share no token, with how many tokens each takes if several."""
    parts: list[list[int]] = []
    for start, stop in offsets:
        if parts and start < parts[-1][1]:
            parts[-1][1:] = [max(stop, parts[-1][1]), parts[-1][2] + 1]
        else:
            parts.append([start, stop, 1])
    return [
        sentence[start:stop] + (f" ({tokens} tokens)" if tokens > 1 else "") for start, stop, tokens in parts
    ]


def first_documents(datasets: Iterable[Dataset], tokenizer: Tokenizer, *, most: int) -> list[dict[str, Any]]:
    """How the first documents of each source's shards begin, decoded from their ids.

    Args:
        datasets: shard data sets of one domain.
        tokenizer: the one that made them.
        most: documents in all, shared between the data sets.

    Returns:
        `source`, `split`, `tier`, `lang`, `tokens` (with `<eos>`) and the beginning of `text`.

    Raises:
        ShardError: a file is not what its manifest says.
    """
    from medpipe.tokens.shard import open_dataset

    shards = [shard for dataset in datasets for shard in open_dataset(dataset)[:1]]
    each = max(1, most // max(1, len(shards)))
    rows = []
    for shard in shards[:most]:
        for document in shard.document_index().head(each).iter_rows(named=True):
            start, length = document["offset"], document["length"]
            ids = shard.tokens[start : start + min(length - 1, _TOKENS_DECODED)].tolist()
            rows.append(
                {
                    "source": shard.source,
                    "split": shard.split,
                    "tier": shard.tier,
                    "lang": document["lang"],
                    "tokens": length,
                    "text": tokenizer.decode(ids, skip_special_tokens=False).rstrip(_UNFINISHED),
                }
            )
    return rows

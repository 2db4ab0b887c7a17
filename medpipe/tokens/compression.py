"""How well a tokenizer compresses the validation split, and whether decoding gives the texts back."""

from __future__ import annotations

from collections import defaultdict
from itertools import islice
from typing import Any

from tokenizers import Tokenizer

from medpipe.lake.dataset import Dataset
from medpipe.records.kinds import Split
from medpipe.tokens.sample import sample_ids, sample_texts

REPORT_BYTES = 4_000_000
"""At most so much validation text is measured, in equal shares by domain."""
BATCH_TEXTS = 512


def compression_report(tokenizer: Tokenizer, documents: Dataset, *, seed: int) -> dict[str, Any]:
    """Measures a tokenizer on a sample of the validation documents.

    Returns:
        `by_domain`: {domain: {`bytes_per_token`, `characters_per_token`, `documents`}};
        `round_trip_texts`, `round_trip_failures`: texts decoded again, and those that came out different.
    """
    chosen = sample_ids(documents, split=Split.VALIDATION, budget=REPORT_BYTES, seed=seed)
    counts: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    failures = 0
    texts = sample_texts(documents, chosen)
    while batch := list(islice(texts, BATCH_TEXTS)):
        encodings = tokenizer.encode_batch_fast([text for _, text in batch], add_special_tokens=False)
        ids = [encoding.ids for encoding in encodings]
        decoded = tokenizer.decode_batch(ids, skip_special_tokens=False)
        for (domain, text), tokens, again in zip(batch, ids, decoded, strict=True):
            failures += again != text
            for position, number in enumerate((1, len(tokens), len(text.encode()), len(text))):
                counts[domain][position] += number
    return {
        "by_domain": {
            domain: {
                "bytes_per_token": round(size / tokens, 3),
                "characters_per_token": round(characters / tokens, 3),
                "documents": number,
            }
            for domain, (number, tokens, size, characters) in sorted(counts.items())
        },
        "round_trip_texts": chosen.height,
        "round_trip_failures": failures,
    }

"""A small corpus in the lake's own format, made of text written for the tests."""

from __future__ import annotations

import hashlib
import itertools
import random
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer, pre_tokenizers, trainers

from medpipe.lake.dataset import Dataset, publish
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import Recipe
from medpipe.tokens.config import TokenizerConfig
from medpipe.tokens.encode import EncodedDocument
from medpipe.tokens.snapshot import CorpusSnapshot, build_snapshot
from medpipe.tokens.tokenizer import untrained_tokenizer
from medpipe.tokens.writer import ShardWriter

_SUBJECTS = ["感冒", "肺炎", "胃炎", "贫血", "高血压", "糖尿病", "偏头痛", "湿疹"]
_SIGNS = ["发热", "咳嗽", "腹痛", "乏力", "头晕", "口渴", "视物模糊", "瘙痒"]
_ADVICE = ["多休息", "多喝水", "少吃盐", "按时服药", "定期复查", "避免受凉", "适量运动"]
_PLACES = ["The river", "A small town", "The old library", "Every morning the market", "The mountain road"]
_DEEDS = ["rises in spring", "sells fresh bread", "keeps many maps", "is quiet at noon", "leads to the sea"]


def sentence(domain: str, chance: random.Random) -> tuple[str, str]:
    """One document of a domain and its language."""
    if domain == "general" and chance.random() < 0.5:
        parts = [f"{chance.choice(_PLACES)} {chance.choice(_DEEDS)}." for _ in range(chance.randint(1, 5))]
        return " ".join(parts), "en"
    subject = chance.choice(_SUBJECTS)
    clauses = [
        f"{subject}常见的表现是{chance.choice(_SIGNS)}，建议{chance.choice(_ADVICE)}。"
        for _ in range(chance.randint(1, 6))
    ]
    return f"{domain}：" + "".join(clauses), "zh"


@dataclass
class Corpus:
    """A lake with tokenizer, shards and snapshot."""

    lake: Lake
    snapshot: CorpusSnapshot
    tokenizer: Tokenizer
    eos_id: int
    texts: dict[tuple[str, str], list[tuple[str, str]]] = field(default_factory=dict)
    """(domain, split) to its documents as (text, language)."""


def publish_tokenizer(lake: Lake, texts: list[str], vocabulary_size: int) -> tuple[Dataset, Tokenizer]:
    config = TokenizerConfig(vocabulary_size=vocabulary_size)
    tokenizer = untrained_tokenizer(config)
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocabulary_size,
            special_tokens=list(config.special_tokens),
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    tokenizer.encode_special_tokens = True
    with publish(lake, "tokenizer", config.name, recipe=Recipe(inputs={}, code_version="1")) as draft:
        (draft.path / "tokenizer.json").write_text(tokenizer.to_str())
        draft.facts = {"vocabulary_size": tokenizer.get_vocab_size(), "eos_id": 0, "pad_id": 1}
    assert draft.published is not None
    return draft.published, tokenizer


def publish_shards(
    lake: Lake,
    domain: str,
    source: str,
    documents: dict[tuple[str, str], list[tuple[str, str, list[int]]]],
    *,
    tokenizer: Dataset,
    vocabulary_size: int,
) -> Dataset:
    """Publishes one data set; `documents` maps (split, tier) to (text, language, ids without eos)."""
    shards = []
    recipe = Recipe(inputs={"tokenizer": tokenizer.digest}, code_version="1")
    with publish(lake, "shards", domain, source, recipe=recipe) as draft:
        for number, ((split, tier), rows) in enumerate(sorted(documents.items())):
            writer = ShardWriter(
                draft.path, f"{number:05d}", split=split, tier=tier, source=source, dtype="uint16"
            )
            for text, language, ids in rows:
                name = hashlib.md5(f"{source}{number}{len(shards)}{writer.tokens}{text}".encode()).hexdigest()
                tokens = np.array([*ids, 0], dtype=np.uint16)
                writer.add(EncodedDocument(name, language, split, tier, len(text.encode()), tokens))
            shards.append(asdict(writer.close()))
        facts: dict[str, Any] = {"domain": domain, "source": source, "tokenizer": tokenizer.digest}
        draft.facts = facts | {
            "dtype": "uint16",
            "eos_id": 0,
            "vocabulary_size": vocabulary_size,
            "shards": shards,
        }
    assert draft.published is not None
    return draft.published


def build_corpus(
    root: Path,
    *,
    domains: tuple[str, ...] = ("general", "disease"),
    documents: int | dict[str, int] = 120,
    validation: int = 12,
    vocabulary_size: int = 400,
    refined_share: float = 0.5,
    seed: int = 0,
) -> Corpus:
    """Writes a corpus of `documents` training documents a domain (or as many as named), one source each."""
    numbers = documents if isinstance(documents, dict) else dict.fromkeys(domains, documents)
    lake = Lake(root)
    chance = random.Random(seed)
    texts: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for domain in domains:
        trained = [sentence(domain, chance) for _ in range(numbers[domain])]
        known = set(trained)
        fresh = (text for text in iter(lambda d=domain: sentence(d, chance), None) if text not in known)
        held_out = list(itertools.islice(fresh, validation))
        texts |= {(domain, "train"): trained, (domain, "validation"): held_out}
    sample = [text for (_, split), rows in texts.items() if split == "train" for text, _ in rows]
    tokenizer_set, tokenizer = publish_tokenizer(lake, sample[:2000], vocabulary_size)
    shards = {}
    for domain in domains:
        by_kind: dict[tuple[str, str], list[tuple[str, str, list[int]]]] = {}
        for split in ("train", "validation"):
            rows = [(t, language, tokenizer.encode(t).ids) for t, language in texts.get((domain, split), [])]
            border = round(len(rows) * refined_share)
            for tier, part in (("refined", rows[:border]), ("raw", rows[border:])):
                if part:
                    by_kind[split, tier] = part
        shards[domain, f"{domain}_source"] = publish_shards(
            lake,
            domain,
            f"{domain}_source",
            by_kind,
            tokenizer=tokenizer_set,
            vocabulary_size=tokenizer.get_vocab_size(),
        )
    with publish(lake, "corpus", "documents", recipe=Recipe(inputs={}, code_version="1")) as draft:
        draft.content_digest = "0" * 32
    assert draft.published is not None
    snapshot, _ = build_snapshot(
        lake,
        tokenizer=tokenizer_set,
        shards=shards,
        documents=draft.published,
        revisions={f"{domain}_source": "1" * 40 for domain in domains},
    )
    return Corpus(lake, snapshot, tokenizer, 0, texts)

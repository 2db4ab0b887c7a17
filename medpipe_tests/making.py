"""Small normalized data sets and catalog entries for tests, written through the public record schemas."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import polars as pl

from medpipe.catalog.source import Source
from medpipe.lake.dataset import Dataset, publish
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import Recipe
from medpipe.lake.parquet import ParquetSink
from medpipe.records.keys import content_key, joined_content, record_ids
from medpipe.records.kinds import Kind, content_columns, record_columns, record_schema, rejected_columns

_LAYOUTS = {
    Kind.DOCUMENT: {"layout": "text"},
    Kind.CONVERSATION: {"layout": "question_answer"},
    Kind.PREFERENCE: {"layout": "preference"},
}
_SUBJECTS = [
    "肺炎",
    "哮喘",
    "糖尿病",
    "高血压",
    "胃溃疡",
    "偏头痛",
    "贫血",
    "痛风",
    "湿疹",
    "骨折",
    "心悸",
    "失眠",
]
_CAUSES = [
    "受凉",
    "过度劳累",
    "饮食不节",
    "病毒感染",
    "细菌感染",
    "遗传因素",
    "长期吸烟",
    "情绪波动",
    "缺乏运动",
]
_ADVICE = ["多休息", "规律服药", "清淡饮食", "定期复查", "补充水分", "避免熬夜", "适量运动", "及时就医"]


def make_source(source_id: str, kind: Kind = Kind.DOCUMENT, **changes: Any) -> Source:
    """A valid catalog entry."""
    entry: dict[str, Any] = {
        "id": source_id,
        "title": source_id,
        "description": "a test source",
        "repository": f"nobody/{source_id}",
        "files": [{"path": "a.jsonl", "domain": "disease"}],
        "kind": kind,
        "layout": _LAYOUTS[kind],
        "language": "zh",
        "licence": {},
        "uses": ["reward"] if kind is Kind.PREFERENCE else ["pretraining"],
    }
    return Source.model_validate(entry | changes)


def article(number: int) -> str:
    """A distinct Chinese text of a few sentences that passes the quality rule."""
    random = Random(number)
    sentences = []
    for _ in range(random.randint(3, 8)):
        cause = f"{random.choice(_SUBJECTS)}可由{random.choice(_CAUSES)}引起"
        sentences.append(f"{cause}，建议{random.choice(_ADVICE)}，疗程约{random.randint(1, 90)}天。")
    return f"第{number}号病例。" + "".join(sentences)


def turns(*contents: str) -> list[dict[str, str]]:
    """Turns of user and assistant, one after the other."""
    return [
        {"role": ("user", "assistant")[position % 2], "content": content}
        for position, content in enumerate(contents)
    ]


def publish_records(
    lake: Lake,
    source_id: str,
    kind: Kind,
    rows: Sequence[dict[str, Any]],
    *,
    parts: int = 1,
    revision: str = "r1",
) -> Dataset:
    """Publishes `normalized/<source>`; a row needs its content columns only, other columns may be given."""
    schema = record_columns(kind)
    given = {
        "split": "train",
        "lang": "zh",
        "domain": "disease",
        "path": "a.jsonl",
        "part": 0,
        "system": None,
    }
    given |= {"tier": "raw", "source": source_id, "revision": revision}
    full = [
        {name: row.get(name, given.get(name)) for name in schema.names()} | {"row": row.get("row", position)}
        for position, row in enumerate(rows)
    ]
    frame = pl.DataFrame(full, schema=schema)
    frame = frame.with_columns(content_key(joined_content(kind)).alias("content_key"))
    frame = frame.with_columns(record_ids(frame, kind=kind, content=_hashed(kind)))
    record_schema(kind).validate(frame)
    recipe = Recipe(inputs={}, code_version="test", config={"rows": frame.height, "revision": revision})
    with publish(lake, "normalized", source_id, recipe=recipe) as draft:
        (draft.path / "rejected").mkdir()
        with ParquetSink(draft.path / "rejected/part-00000.parquet", schema=rejected_columns()):
            pass
        size = -(-frame.height // parts) or 1
        digests = []
        for number in range(parts):
            path = draft.path / f"part-{number:05d}.parquet"
            with ParquetSink(path, schema=schema) as sink:
                sink.write(frame.slice(number * size, size))
            digests.append(sink.content.hexdigest())
        draft.content_digest = "".join(digests)
    return draft.dataset


def _hashed(kind: Kind) -> list[str]:
    return [name for name in content_columns(kind) if name != "tier"]

"""The files of the real records that overlap: what near-duplicates find beyond plain exact matching."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import polars as pl
import pytest

from medpipe.catalog.load import read_catalog_folder
from medpipe.curate.near_duplicates.clusters import SignedDocuments, find_clusters
from medpipe.curate.near_duplicates.overlap import count_overlap, draw_overlap, overlap_matrix
from medpipe.curate.near_duplicates.signatures import compute_signatures
from medpipe.normalize.files import opened_files
from medpipe.normalize.run import normalized_batches
from medpipe.normalize.templates import render_conversations
from medpipe.records.kinds import Kind
from medpipe_tests.normalize.sources import make_raw
from medpipe_tests.shared_data import shared_data

CATALOG = Path(__file__).parents[2] / "shared_data_catalog"
FILES = {
    "bentsao/llama_data.json": ("shared_bentsao", "llama_data.json"),
    "med-chatglm/train.txt": ("shared_med_chatglm", "train.txt"),
    "llama_sft.json": ("shared_llm_pretrain_finetune_text_answer", "llama_sft.json"),
    "caregpt/drug.json": ("shared_caregpt_drugs", "drug.json"),
    "medical_sft.json": ("shared_llm_pretrain_finetune_text_answer", "medical_sft.json"),
    "toyhom .csv": ("shared_toyhom_dialogues", None),
    "toyhom .txt": ("shared_toyhom_blocks", None),
    "huatuo26M_test.json": ("shared_huatuo_26m_lists", None),
    "test_datasets.jsonl": ("shared_huatuo_26m_test", None),
}
PAIRS = [
    ("bentsao/llama_data.json", "med-chatglm/train.txt"),
    ("bentsao/llama_data.json", "llama_sft.json"),
    ("caregpt/drug.json", "medical_sft.json"),
    ("toyhom .csv", "toyhom .txt"),
    ("huatuo26M_test.json", "test_datasets.jsonl"),
]


@cache
def documents(name: str) -> pl.DataFrame:
    """The records of a file as documents, with their content keys."""
    shared_data()
    source_id, wanted = FILES[name]
    [source] = [each for each in read_catalog_folder(CATALOG) if each.id == source_id]
    assert source.folder is not None
    with ThreadPoolExecutor(1) as pool:
        records = [
            batch.records
            for path, origin in opened_files(source, make_raw(source.folder))
            if wanted in (None, origin.path)
            for _, batch in normalized_batches(path, origin, pool, None)
        ]
    frame = pl.concat(records).lazy()
    if source.kind is Kind.CONVERSATION:
        frame = render_conversations(frame, source.template)
    return frame.select("text", "lang", "content_key").collect()


@cache
def signed(name: str) -> SignedDocuments:
    frame = documents(name)
    return SignedDocuments(compute_signatures(frame["text"], frame["lang"]), frame.lazy())


@pytest.mark.parametrize(("one", "other"), PAIRS, ids=lambda name: name.replace(" ", ""))
def test_at_least_what_exact_matching_finds(one: str, other: str, tmp_path: Path) -> None:
    shared_data()
    exact = documents(one)["content_key"].is_in(documents(other)["content_key"].implode())
    same_text = documents(one)["text"].is_in(documents(other)["text"].implode())
    clusters = find_clusters({one: signed(one), other: signed(other)}, folder=tmp_path)
    members = clusters.select("source", group="cluster")
    found = count_overlap(members).filter(source=one, other=other)["documents"].sum()
    rows = set(
        clusters.filter(
            pl.col("source") == one,
            pl.col("cluster").is_in(clusters.filter(source=other)["cluster"].implode()),
        )["row"]
    )
    print(
        f"| {one} | {other} | {documents(one).height:,} | {documents(other).height:,} "
        f"| {same_text.sum():,} | {exact.sum():,} | {found:,} |"
    )
    assert found == len(rows)
    assert set(exact.arg_true()) <= rows
    assert found >= exact.sum() >= same_text.sum()


def test_the_overlap_of_all_files_as_a_picture(tmp_path: Path) -> None:
    shared_data()
    clusters = find_clusters({name: signed(name) for name in FILES}, folder=tmp_path)
    overlap = count_overlap(clusters.select("source", group="cluster"))
    matrix = overlap_matrix(overlap, {name: documents(name).height for name in FILES})
    assert matrix["toyhom .txt"].sum() > 0
    assert draw_overlap(matrix).startswith(b"\x89PNG")

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path
from random import Random

import numpy as np
import polars as pl
import pytest

from medpipe.curate.near_duplicates.bands import candidate_pairs
from medpipe.curate.near_duplicates.clusters import SignedDocuments, find_clusters
from medpipe.curate.near_duplicates.config import NearDuplicateConfig
from medpipe.curate.near_duplicates.signatures import compute_signatures
from medpipe.curate.near_duplicates.store import build_signatures
from medpipe.curate.near_duplicates.verify import measure, write_sketches
from medpipe.lake.files import DiskFullError
from medpipe.lake.layout import Lake
from medpipe_tests.curate.near_duplicates.planting import Pair, chinese_characters, edited, jaccard, plant

LEVELS = (0.6, 0.7, 0.75, 0.8, 0.82, 0.85, 0.9)


def signed(
    texts: Sequence[str | None], lang: str = "zh", included: list[bool] | None = None
) -> SignedDocuments:
    frame = pl.DataFrame(
        {"text": texts, "lang": [lang] * len(texts)}, schema={"text": pl.String, "lang": pl.String}
    )
    return SignedDocuments(
        compute_signatures(frame["text"], frame["lang"]),
        frame.lazy(),
        None if included is None else np.array(included),
    )


def partition(found: pl.DataFrame, names: Sequence[int]) -> set[frozenset[int]]:
    """The clusters as sets of documents by name."""
    groups: dict[int, set[int]] = {}
    for row, cluster in found.select("row", "cluster").iter_rows():
        groups.setdefault(cluster, set()).add(names[row])
    return {frozenset(group) for group in groups.values()}


def shuffled(pairs: Sequence[Pair], seed: int) -> tuple[list[str], list[int]]:
    texts = [text for pair in pairs for text in (pair.one, pair.other)]
    order = list(range(len(texts)))
    Random(seed).shuffle(order)
    return [texts[name] for name in order], order


@pytest.mark.parametrize("english", [False, True])
def test_recall_and_precision_on_planted_near_duplicates(english: bool, tmp_path: Path) -> None:
    pairs = plant(11, 560, english=english, levels=LEVELS)
    texts, names = shuffled(pairs, 1)
    found = find_clusters({"a": signed(texts, "en" if english else "zh")}, folder=tmp_path)
    groups = partition(found, names)
    together = {
        frozenset((one, other)) for group in groups for one in group for other in group if one < other
    }
    planted = {frozenset((2 * number, 2 * number + 1)): pair for number, pair in enumerate(pairs)}
    similar = {members for members, pair in planted.items() if pair.similarity >= 0.8}
    assert 150 < len(similar) < 400
    recall = len(together & similar) / len(similar)
    precision = len(together & similar) / len(together)
    print(f"recall {recall:.4f}, precision {precision:.4f} of {len(similar)} similar pairs in {len(pairs)}")
    assert recall >= 0.95
    assert precision >= 0.95


def test_clusters_depend_on_the_texts_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = plant(4, 150, english=False, levels=LEVELS)
    random = Random(9)
    families = []
    for _ in range(5):
        base = chinese_characters(random, 300)
        copies = [edited(base, 0.86, random, chinese_characters) for _ in range(6)]
        families += [Pair("".join(base), "".join(copy), 0.86) for copy in copies]
    texts, names = shuffled([*pairs, *families], 1)
    whole = find_clusters({"a": signed(texts)}, folder=tmp_path)
    expected = partition(whole, names)
    assert len(expected) > 50
    for seed in (2, 3):
        monkeypatch.setattr("medpipe.curate.near_duplicates.bands.WORKERS", seed - 1)
        monkeypatch.setattr("medpipe.curate.near_duplicates.verify.WORKERS", 4 * seed)
        monkeypatch.setattr("medpipe.curate.near_duplicates.verify._CHUNK_PAIRS", 5 * seed)
        monkeypatch.setattr("medpipe.curate.near_duplicates.verify._GAP", 0)
        again, order = shuffled([*pairs, *families], seed)
        found = find_clusters({"a": signed(again)}, folder=tmp_path, partition_entries=37)
        assert partition(found, order) == expected
    third = len(texts) // 3
    split = find_clusters(
        {"a": signed(texts[:third]), "empty": signed([]), "b": signed(texts[third:])}, folder=tmp_path
    )
    assert split["cluster"].to_list() == whole["cluster"].to_list()
    assert split["position"].to_list() == whole["position"].to_list()
    assert split["source"].unique().to_list() == ["a", "b"]
    assert split.filter(source="b")["row"].to_list() == [
        position - third for position in whole["position"] if position >= third
    ]
    assert not list(tmp_path.iterdir())


def test_a_cluster_is_named_by_its_first_member(tmp_path: Path) -> None:
    text = "".join(chinese_characters(Random(1), 100))
    other = "".join(chinese_characters(Random(2), 100))
    found = find_clusters(
        {"a": signed([other, text, "短"]), "b": signed([text + "。", "短", other])}, folder=tmp_path
    )
    assert found.rows() == [
        ("a", 0, 0, 0),
        ("a", 1, 1, 1),
        ("a", 2, 2, 2),
        ("b", 0, 3, 1),
        ("b", 1, 4, 2),
        ("b", 2, 5, 0),
    ]


def test_what_is_not_included_and_what_has_no_letters_is_in_no_cluster(tmp_path: Path) -> None:
    text = "".join(chinese_characters(Random(1), 100))
    source = signed(
        [text, text, text, "", "", None, None, "。", "！"], included=[True, False, True] + [True] * 6
    )
    found = find_clusters({"a": source}, folder=tmp_path)
    assert found.select("row", "cluster").rows() == [(0, 0), (2, 0)]
    with pytest.raises(ValueError, match="a: 1 flags for 2 documents"):
        find_clusters({"a": signed(["x", "y"], included=[True])}, folder=tmp_path)


def test_no_documents_and_one(tmp_path: Path) -> None:
    for sources in ({}, {"a": signed([])}, {"a": signed(["咳嗽"])}, {"a": signed([]), "b": signed(["咳嗽"])}):
        found = find_clusters(sources, folder=tmp_path)
        assert found.columns == ["source", "row", "position", "cluster"]
        assert not found.height


def test_one_repeated_character(tmp_path: Path) -> None:
    found = find_clusters({"a": signed(["啊" * 10, "啊" * 9000, "哦" * 10, "啊哦" * 10])}, folder=tmp_path)
    assert found["row"].to_list() == [0, 1]


def test_a_great_many_copies_are_one_cluster_in_linear_time(tmp_path: Path) -> None:
    text = "".join(chinese_characters(Random(1), 50))
    found = find_clusters({"a": signed([text] * 60_000)}, folder=tmp_path)
    assert found.height == 60_000
    assert found["cluster"].unique().to_list() == [0]


def test_a_template_with_more_documents_than_the_window_still_has_its_duplicates_found(
    tmp_path: Path,
) -> None:
    random = Random(3)
    template = chinese_characters(random, 60)
    bodies = [chinese_characters(random, 40) for _ in range(400)]
    texts = ["".join(template + body) for body in bodies]
    copies = [text[:-1] + "。" + text[-1] + "好" for text in texts[:100]]
    config = NearDuplicateConfig(bucket_window=16)
    found = find_clusters({"a": signed(texts + copies)}, folder=tmp_path, config=config)
    groups = partition(found, range(500))
    assert sum(frozenset((number, 400 + number)) in groups for number in range(100)) >= 95


@pytest.mark.parametrize("similarity", [0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 1.0])
def test_bands_give_recall_at_any_threshold(similarity: float) -> None:
    config = NearDuplicateConfig(similarity=similarity)
    bands = config.bands()
    assert bands.number * bands.rows <= 60
    assert 1 - (1 - similarity**bands.rows) ** bands.number >= 0.98
    low, high = config.borderline()
    assert low <= similarity * 60 <= high <= 60


def test_pairs_around_the_threshold_are_written_once_and_obvious_ones_not_at_all(tmp_path: Path) -> None:
    pairs = plant(8, 60, english=False, levels=(0.3, 0.8, 0.99))
    source = signed([text for pair in pairs for text in (pair.one, pair.other)])
    parents = np.arange(120, dtype=np.int32)
    config = NearDuplicateConfig()
    found = np.concatenate(
        list(
            candidate_pairs(source.signatures, parents, folder=tmp_path, config=config, partition_entries=50)
        )
    )
    written = {(int(one), int(other)) for one, other in found}
    assert len(written) == len(found)
    assert all(0.6 < pairs[one // 2].similarity < 0.97 for one, _ in written)
    near = {
        (2 * number, 2 * number + 1) for number, pair in enumerate(pairs) if 0.76 < pair.similarity < 0.85
    }
    assert len(near & written) >= 0.8 * len(near) > 10
    clear = [number for number, pair in enumerate(pairs) if pair.similarity > 0.97]
    assert clear
    assert all(parents[2 * number] == parents[2 * number + 1] for number in clear)


def test_long_sets_are_compared_on_their_smallest_hashes(tmp_path: Path) -> None:
    random = Random(6)
    base = chinese_characters(random, 6000)
    copies = [edited(base, level, random, chinese_characters) for level in (0.75, 0.85)]
    frame = pl.LazyFrame({"text": ["".join(text) for text in (base, *copies)], "lang": ["zh"] * 3})
    expected = [jaccard(base, copy) for copy in copies]
    pairs = np.array([[0, 1], [0, 2]])
    for most, error in ((256, 0.1), (10_000, 1e-12)):
        config = NearDuplicateConfig(shingles_compared=most)
        sketches = write_sketches({"a": frame}, {"a": 0}, np.arange(3), folder=tmp_path, config=config)
        assert sketches.path.stat().st_size <= 4 * 3 * most
        assert np.abs(measure(sketches, pairs, config=config) - expected).max() < error


def test_documents_that_shrank_since_they_were_signed_are_noticed(tmp_path: Path) -> None:
    [pair] = plant(8, 1, english=False, levels=(0.8,))
    source = signed([pair.one, pair.other])
    shorter = SignedDocuments(source.signatures, source.documents.head(1))
    with pytest.raises(RuntimeError, match="changed since their signatures"):
        find_clusters({"a": shorter}, folder=tmp_path)


def test_clusters_of_stored_signatures_are_those_of_computed_ones(tmp_path: Path) -> None:
    pairs = plant(8, 40, english=True, levels=(0.7, 0.85))
    source = signed([text for pair in pairs for text in (pair.one, pair.other)], "en")
    expected = find_clusters({"a": source}, folder=tmp_path)
    assert expected.height
    built = build_signatures("a", source.documents, inputs={}, lake=Lake(tmp_path))
    flags = np.ones(80, bool)
    stored = SignedDocuments(built.dataset, source.documents, flags)
    assert find_clusters({"a": stored}, folder=tmp_path).equals(expected)
    flags[:] = False
    assert find_clusters({"a": stored}, folder=tmp_path).is_empty()


def test_a_full_disk_is_named_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    pairs = plant(8, 4, english=False, levels=(0.8,))
    source = signed([text for pair in pairs for text in (pair.one, pair.other)])
    monkeypatch.setattr("medpipe.curate.near_duplicates.clusters.unite_equal", full)
    with pytest.raises(DiskFullError, match="Free some space"):
        find_clusters({"a": source}, folder=tmp_path)
    assert not list(tmp_path.iterdir())

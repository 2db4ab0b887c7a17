"""Reading documents in bounded batches, and a sample of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from medpipe.lake import parquet
from medpipe.lake.layout import Lake
from medpipe.records.kinds import Domain
from medpipe.tokens.documents import documents_of
from medpipe_tests.making import article
from medpipe_tests.tokens.documents import Text, publish_documents


def test_the_sample_comes_from_all_over_the_source_however_long_the_first_text_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "ROW_GROUP_ROWS", 500)
    long = Text(article(1) * 8_000)
    assert len(long.text.encode()) > 900_000
    texts = [long, *(Text(f"{n}。{article(n)}") for n in range(2, 5_000)), Text("罕见。", domain="tcm")]
    documents = publish_documents(Lake(tmp_path), texts)
    found = documents_of(documents, "texts", Domain.DISEASE).sample(places=8, size=400_000)
    assert found[0] and long.text.startswith(found[0])
    assert 50_000 < sum(len(text.encode()) for text in found) < 500_000
    numbers = [int(text.split("。")[0]) for text in found[1:]]
    assert max(numbers) > 4_000 and numbers == sorted(numbers)
    assert documents_of(documents, "texts", Domain.TCM).sample(places=8, size=400_000) == ["罕见。"]
    assert documents_of(documents, "texts", Domain.GENERAL).sample(places=8, size=400_000) == []
    alone = publish_documents(Lake(tmp_path / "alone"), [long])
    (only,) = documents_of(alone, "texts", Domain.DISEASE).sample(places=8, size=400_000)
    assert only

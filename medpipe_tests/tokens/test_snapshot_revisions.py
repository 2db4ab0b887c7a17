"""A snapshot states the revisions that its documents were made of."""

from __future__ import annotations

from pathlib import Path

from medpipe.lake.dataset import Dataset, current, publish
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import Recipe
from medpipe.tokens.snapshot import revisions_of


def make(lake: Lake, *names: str, digest: str | None = None, **inputs: str) -> Dataset:
    with publish(lake, *names, recipe=Recipe(inputs=inputs, code_version="1"), digest=digest) as draft:
        (draft.path / "f").write_text(str(inputs or digest))
    return draft.dataset


def test_what_came_in_meanwhile_is_not_stated(tmp_path: Path) -> None:
    """A person accepts a held revision, or another run fetches one, before this run makes its snapshot."""
    lake = Lake(tmp_path)
    old, new = "1" * 40, "2" * 40
    make(lake, "raw", "guide", digest=old)
    records = make(lake, "normalized", "guide", raw=old)
    documents = make(lake, "corpus", "documents", guide=records.digest)
    make(lake, "raw", "guide", digest=new)
    make(lake, "normalized", "guide", raw=new)
    assert current(lake, "raw", "guide").digest == new
    assert revisions_of(documents, lake, ["guide", "nobody"]) == {"guide": old}

"""What a stage may read: the shards of a corpus snapshot, known by their manifests alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from medpipe.lake.layout import Lake
from medpipe.lake.manifest import ManifestError, read_manifest
from medpipe.pretrain.plan import MixtureEntry
from medpipe.records.kinds import Domain, Split, Tier
from medpipe.tokens.config import TokenizerConfig

if TYPE_CHECKING:
    from medpipe.tokens.snapshot import CorpusSnapshot


@dataclass(frozen=True, kw_only=True)
class ShardInfo:
    """One token file of a shard data set."""

    domain: Domain
    source: str
    digest: str
    """Digest of the shard data set."""
    name: str
    """File name without suffix, such as `00000`."""
    split: Split
    tier: Tier
    documents: int
    tokens: int
    """Tokens with the `<eos>` after each document."""
    text_bytes: int
    """UTF-8 bytes of the texts."""

    @property
    def key(self) -> str:
        """Name of the file within the lake's shards."""
        return f"{self.domain.value}/{self.source}/{self.digest}/{self.name}"

    def folder(self, lake: Lake) -> Path:
        """Folder of the shard data set."""
        return lake.dataset("shards", self.domain.value, self.source, digest=self.digest)

    def matches(self, entry: MixtureEntry) -> bool:
        """Whether a mixture entry asks for this file."""
        return (
            self.domain == entry.domain
            and entry.source in (None, self.source)
            and entry.tier in (None, self.tier)
        )


@dataclass(frozen=True, kw_only=True)
class TokenizerInfo:
    """The tokenizer of a snapshot."""

    folder: Path
    digest: str
    vocabulary_size: int
    eos_id: int
    pad_id: int | None

    @property
    def path(self) -> Path:
        """The tokenizer file."""
        return self.folder / "tokenizer.json"


def tokenizer_info(lake: Lake, snapshot: CorpusSnapshot) -> TokenizerInfo:
    """Facts of a snapshot's tokenizer.

    Raises:
        ManifestError: it is not in the lake.
    """
    name, digest = snapshot.tokenizer.name, snapshot.tokenizer.digest
    folder = lake.dataset("tokenizer", name, digest=digest)
    facts = read_manifest(folder).facts
    return TokenizerInfo(
        folder=folder,
        digest=digest,
        vocabulary_size=int(facts["vocabulary_size"]),
        eos_id=int(facts["eos_id"]),
        pad_id=None if facts.get("pad_id") is None else int(facts["pad_id"]),
    )


def tokenizer_differences(tokenizer: TokenizerInfo, config: TokenizerConfig) -> list[str]:
    """What a plan asks of its tokenizer and the snapshot's does not have, each with the fix."""
    made_with = read_manifest(tokenizer.folder).recipe.config
    differing = [
        f"{name} {made_with[name]} (the plan says {wanted})"
        for name, wanted in config.recipe.items()
        if name in made_with and made_with[name] != wanted
    ]
    if not differing:
        return []
    return [
        f"the snapshot's tokenizer was made with {', '.join(differing)}; set MEDPIPE_PLAN to this plan and "
        "materialise tokenizer, shards and snapshot, or change the plan's tokenizer"
    ]


def list_shards(lake: Lake, snapshot: CorpusSnapshot) -> tuple[list[ShardInfo], list[str]]:
    """All non-empty token files of a snapshot, in a fixed order, and what is wrong with them.

    Returns:
        The files by (domain, source, name), and one line a problem: a data set that is not in the lake,
        or that was encoded with another tokenizer than the snapshot's.
    """
    shards: list[ShardInfo] = []
    problems: list[str] = []
    for ref in snapshot.shards:
        folder = lake.dataset("shards", ref.domain, ref.source, digest=ref.digest)
        try:
            facts = read_manifest(folder).facts
        except ManifestError as error:
            problems.append(str(error))
            continue
        if facts["tokenizer"] != snapshot.tokenizer.digest:
            problems.append(
                f"shards/{ref.domain}/{ref.source} were encoded with tokenizer {facts['tokenizer']}, the "
                f"snapshot names {snapshot.tokenizer.digest}; materialise shards/{ref.domain} again"
            )
            continue
        shards += [
            ShardInfo(
                domain=Domain(ref.domain),
                source=ref.source,
                digest=ref.digest,
                name=str(fact["name"]),
                split=Split(fact["split"]),
                tier=Tier(fact["tier"]),
                documents=int(fact["documents"]),
                tokens=int(fact["tokens"]),
                text_bytes=int(fact["text_bytes"]),
            )
            for fact in facts["shards"]
            if int(fact["tokens"]) > 0
        ]
    return sorted(shards, key=lambda shard: (shard.domain, shard.source, shard.name)), problems


def of_split(shards: Iterable[ShardInfo], split: Split) -> tuple[ShardInfo, ...]:
    """The token files of one split."""
    return tuple(shard for shard in shards if shard.split == split)

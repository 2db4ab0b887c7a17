"""What a person may change of the shards, in Dagster's form."""

from pydantic import Field

from medpipe.asset_metadata import Rebuild
from medpipe.tokens.config import ShardConfig


class ShardSettings(Rebuild):
    """What a person may change of shards; the next build without it is cut by the defaults again."""

    max_tokens_per_shard: int = Field(default=ShardConfig().max_tokens_per_shard)
    """A shard is closed before a document that would exceed it."""
    min_text_bytes: int = Field(default=ShardConfig().min_text_bytes)
    """Shards are also cut where documents themselves say so, once they hold so much text."""

    def cuts(self) -> ShardConfig:
        """The settings of the build.

        Raises:
            ValueError: a setting is wrong; says which, and what it may be.
        """
        return ShardConfig.model_validate(self.model_dump(exclude={"force"}))

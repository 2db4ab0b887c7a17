"""The form of the corpus assets: what a person may change of curation."""

from typing import TYPE_CHECKING, Any

from pydantic import Field

from medpipe.asset_metadata import Rebuild
from medpipe.curate.contamination.config import ContaminationConfig
from medpipe.curate.defaults import (
    MINIMUM_CHARACTERS,
    MINIMUM_DOCUMENTS,
    PASSAGE_CHARACTERS,
    PASSAGE_DOCUMENTS,
    PASSAGE_SHARE,
    VALIDATION_SHARE,
)
from medpipe.curate.licences import LicencePurpose
from medpipe.curate.near_duplicates.config import NearDuplicateConfig

if TYPE_CHECKING:
    from medpipe.curate.config import CurateConfig


class CorpusConfig(Rebuild):
    """What a person may change of curation."""

    validation_share: float = Field(default=VALIDATION_SHARE)
    """Share of documents held out, chosen by key."""
    minimum_documents: int = Field(default=MINIMUM_DOCUMENTS)
    """A domain with this many records has at least one held-out record."""
    minimum_characters: int = Field(default=MINIMUM_CHARACTERS)
    """Shorter texts are rejected; characters other than spaces."""
    filters: dict[str, Any] = Field(default={})
    """Changes to filters, by rule: `off`, `tier` (it rejects nothing), a number (another limit to drop), or
    by language a number or `{drop: …, refine: …}`; by group of rules: `off`. The card lists all rules."""
    bad_words: list[str] = Field(default=[])
    """Texts with one of these are rejected."""
    near_duplicates: bool = Field(default=True)
    """Whether only the best of near-duplicates stays."""
    similarity: float = Field(default=NearDuplicateConfig().similarity)
    """Texts that share so much of their n-grams (Jaccard) are near-duplicates."""
    contamination: bool = Field(default=True)
    """Whether texts that repeat exam items are left out."""
    exam_characters: int = Field(default=ContaminationConfig().characters)
    """A Chinese text repeats an item if it shares so many characters in a row with it."""
    exam_words: int = Field(default=ContaminationConfig().words)
    """Any other text, if it shares so many words in a row."""
    privacy: bool = Field(default=True)
    """Whether personal data is replaced."""
    privacy_rules: list[str] = Field(default=[])
    """Versioned names of the privacy rules to apply; all if empty."""
    repeated_passages: bool = Field(default=False)
    """Whether boilerplate is taken out of documents; the facts of the data set show what it was."""
    passage_characters: int = Field(default=PASSAGE_CHARACTERS)
    """Least number of letters of a line or sentence that is boilerplate."""
    passage_documents: int = Field(default=PASSAGE_DOCUMENTS)
    """It stands in more documents of a source than this,"""
    passage_share: float = Field(default=PASSAGE_SHARE)
    """and in a larger share of them than this."""
    licence_purpose: str = Field(default=LicencePurpose.RESEARCH.value)
    """What the corpus is for: `research` or `commercial`; a source that it does not allow stops the build."""
    allow_licences: list[str] = Field(default=[])
    """Licences, as the catalog states them, that you have cleared for the purpose."""
    accepted_sources: list[str] = Field(default=[])
    """Ids of sources whose terms you have cleared for the purpose."""

    def curation(self, purpose: str | None = None) -> "CurateConfig":
        """The settings of the build.

        Args:
            purpose: what the corpus is for, where the run's form says so.

        Raises:
            ValueError: a setting is wrong; says which, and what it may be.
        """
        from medpipe.curate.form import curation_of

        chosen = {} if purpose is None else {"licence_purpose": purpose}
        return curation_of(self.model_dump(exclude={"force"}) | chosen)

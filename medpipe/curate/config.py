"""Settings of the corpus."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from medpipe.curate.contamination.config import ContaminationConfig
from medpipe.curate.defaults import MINIMUM_CHARACTERS, MINIMUM_DOCUMENTS, VALIDATION_SHARE
from medpipe.curate.filters.config import FilterConfig
from medpipe.curate.licences import LicenceConfig
from medpipe.curate.near_duplicates.config import NearDuplicateConfig
from medpipe.curate.privacy.config import PrivacyConfig
from medpipe.curate.repeated_passages import RepeatedPassagesConfig


class CurateConfig(BaseModel):
    """What a person can set about the corpus; every field changes its content, or its card."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    validation_share: float = Field(default=VALIDATION_SHARE, ge=0, lt=1)
    """Share of the groups of equal and similar records that is held out, beside what publishers hold out."""
    minimum_documents: int = Field(default=MINIMUM_DOCUMENTS, ge=2)
    """A domain with this many records has at least one held-out record."""
    minimum_characters: int = Field(default=MINIMUM_CHARACTERS, ge=1)
    """Records with fewer characters, spaces not counted, are rejected as `too_short`."""
    filters: FilterConfig = FilterConfig()
    """Rules for documents and conversations."""
    near_duplicates: NearDuplicateConfig | None = NearDuplicateConfig()
    """When two records are near-duplicates; null leaves them all."""
    contamination: ContaminationConfig | None = ContaminationConfig()
    """How much of an exam a record may repeat; null looks for none."""
    repeated_passages: RepeatedPassagesConfig | None = None
    """When a passage of documents is boilerplate and taken out; null leaves all. Off by default: among what
    forums and models repeat there is medical advice, too; read what is found before it is switched on."""
    privacy: PrivacyConfig | None = PrivacyConfig()
    """Which personal data is replaced; null replaces none."""
    licences: LicenceConfig = LicenceConfig()
    """What the corpus is for; it stands on the data card."""

"""The keys of LLaMA-Factory's `dataset_info.json`, with its loader's defaults."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from medpipe.catalog.source import Use
from medpipe.records.kinds import Domain, Language


def _empty_is_unset(value: Any) -> Any:
    return None if value == "" else value


Name = Annotated[str | None, BeforeValidator(_empty_is_unset)]
Sha1 = Annotated[str | None, Field(pattern=r"^[0-9a-fA-F]{40}$"), BeforeValidator(_empty_is_unset)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Columns(_Part):
    """Names of a data set's columns."""

    prompt: Name = None
    query: Name = None
    response: Name = None
    history: Name = None
    messages: Name = None
    system: Name = None
    tools: Name = None
    images: Name = None
    videos: Name = None
    audios: Name = None
    chosen: Name = None
    rejected: Name = None
    kto_tag: Name = None


class Tags(_Part):
    """Names of a message's fields and of the roles."""

    role_tag: Name = None
    content_tag: Name = None
    user_tag: Name = None
    assistant_tag: Name = None
    observation_tag: Name = None
    function_tag: Name = None
    system_tag: Name = None


class Extension(_Part):
    """What LLaMA-Factory has no key for, in an object `medpipe` that it passes over."""

    language: Language = Language.ZH
    domain: Domain = Domain.DIALOGUE
    licence: str | None = None
    uses: tuple[Use, ...] | None = None
    """By the layout if unset."""


class DatasetInfo(_Part):
    """One data set of a registry.

    What the classes `Columns` and `Tags` default to holds where the registry gives the object; what is
    below holds where it gives none. The loader has the same two sets of defaults, for every formatting.
    """

    hf_hub_url: Name = None
    ms_hub_url: Name = None
    om_hub_url: Name = None
    script_url: Name = None
    cloud_file_name: Name = None
    file_name: Name = None
    file_sha1: Sha1 = None
    formatting: Literal["alpaca", "sharegpt", "openai"] = "alpaca"
    ranking: bool = False
    subset: Name = None
    split: str = "train"
    folder: Name = None
    num_samples: int | None = Field(default=None, ge=1)
    revision: Name = None
    """Known to some versions of the loader."""
    columns: Columns = Columns(
        prompt="instruction", query="input", response="output", messages="conversations"
    )
    tags: Tags = Tags(
        role_tag="from",
        content_tag="value",
        user_tag="human",
        assistant_tag="gpt",
        observation_tag="observation",
        function_tag="function_call",
        system_tag="system",
    )
    medpipe: Extension = Extension()

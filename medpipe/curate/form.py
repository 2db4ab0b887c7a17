"""The settings of the corpus as a person fills them in, plain values by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from medpipe.curate.config import CurateConfig
from medpipe.curate.contamination.config import ContaminationConfig
from medpipe.curate.filters.config import filters_of
from medpipe.curate.licences import LicenceConfig
from medpipe.curate.near_duplicates.config import NearDuplicateConfig
from medpipe.curate.privacy.config import PrivacyConfig
from medpipe.curate.repeated_passages import RepeatedPassagesConfig

Model = TypeVar("Model", bound=BaseModel)


def curation_of(form: Mapping[str, Any]) -> CurateConfig:
    """The settings of a build.

    Args:
        form: the fields of the asset's config; what is left out keeps its default.

    Raises:
        ValueError: a value is wrong, or a rule, a language or a purpose does not exist; names the field as it
            stands in the form, and what it may be.
    """
    given = dict(form)
    characters, words = given.get("exam_characters"), given.get("exam_words")
    defaults = ContaminationConfig()
    shorter: dict[str, Any] = {}
    # Whole items are looked for if they are shorter than an n-gram, so never longer ones.
    if isinstance(characters, int) and characters < defaults.short_characters:
        shorter["short_characters"] = characters
    if isinstance(words, int) and words < defaults.short_words:
        shorter["short_words"] = words
    return _made(
        CurateConfig,
        _chosen(given, "validation_share", "minimum_documents", "minimum_characters")
        | {
            "filters": filters_of(given.get("filters", {}), bad_words=given.get("bad_words", ())),
            "near_duplicates": _made(NearDuplicateConfig, _chosen(given, "similarity"))
            if given.get("near_duplicates", True)
            else None,
            "contamination": _made(
                ContaminationConfig,
                _chosen(given, characters="exam_characters", words="exam_words") | shorter,
                characters="exam_characters",
                words="exam_words",
            )
            if given.get("contamination", True)
            else None,
            "privacy": _made(
                PrivacyConfig, {"rules": tuple(given.get("privacy_rules", ())) or None}, rules="privacy_rules"
            )
            if given.get("privacy", True)
            else None,
            "repeated_passages": _made(
                RepeatedPassagesConfig,
                _chosen(
                    given,
                    minimum_characters="passage_characters",
                    maximum_documents="passage_documents",
                    maximum_share="passage_share",
                ),
                minimum_characters="passage_characters",
                maximum_documents="passage_documents",
                maximum_share="passage_share",
            )
            if given.get("repeated_passages", False)
            else None,
            "licences": _made(
                LicenceConfig,
                _chosen(given, "allow_licences", "accepted_sources", purpose="licence_purpose"),
                purpose="licence_purpose",
            ),
        },
    )


def _chosen(form: Mapping[str, Any], *same: str, **renamed: str) -> dict[str, Any]:
    """What the form says of a model's fields, by the field's name."""
    names = {name: name for name in same} | renamed
    return {field: form[name] for field, name in names.items() if name in form}


def _made(model: type[Model], values: Mapping[str, Any], **names: str) -> Model:
    """The model; its mistakes are told by the names of the form, one a line."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        said = []
        for mistake in error.errors(include_url=False):
            where = ".".join(map(str, mistake["loc"]))
            shown = names.get(where, where)
            message = mistake["msg"].removeprefix("Value error, ")
            value = "" if isinstance(mistake["input"], Mapping) else f" is {mistake['input']!r}"
            said.append(f"{shown}{value}: {message}" if shown else message)
        raise ValueError("\n".join(said)) from None

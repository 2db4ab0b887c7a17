"""The principles of use: which uses of a genre are warned of, and what 'under control' means."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from medpipe.catalog.load import builtin_sources
from medpipe.catalog.principles import PRINCIPLES, is_under_control, use_warnings
from medpipe.catalog.source import Genre, Source, Use


def source(genre: Genre | None, *uses: Use, **more: Any) -> Source:
    """An entry; its uses are set afterwards, since no layout gives records for all of them."""
    entry = Source.model_validate(
        {
            "id": "mine",
            "title": "Mine",
            "description": "Records.",
            "folder": "records",
            "files": [{"domain": "general"}],
            "layout": {"layout": "text"},
            "language": "en",
            "licence": {},
            "genre": genre,
            "uses": ["evaluation"],
            **more,
        }
    )
    return entry.model_copy(update={"uses": uses})


def test_each_use_of_each_genre_is_either_allowed_or_warned_of() -> None:
    assert set(PRINCIPLES) == set(Genre)
    for genre, principle in PRINCIPLES.items():
        assert set(principle.allowed).isdisjoint(principle.warned), genre
        assert {*principle.allowed, *principle.warned} == set(Use), genre


@pytest.mark.parametrize("genre", [Genre.LITERATURE, Genre.ENCYCLOPEDIA, Genre.TEXTBOOK, Genre.DIALOGUE])
def test_knowledge_is_for_pretraining_and_finetuning(genre: Genre) -> None:
    assert use_warnings(source(genre, Use.PRETRAINING, Use.FINETUNING)) == ()


@pytest.mark.parametrize("genre", [Genre.EXAM, Genre.EXTRACTION])
def test_exams_and_annotations_are_warned_of_in_pretraining_only(genre: Genre) -> None:
    assert use_warnings(source(genre, Use.FINETUNING, Use.EVALUATION)) == ()
    (warning,) = use_warnings(source(genre, Use.EVALUATION, Use.PRETRAINING))
    assert warning.startswith("mine: 'pretraining' is a doubtful use")
    assert "take 'pretraining' out of its 'uses'" in warning
    assert "finetuning" in warning.partition("are for ")[2]


def test_preferences_are_for_reward_models() -> None:
    assert use_warnings(source(Genre.PREFERENCE, Use.REWARD)) == ()
    assert len(use_warnings(source(Genre.PREFERENCE, Use.PRETRAINING, Use.FINETUNING, Use.REWARD))) == 2


def test_clinical_records_are_warned_of_until_they_are_under_control() -> None:
    ungated = source(Genre.CLINICAL_RECORD, Use.FINETUNING)
    gated = source(Genre.CLINICAL_RECORD, Use.FINETUNING, gated=True)
    accepted = source(Genre.CLINICAL_RECORD, Use.PRETRAINING, Use.FINETUNING, gated=True, accept_terms=True)
    assert [is_under_control(each) for each in (ungated, gated, accepted)] == [False, False, True]
    (warning,) = use_warnings(ungated)
    assert warning.startswith("mine: clinical records") and "'gated: true'" in warning
    (warning,) = use_warnings(gated)
    assert "finetuning" in warning and "`medpipe sources enable mine --accept-terms`" in warning
    assert use_warnings(accepted) == ()


@pytest.mark.parametrize("status", ["listed", "excluded"])
@pytest.mark.parametrize("gated", [True, False])
def test_no_command_is_told_for_records_that_are_never_fetched(status: str, gated: bool) -> None:
    more = {"status": status, "status_note": "no file was seen", "gated": gated}
    (warning,) = use_warnings(source(Genre.CLINICAL_RECORD, Use.FINETUNING, **more))
    assert f"as it is {status} and never fetched" in warning
    assert "medpipe sources" not in warning and "gated: true" not in warning


def test_all_that_a_manual_set_needs_is_told_in_one_command() -> None:
    more = {"status": "manual", "page": "https://example.org", "gated": True, "folder": None}
    (warning,) = use_warnings(source(Genre.CLINICAL_RECORD, Use.FINETUNING, **more))
    assert "`medpipe sources enable mine --folder DIR --accept-terms`" in warning


def test_accepted_terms_of_a_set_without_a_gate_are_no_control() -> None:
    assert use_warnings(source(Genre.CLINICAL_RECORD, Use.EVALUATION, accept_terms=True))


def test_a_source_of_no_genre_is_not_judged() -> None:
    assert use_warnings(source(None, *Use)) == ()


def test_the_catalog_keeps_to_its_own_principles() -> None:
    warned = {entry.id for entry in builtin_sources() if use_warnings(entry)}
    clinical = {entry.id for entry in builtin_sources() if entry.genre is Genre.CLINICAL_RECORD}
    assert warned == clinical
    assert clinical >= {"mimic_iii", "mimic_iv", "mimic_cxr"}


def test_the_principles_cost_the_code_location_next_to_nothing() -> None:
    script = "import sys, medpipe.catalog.principles; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    heavy = {"torch", "datasets", "transformers", "dataframely", "pyarrow", "dagster"}
    assert not heavy & set(done.stdout.split())

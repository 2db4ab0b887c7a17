"""The jobs: what a person starts with one click, each with a short form of what people change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dagster as dg

from medpipe.asset_metadata import (
    CORPUS_GROUP,
    EVALUATION_GROUP,
    NORMALIZED_GROUP,
    PRETRAIN_GROUP,
    RAW_GROUP,
    TOKENS_GROUP,
)
from medpipe.catalog.source import Source
from medpipe.curate.licences import LicencePurpose
from medpipe.lake.layout import open_lake
from medpipe.pretrain.checks import CHECKPOINTS_INTACT, RESUME_IS_EXACT
from medpipe.pretrain.configured import chosen_settings, configured_plan, permitted_plans
from medpipe.pretrain.plan_parts import STAGES
from medpipe.run_form import ALL_SOURCES, RunForm
from medpipe.settings import NEWEST_SNAPSHOT, Settings
from medpipe.tokens.checks import DATA_INTACT

DATA_GROUPS = (RAW_GROUP, NORMALIZED_GROUP, CORPUS_GROUP, TOKENS_GROUP)
TRAINING_GROUPS = (PRETRAIN_GROUP, EVALUATION_GROUP)

ON_REQUEST = (DATA_INTACT, CHECKPOINTS_INTACT, RESUME_IS_EXACT)
"""Checks that read or train everything again: in the job `verify` and by their own button only."""

REFRESH, PRETRAIN, FULL, VERIFY = "refresh_corpus", "pretrain_curriculum", "full_pipeline", "verify"
"""Names of the jobs."""

_MOST_SNAPSHOTS_NAMED = 10

_RETRY_CRASHED_RUNS = {
    "dagster/max_retries": "3",
    "dagster/retry_strategy": "FROM_FAILURE",
    "dagster/retry_on_asset_or_op_failure": "false",
}

_PASSED_ON = ("ops", "execution", "loggers")
"""Parts of Dagster's own run config that a form may hold, too: settings of single steps."""


def build_jobs(settings: Settings, sources: Sequence[Source]) -> list[Any]:
    """The four jobs of an installation.

    Args:
        settings: what the forms are filled in with.
        sources: the enabled sources; the forms offer them.
    """
    fields = _form_fields(settings, sources)
    on_request = dg.AssetSelection.checks(*ON_REQUEST)
    return [
        dg.define_asset_job(
            REFRESH,
            selection=dg.AssetSelection.groups(*DATA_GROUPS) - on_request,
            description="Asks for the sources' newest revisions and makes shards and a corpus snapshot of "
            "them; what did not change is reused. Trains nothing.",
            config=_form(settings, sources=fields["sources"], purpose=fields["purpose"], plan=fields["plan"]),
        ),
        dg.define_asset_job(
            PRETRAIN,
            selection=dg.AssetSelection.groups(*TRAINING_GROUPS) - on_request,
            description="The four stages on the newest corpus snapshot or one that the form names, then the "
            "evaluation; a finished stage is reused, a stopped one resumes.",
            tags=_RETRY_CRASHED_RUNS,
            config=_form(settings, **_training_fields(fields), snapshot=_snapshot_field(settings)),
        ),
        dg.define_asset_job(
            FULL,
            selection=dg.AssetSelection.all() - on_request,
            description="Everything from the sources to the registered model. Sources keep their commits "
            "unless the form says otherwise; what did not change is reused.",
            tags=_RETRY_CRASHED_RUNS,
            config=_form(settings, **(fields | {"sources": _sources_field(sources, default=[])})),
        ),
        dg.define_asset_job(
            VERIFY,
            selection=on_request,
            description="Reads every file of the current corpus and every checkpoint again and compares the "
            "checksums; by a switch also proves exact resume, which trains the plan twice.",
            config=_verify_form(settings, fields["plan"]),
        ),
    ]


def _training_fields(fields: dict[str, dg.Field]) -> dict[str, dg.Field]:
    return {name: fields[name] for name in ("plan", "token_budget", "start_from")}


def _snapshot_field(settings: Settings) -> dg.Field:
    """Names a snapshot as a text: each refresh makes a new one, which a list of choices would not have."""
    from medpipe.tokens.snapshot_names import newest_names

    description = RunForm.model_fields["snapshot"].description or ""
    if names := newest_names(open_lake(settings), most=_MOST_SNAPSHOTS_NAMED):
        description += f" The newest when the graph was loaded: {', '.join(names)}."
    return dg.Field(
        dg.Noneable(str),
        default_value=None if settings.snapshot == NEWEST_SNAPSHOT else settings.snapshot,
        is_required=False,
        description=description,
    )


def _form_fields(settings: Settings, sources: Sequence[Source]) -> dict[str, dg.Field]:
    """The fields of the forms; choices among known names are offered by the launchpad."""
    described = {name: field.description or "" for name, field in RunForm.model_fields.items()}
    plans, purposes = permitted_plans(settings), [purpose.value for purpose in LicencePurpose]
    return {
        "plan": dg.Field(
            _choice("Plan", list(plans)),
            default_value=settings.plan,
            is_required=False,
            description=_with_choices(described["plan"], list(plans)),
        ),
        "sources": _sources_field(sources, default=[ALL_SOURCES]),
        "purpose": dg.Field(
            _choice("Purpose", purposes),
            default_value=LicencePurpose.RESEARCH.value,
            is_required=False,
            description=_with_choices(described["purpose"], purposes),
        ),
        "token_budget": dg.Field(
            int,
            default_value=settings.token_budget or 0,
            is_required=False,
            description=described["token_budget"],
        ),
        "start_from": dg.Field(
            dg.Noneable(str),
            default_value=settings.start_from,
            is_required=False,
            description=described["start_from"],
        ),
    }


def _sources_field(sources: Sequence[Source], *, default: list[str]) -> dg.Field:
    choices = [ALL_SOURCES, *(source.id for source in sources)]
    return dg.Field(
        [_choice("EnabledSource", choices)],
        default_value=default,
        is_required=False,
        description=_with_choices(RunForm.model_fields["sources"].description or "", choices),
    )


def _with_choices(description: str, values: Sequence[str]) -> str:
    """The description with what may be chosen.

    Not for people alone: Dagster keeps config types by name and description, and would take the choices of
    another installation in the same process for these.
    """
    return f"{description} One of: {', '.join(values)}."


def _choice(name: str, values: Sequence[str]) -> dg.Enum:
    return dg.Enum(name, [dg.EnumValue(value) for value in values])


def _form(settings: Settings, **fields: dg.Field) -> dg.ConfigMapping:
    """A job's form: a few fields in the place of the settings of all its steps, which may be given, too."""

    def to_run_config(chosen: dict[str, Any]) -> dict[str, Any]:
        form = {name: chosen[name] for name in fields}
        if not form.get("token_budget", 1):
            del form["token_budget"]
        if form.get("purpose") == LicencePurpose.RESEARCH.value:
            del form["purpose"]  # the default of the corpus assets, which a step's own settings may change
        _refuse_what_cannot_run(settings, form)
        return {"resources": {"form": {"config": form}}, **_passed_on(chosen)}

    return dg.ConfigMapping(config_fn=to_run_config, config_schema={**fields, **_raw_config()})


def _verify_form(settings: Settings, plan: dg.Field) -> dg.ConfigMapping:
    fields = {
        "plan": plan,
        "prove_resume": dg.Field(
            bool,
            default_value=False,
            is_required=False,
            description="Train the plan straight and again with kills, and compare every byte. Takes more "
            "than twice the training time.",
        ),
        "until": dg.Field(
            _choice("Stage", STAGES),
            default_value=STAGES[-1],
            is_required=False,
            description="Last stage that the proof trains and compares.",
        ),
        "seed": dg.Field(
            dg.Noneable(int),
            default_value=None,
            is_required=False,
            description="Of the steps at which the proof kills; drawn if left out.",
        ),
    }

    def to_run_config(chosen: dict[str, Any]) -> dict[str, Any]:
        form = {"plan": chosen["plan"]}
        _refuse_what_cannot_run(settings, form)
        proof = {name: chosen[name] for name in ("until", "seed")} | {"asked_for": chosen["prove_resume"]}
        passed = _passed_on(chosen)
        ops = {RESUME_IS_EXACT.name: {"config": proof}, **passed.pop("ops", {})}
        return {"resources": {"form": {"config": form}}, "ops": ops, **passed}

    return dg.ConfigMapping(config_fn=to_run_config, config_schema={**fields, **_raw_config()})


def _raw_config() -> dict[str, dg.Field]:
    return {
        name: dg.Field(
            dg.Permissive(),  # type: ignore[no-untyped-call]
            is_required=False,
            description=f"Dagster's own `{name}` run config, for settings that the form does not have.",
        )
        for name in _PASSED_ON
    }


def _passed_on(chosen: dict[str, Any]) -> dict[str, Any]:
    given = {name: chosen[name] for name in _PASSED_ON if chosen.get(name)}
    # Without it a run would not write the one line a step that people read.
    return {"loggers": {"console": {}}, **given}


def _refuse_what_cannot_run(settings: Settings, form: dict[str, Any]) -> None:
    """Reads the plan as the form makes it, so that a mistake is told before anything starts.

    Raises:
        ValueError: the plan, the budget or the snapshot cannot be used; says why and what to do.
    """
    chosen = chosen_settings(RunForm(**form), settings)
    configured_plan(chosen)
    if form.get("snapshot") is not None:
        # Imported here: only a form that names a snapshot needs it.
        from medpipe.tokens.snapshot import read_snapshot

        read_snapshot(open_lake(settings), chosen.snapshot)

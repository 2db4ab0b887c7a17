"""Jobs and schedules: what a person starts with one click and what runs while nobody looks."""

from __future__ import annotations

from collections.abc import Sequence

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
from medpipe.pretrain.checks import RESUME_IS_EXACT

DATA_GROUPS = (RAW_GROUP, NORMALIZED_GROUP, CORPUS_GROUP, TOKENS_GROUP)
TRAINING_GROUPS = (PRETRAIN_GROUP, EVALUATION_GROUP)

_RETRY_CRASHED_RUNS = {
    "dagster/max_retries": "3",
    "dagster/retry_strategy": "FROM_FAILURE",
    "dagster/retry_on_asset_or_op_failure": "false",
}

_ON_REQUEST = dg.AssetSelection.checks(RESUME_IS_EXACT)
"""What trains by itself to prove something: in a job of its own only."""

refresh_corpus = dg.define_asset_job(
    "refresh_corpus",
    selection=dg.AssetSelection.groups(*DATA_GROUPS),
    description="From the sources to shards and a new corpus snapshot; unchanged parts are reused.",
)

pretrain_curriculum = dg.define_asset_job(
    "pretrain_curriculum",
    selection=dg.AssetSelection.groups(*TRAINING_GROUPS) - _ON_REQUEST,
    description="The four stages on the newest snapshot; a finished one is reused, a stopped one resumes.",
    tags=_RETRY_CRASHED_RUNS,
)

full_pipeline = dg.define_asset_job(
    "full_pipeline",
    selection=dg.AssetSelection.all() - _ON_REQUEST,
    description="Everything: sources, corpus, tokens, training, evaluation.",
    tags=_RETRY_CRASHED_RUNS,
)

verify_resume = dg.define_asset_job(
    "verify_resume",
    selection=_ON_REQUEST,
    description="The proof that a killed and resumed curriculum ends with the same bytes; trains it twice.",
)

JOBS = (refresh_corpus, pretrain_curriculum, full_pipeline, verify_resume)


def weekly_refresh(sources: Sequence[Source]) -> dg.ScheduleDefinition:
    """Asks the hub for newer revisions every Monday and rebuilds what changed; off until switched on."""
    ask_for_newer = {f"raw__{source.id}": {"config": {"refresh": True}} for source in sources}
    return dg.ScheduleDefinition(
        name="weekly_refresh",
        job=refresh_corpus,
        cron_schedule="0 3 * * 1",
        execution_timezone="Asia/Shanghai",
        run_config={"ops": ask_for_newer},
        description="Newer revisions of all enabled sources, every Monday at 03:00.",
    )

"""Jobs: what a person starts with one click."""

from __future__ import annotations

import dagster as dg

from medpipe.asset_metadata import (
    CORPUS_GROUP,
    EVALUATION_GROUP,
    NORMALIZED_GROUP,
    PRETRAIN_GROUP,
    RAW_GROUP,
    TOKENS_GROUP,
)
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

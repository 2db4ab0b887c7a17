"""The asset graph of one installation on one page: what each room offers, merged."""

from __future__ import annotations

import dagster as dg

from medpipe.automation import JOBS
from medpipe.catalog.selection import load_catalog
from medpipe.console import progress_logger
from medpipe.curate.assets import build_corpus_assets
from medpipe.evaluate.assets import build_evaluation_assets
from medpipe.ingest.assets import build_raw_asset
from medpipe.lake.layout import open_lake
from medpipe.normalize.assets import build_normalized_asset
from medpipe.pretrain.assets import build_stage_assets
from medpipe.pretrain.checks import build_resume_check
from medpipe.pretrain.configured import configured_plan
from medpipe.pretrain.plan import load_plan
from medpipe.pretrain.published_model import tokenizer_config
from medpipe.refresh.alerts import build_failure_sensor
from medpipe.refresh.freshness import with_freshness
from medpipe.refresh.jobs import automatic_refresh
from medpipe.refresh.schedule import build_weekly_refresh
from medpipe.refresh.sensor import build_refresh_sensor
from medpipe.settings import Settings
from medpipe.tokens.assets import build_token_assets

PRELOADED_MODULES = ["dagster", "dagster._core.executor.multiprocess", "sqlalchemy"]
"""Imported once by the fork server, so that a step does not pay for them again.

Nothing that starts threads: a step is forked from the server, where a pool's threads are gone and whatever
waits for them waits for ever. So neither Polars nor any module of medpipe, which could call it on import.
"""


def build_definitions(settings: Settings) -> dg.Definitions:
    """The asset graph of one installation.

    Raises:
        CatalogError: a catalog entry is wrong; every mistake is listed.
        PlanError: the stage plan is wrong; every mistake is listed.
        SettingsError: a folder that a setting names is not there.
    """
    catalog = load_catalog(settings)
    lake = open_lake(settings)
    sources = catalog.enabled
    plan = configured_plan(settings)
    # The tokenizer is that of the first run, whatever a refresh goes on from.
    first = plan if settings.start_from is None else load_plan(settings.plan)
    return dg.Definitions(
        assets=[
            *with_freshness(
                [build_raw_asset(source, settings=settings, lake=lake) for source in sources], settings
            ),
            *(build_normalized_asset(source, lake=lake) for source in sources),
            *build_corpus_assets(sources, catalog=catalog.sources, lake=lake),
            *with_freshness(
                build_token_assets(sources, tokenizer=tokenizer_config(first, lake), lake=lake), settings
            ),
            *build_stage_assets(plan, settings=settings, lake=lake),
            *build_evaluation_assets(plan, settings=settings, lake=lake),
        ],
        asset_checks=[build_resume_check(plan, lake=lake)],
        jobs=[*JOBS, automatic_refresh],
        schedules=[build_weekly_refresh(sources, settings=settings)],
        sensors=[
            build_refresh_sensor(sources, settings=settings, lake=lake),
            build_failure_sensor(settings),
        ],
        resources={"pipes": dg.PipesSubprocessClient(termination_timeout_seconds=120)},
        loggers={"console": progress_logger},
        executor=_executor(settings),
    )


def _executor(settings: Settings) -> dg.ExecutorDefinition:
    if settings.executor == "kubernetes":
        from dagster_k8s import k8s_job_executor

        chosen: dg.ExecutorDefinition = k8s_job_executor
        return chosen
    return dg.multiprocess_executor.configured(
        {"max_concurrent": 2, "start_method": {"forkserver": {"preload_modules": PRELOADED_MODULES}}}
    )

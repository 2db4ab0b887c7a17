"""The asset graph of one installation on one page: what each room offers, merged."""

from __future__ import annotations

import dagster as dg

from medpipe.asset_metadata import read_at, source_tags
from medpipe.automation import build_jobs
from medpipe.catalog.selection import load_catalog
from medpipe.console import progress_logger
from medpipe.curate.assets import build_corpus_assets
from medpipe.evaluate.assets import build_evaluation_assets
from medpipe.ingest.assets import build_raw_asset
from medpipe.lake.layout import open_lake
from medpipe.normalize.assets import build_normalized_asset
from medpipe.pretrain.assets import build_stage_assets
from medpipe.pretrain.checks import build_checkpoint_check, build_resume_check
from medpipe.pretrain.configured import chosen_settings, configured_plan
from medpipe.pretrain.plan import load_plan
from medpipe.pretrain.published_model import tokenizer_config
from medpipe.refresh.alerts import build_failure_sensor
from medpipe.refresh.freshness import with_freshness
from medpipe.refresh.jobs import automatic_refresh
from medpipe.refresh.schedule import build_weekly_refresh
from medpipe.refresh.sensor import build_refresh_sensor
from medpipe.run_form import RunForm
from medpipe.settings import Settings
from medpipe.tokens.assets import build_token_assets
from medpipe.tokens.checks import build_data_check
from medpipe.tokens.config import TokenizerConfig

PRELOADED_MODULES = ["dagster", "dagster._core.executor.multiprocess", "sqlalchemy"]
"""Imported once by the fork server, so that a step does not pay for them again.

Nothing that starts threads: a step is forked from the server, where a pool's threads are gone and whatever
waits for them waits for ever. So neither Polars nor any module of medpipe, which could call it on import.
"""


def _without_personal_data(texts: list[str]) -> list[str]:
    """Texts of a source as a page may show them that many people see."""
    from medpipe.curate.privacy.scrub import scrub_texts

    return scrub_texts(texts)


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

    tags = source_tags(source for source in sources if source.feeds_pretraining)

    def tokenizer_of(form: RunForm) -> TokenizerConfig:
        # That of the first run, whatever a refresh goes on from.
        return tokenizer_config(load_plan(chosen_settings(form, settings).plan), lake)

    assets = [
        *with_freshness(
            [
                build_raw_asset(source, settings=settings, lake=lake, mask=_without_personal_data)
                for source in sources
            ],
            settings,
        ),
        *(build_normalized_asset(source, lake=lake, mask=_without_personal_data) for source in sources),
        *build_corpus_assets(sources, catalog=catalog.sources, lake=lake),
        *with_freshness(
            build_token_assets(
                sources,
                tokenizer=tokenizer_of(RunForm()),
                lake=lake,
                tokenizer_of=tokenizer_of,
                mask=_without_personal_data,
            ),
            settings,
        ),
        *build_stage_assets(plan, settings=settings, lake=lake, tags=tags),
        *build_evaluation_assets(plan, settings=settings, lake=lake, tags=tags),
    ]
    return dg.Definitions(
        assets=assets if settings.code_url is None else read_at(assets, settings.code_url),
        asset_checks=[
            build_data_check(sources, lake=lake),
            build_checkpoint_check(plan, settings=settings, lake=lake),
            build_resume_check(plan, settings=settings, lake=lake),
        ],
        jobs=[*build_jobs(settings, sources), automatic_refresh],
        schedules=[build_weekly_refresh(sources, settings=settings)],
        sensors=[
            build_refresh_sensor(sources, settings=settings, lake=lake),
            build_failure_sensor(settings),
        ],
        resources={
            "pipes": dg.PipesSubprocessClient(termination_timeout_seconds=120),
            "form": RunForm.configure_at_launch(),
        },
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

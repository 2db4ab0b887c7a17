"""`evaluation/…`: what each checkpoint of the curriculum is worth in each domain, and the best one."""

from collections.abc import Iterator, Mapping

import dagster as dg

from medpipe.asset_metadata import (
    EVALUATION_GROUP,
    OWNERS,
    REUSED,
    Rebuild,
    code_link,
    dataset_metadata,
    facts_table,
    failure,
    picture,
    plain_failures,
    table_schema,
    tag_value,
)
from medpipe.evaluate import BITS_CURVE, CODE_VERSION, HEAT_MAP, LOSS_CURVE
from medpipe.evaluate.acceptance import CHECKS, TOLERANCE
from medpipe.lake.layout import Lake
from medpipe.pretrain.assets import stage_key
from medpipe.pretrain.configured import chosen_plan
from medpipe.pretrain.plan import STAGES, Plan
from medpipe.run_form import RunForm
from medpipe.settings import Settings
from medpipe.tracking.links import registered_name
from medpipe.tracking.store import TrackingError

BITS_PER_BYTE_KEY = dg.AssetKey(["evaluation", "bits_per_byte"])
REGISTERED_MODEL_KEY = dg.AssetKey(["evaluation", "registered_model"])
LEARNT = "learnt"
MOST_ROWS_SHOWN = 200
"""Rows of the matrix in the asset's metadata, the newest; the data set has all."""


class RegisterConfig(dg.Config):
    """When a checkpoint may take the place of the registered one."""

    tolerance: float = TOLERANCE
    """Bits per byte over all held-out text by which it may be worse."""


def build_evaluation_assets(
    plan: Plan, *, settings: Settings, lake: Lake, tags: Mapping[str, str] | None = None
) -> list[dg.AssetsDefinition]:
    """The matrix checkpoint x domain of one plan, and its best checkpoint in MLflow's registry.

    Args:
        plan: that of the installation.
        settings: the installation.
        lake: the lake.
        tags: languages, licences and domains of what the corpus is made of.
    """
    tags = {"plan": tag_value(plan.name), **(tags or {})}
    return [
        _matrix_asset(plan, settings=settings, lake=lake, tags=tags),
        _registered_asset(plan, settings=settings, lake=lake, tags=tags),
    ]


def _matrix_asset(
    plan: Plan, *, settings: Settings, lake: Lake, tags: Mapping[str, str]
) -> dg.AssetsDefinition:
    @dg.asset(
        key=BITS_PER_BYTE_KEY,
        deps=[stage_key(stage) for stage in STAGES],
        description=(
            "Bits per byte of each measured checkpoint on fixed byte windows of the validation split of "
            "every domain: lower is better, and tokenizers can be compared by it. With the curves of the "
            "whole curriculum. Stages that have not finished are shown as far as they have come."
        ),
        group_name=EVALUATION_GROUP,
        owners=OWNERS,
        kinds={"matplotlib", "mlflow"},
        tags=tags,
        metadata={
            "plan": plan.name,
            "unit": "bits per UTF-8 byte of text",
            **code_link(_matrix_asset),
        },
        code_version=CODE_VERSION,
        check_specs=[
            dg.AssetCheckSpec(
                LEARNT,
                asset=BITS_PER_BYTE_KEY,
                blocking=False,
                description="The last checkpoint needs fewer bits per byte over all than the first.",
            )
        ],
    )
    def bits_per_byte(
        context: dg.AssetExecutionContext, config: Rebuild, form: RunForm
    ) -> dg.MaterializeResult:
        from medpipe.evaluate.matrix import ALL, CHECKPOINT, has_learnt, measures_of
        from medpipe.evaluate.report import build_report, read_report
        from medpipe.pretrain.curriculum import compile_as_pinned, curriculum_digest
        from medpipe.tracking.runs import log_pictures

        with plain_failures():
            compiled = compile_as_pinned(chosen_plan(plan, form, settings), lake)
            built = build_report(compiled, lake=lake, force=config.force, say=context.log.info)
            report = read_report(built.dataset)
        if report.left_out:
            context.log.warning(
                f"measured on other held-out text and gone since, so not in the matrix: "
                f"{', '.join(report.left_out)}"
            )
        try:
            log_pictures(settings, curriculum_digest(compiled), report.pictures)
        except TrackingError as error:
            context.log.warning(f"the pictures are not in MLflow: {error}")
        matrix = report.matrix
        first, last = matrix[ALL][0], matrix[ALL][-1]
        learnt = has_learnt(matrix)
        shown = matrix.tail(MOST_ROWS_SHOWN).select(
            CHECKPOINT, "step", "tokens", "on_disk", *measures_of(matrix)
        )
        return dg.MaterializeResult(
            data_version=dg.DataVersion(built.dataset.digest),
            metadata={
                **dataset_metadata(built.dataset, reused=built.reused),
                "plan": compiled.plan.name,
                "dagster/column_schema": table_schema(matrix.schema),
                "matrix": facts_table(shown.to_dicts()),
                "heat map": picture(
                    report.pictures[HEAT_MAP], caption="bits per byte by checkpoint and domain"
                ),
                "bits per byte by domain": picture(
                    report.pictures[BITS_CURVE], caption="bits per byte of each domain over the tokens seen"
                ),
                "loss": picture(report.pictures[LOSS_CURVE], caption="loss and learning rate by stage"),
                "left out": len(report.left_out),
                **({} if last is None else {"bits per byte": last}),
            },
            check_results=[
                dg.AssetCheckResult(
                    check_name=LEARNT,
                    passed=learnt,
                    description=None
                    if learnt
                    else "the last checkpoint is no better than the first; look at the picture 'loss', then "
                    "give the plan more tokens or another `peak_learning_rate`",
                    severity=dg.AssetCheckSeverity.WARN,
                    metadata={
                        f"{place} ({matrix[CHECKPOINT][row]})": "not finite" if value is None else value
                        for place, row, value in (("first", 0, first), ("last", -1, last))
                    },
                )
            ],
        )

    return bits_per_byte


def _registered_asset(
    plan: Plan, *, settings: Settings, lake: Lake, tags: Mapping[str, str]
) -> dg.AssetsDefinition:
    name = registered_name(plan.name)

    @dg.asset(
        key=REGISTERED_MODEL_KEY,
        deps=[BITS_PER_BYTE_KEY],
        description=(
            f"The checkpoint with the fewest bits per byte of those on the disk, as a version of MLflow's "
            f"registered model {name} under the alias `best`. Where a check fails nothing is registered and "
            "the alias stays where it is."
        ),
        group_name=EVALUATION_GROUP,
        owners=OWNERS,
        kinds={"mlflow", "safetensors"},
        tags=tags,
        metadata={"plan": plan.name, "registered model": name, **code_link(_registered_asset)},
        code_version=CODE_VERSION,
        check_specs=[
            dg.AssetCheckSpec(check, asset=REGISTERED_MODEL_KEY, blocking=True, description=text)
            for check, text in CHECKS.items()
        ],
    )
    def registered_model(
        context: dg.AssetExecutionContext, config: RegisterConfig, form: RunForm
    ) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult]:
        from medpipe.evaluate.matrix import ALL
        from medpipe.evaluate.register import judge_best, refusal, register_best
        from medpipe.pretrain.curriculum import compile_as_pinned
        from medpipe.tracking.facts import DagsterLink
        from medpipe.tracking.registry import version_url

        link = DagsterLink(
            run_id=context.run.run_id,
            asset_key=REGISTERED_MODEL_KEY.to_user_string(),
            root_run_id=context.run.tags.get("dagster/root_run_id"),
        )
        with plain_failures():
            compiled = compile_as_pinned(chosen_plan(plan, form, settings), lake)
            try:
                judged = judge_best(
                    compiled,
                    settings=settings,
                    lake=lake,
                    tolerance=config.tolerance,
                    say=context.log.info,
                )
            except TrackingError as error:
                raise _unreached(error) from None
        for check, finding in judged.findings.items():
            yield dg.AssetCheckResult(
                check_name=check, passed=finding.passed, metadata={"found": finding.text}
            )
        if not judged.may_be_registered:
            raise failure(refusal(judged))
        with plain_failures():
            try:
                version, is_new = register_best(compiled, judged, settings=settings, lake=lake, dagster=link)
            except TrackingError as error:
                raise _unreached(error) from None
        candidate = judged.candidate
        yield dg.MaterializeResult(
            data_version=dg.DataVersion(candidate.digest),
            metadata={
                "registered model": f"{version.name}, version {version.version}",
                "checkpoint": candidate.name,
                "step": candidate.step,
                "bits per byte": candidate.bits_per_byte[ALL],
                "dagster/uri": (lake.root / candidate.path).as_posix(),
                "mlflow version": dg.MetadataValue.url(version_url(settings, version)),
                REUSED: not is_new,
            },
        )

    return registered_model


def _unreached(error: TrackingError) -> dg.Failure:
    return failure(
        f"the best checkpoint is not registered: {error}. Then materialise "
        f"{REGISTERED_MODEL_KEY.to_user_string()} again; nothing has to be trained anew"
    )

"""`evaluation/bits_per_byte`: what each checkpoint of the curriculum is worth in each domain."""

import dagster as dg

from medpipe.asset_metadata import (
    EVALUATION_GROUP,
    OWNERS,
    Rebuild,
    dataset_metadata,
    facts_table,
    picture,
    plain_failures,
)
from medpipe.evaluate import CODE_VERSION, HEAT_MAP, LOSS_CURVE
from medpipe.lake.layout import Lake
from medpipe.pretrain.assets import stage_key
from medpipe.pretrain.plan import STAGES, Plan
from medpipe.settings import Settings
from medpipe.tracking.runs import log_pictures

BITS_PER_BYTE_KEY = dg.AssetKey(["evaluation", "bits_per_byte"])
LEARNT = "learnt"


def build_evaluation_assets(plan: Plan, *, settings: Settings, lake: Lake) -> list[dg.AssetsDefinition]:
    """The matrix checkpoint x domain of one plan."""

    @dg.asset(
        key=BITS_PER_BYTE_KEY,
        deps=[stage_key(stage) for stage in STAGES],
        description=(
            "Bits per byte of each stage's last checkpoint on the validation split of every domain: lower is "
            "better, and tokenizers can be compared by it. With the loss curve of the whole curriculum."
        ),
        group_name=EVALUATION_GROUP,
        owners=OWNERS,
        kinds={"matplotlib", "mlflow"},
        metadata={"plan": plan.name, "unit": "bits per UTF-8 byte of text"},
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
    def bits_per_byte(context: dg.AssetExecutionContext, config: Rebuild) -> dg.MaterializeResult:
        from medpipe.evaluate.report import build_report, read_report
        from medpipe.pretrain.curriculum import compile_pinned, curriculum_digest, finished_stages

        with plain_failures():
            stages = finished_stages(plan, lake)
            built = build_report(stages, lake=lake, force=config.force)
            report = read_report(built.dataset)
            compiled = compile_pinned(plan, lake, stage=STAGES[-1])
        try:
            log_pictures(settings, curriculum_digest(compiled), report.pictures)
        except RuntimeError as error:
            context.log.warning(f"the pictures are not in MLflow: {error}")
        first, last = (stage.result.bits_per_byte["all"] for stage in (stages[0], stages[-1]))
        return dg.MaterializeResult(
            data_version=dg.DataVersion(built.dataset.digest),
            metadata={
                **dataset_metadata(built.dataset, reused=built.reused),
                "matrix": facts_table(report.matrix.to_dicts()),
                "heat map": picture(report.pictures[HEAT_MAP], caption="bits per byte by stage and domain"),
                "loss": picture(report.pictures[LOSS_CURVE], caption="loss and learning rate by stage"),
                "bits per byte": last,
            },
            check_results=[
                dg.AssetCheckResult(
                    check_name=LEARNT,
                    passed=last < first,
                    severity=dg.AssetCheckSeverity.WARN,
                    metadata={"after fast": first, "after converge": last},
                )
            ],
        )

    return [bits_per_byte]

"""`evaluation/bits_per_byte`: what each checkpoint of the curriculum is worth in each domain."""

from typing import Any

import dagster as dg

from medpipe.asset_metadata import EVALUATION_GROUP, OWNERS, facts_table, picture, plain_failures
from medpipe.evaluate.matrix import bits_per_byte_matrix
from medpipe.evaluate.plots import heat_map, loss_curve
from medpipe.lake.layout import Lake
from medpipe.pretrain.assets import stage_key
from medpipe.pretrain.curriculum import compile_pinned, curriculum_digest, finished_stages
from medpipe.pretrain.plan import STAGES, Plan, load_plan
from medpipe.pretrain.result import SPOOL
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
            "better, and numbers of different tokenizers can be compared. With the loss curve of the curriculum."
        ),
        group_name=EVALUATION_GROUP,
        owners=OWNERS,
        kinds={"matplotlib", "mlflow"},
        metadata={"plan": plan.name, "unit": "bits per UTF-8 byte of text"},
        code_version="1",
        check_specs=[
            dg.AssetCheckSpec(
                LEARNT,
                asset=BITS_PER_BYTE_KEY,
                blocking=False,
                description="The last checkpoint needs fewer bits per byte over the whole split than the first.",
            )
        ],
    )
    def bits_per_byte(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        with plain_failures():
            stages = finished_stages(load_plan(settings.plan), lake)
            compiled = compile_pinned(load_plan(settings.plan), lake, stage=STAGES[-1])
            matrix = bits_per_byte_matrix({s.result.stage: s.result.bits_per_byte for s in stages})
            pictures = {
                "bits_per_byte.png": heat_map(matrix),
                "loss.png": loss_curve({s.result.stage: s.run_folder / SPOOL for s in stages}),
            }
        try:
            log_pictures(settings, curriculum_digest(compiled), pictures)
        except RuntimeError as error:
            context.log.warning(f"the pictures are not in MLflow: {error}")
        first, last = (stage.result.bits_per_byte["all"] for stage in (stages[0], stages[-1]))
        return dg.MaterializeResult(
            metadata={
                "matrix": facts_table(matrix.to_dicts()),
                "heat map": picture(
                    pictures["bits_per_byte.png"], caption="bits per byte by stage and domain"
                ),
                "loss": picture(pictures["loss.png"], caption="loss and learning rate over the four stages"),
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

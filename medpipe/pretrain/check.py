"""`medpipe plan check`: everything that can be known of a plan before any compute."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from medpipe.lake.layout import Lake
from medpipe.lake.manifest import ManifestError
from medpipe.pretrain.compile import CompiledPlan, CompiledStage, compiled_or_problems
from medpipe.pretrain.corpus import tokenizer_info
from medpipe.pretrain.estimate import memory_estimate, parameter_count, training_flops_per_token
from medpipe.pretrain.integrity import changed_shards, changed_tokenizer, validation_overlap
from medpipe.pretrain.plan import Plan, PlanError, Precision
from medpipe.pretrain.schedule import stage_fraction, stage_tokens
from medpipe.pretrain.stream import window_count

if TYPE_CHECKING:
    from medpipe.pretrain.trial import Trial
    from medpipe.tokens.snapshot import CorpusSnapshot


def check_plan(plan: Plan, snapshot: CorpusSnapshot, lake: Lake) -> CompiledPlan:
    """Compiles a plan and looks at what it would read.

    Beyond `compile_plan`: tokenizer and shards are still what their manifests say, and no held-out document
    is trained on.

    Raises:
        PlanError: with every reason at once, each with its fix.
    """
    origin = f"plan {plan.name} on snapshot {snapshot.name}"
    try:
        compiled, problems = compiled_or_problems(plan, snapshot, lake)
        problems += changed_tokenizer(tokenizer_info(lake, snapshot))
    except ManifestError as error:
        raise PlanError(origin, [str(error)]) from None
    changed = changed_shards(lake, snapshot)
    problems += changed or validation_overlap(lake, snapshot)
    if compiled is None or problems:
        raise PlanError(origin, problems)
    return compiled


def plan_facts(
    compiled: CompiledPlan,
    *,
    is_bf16: bool,
    is_cpu: bool,
    trial: Trial | None = None,
    flops_per_second: float | None = None,
) -> dict[str, Any]:
    """What the tables of `medpipe plan check` and its `--json` say.

    Args:
        compiled: the plan.
        is_bf16: whether matrices would be multiplied in bf16 here.
        is_cpu: whether it would run on a CPU here.
        trial: measured steps; the time estimate is based on them if given.
        flops_per_second: a rate that a person states; used where nothing was measured.
    """
    plan = compiled.plan
    micro_batch = plan.micro_batch_sequences or plan.sequences_per_step
    memory = memory_estimate(
        compiled.shape,
        compiled.vocabulary_size,
        sequence_length=plan.sequence_length,
        micro_batch=micro_batch,
        is_bf16=is_bf16,
        attends_in_fp32=is_bf16 and is_cpu,
    )
    per_token = training_flops_per_token(compiled.shape, compiled.vocabulary_size, plan.sequence_length)
    trained = sum(stage.tokens for stage in compiled.stages if stage.taken_from is None)
    speed = _speed(per_token, trial, flops_per_second)
    return {
        "plan": plan.name,
        "snapshot": compiled.snapshot,
        "tokenizer": {"digest": compiled.tokenizer.digest, "entries": compiled.tokenizer.vocabulary_size},
        "start_from": _start_facts(compiled),
        "model": {
            "architecture": compiled.shape.architecture,
            "parameters": parameter_count(compiled.shape, compiled.vocabulary_size),
            "flops_per_token": per_token,
        },
        "steps": sum(stage.steps for stage in compiled.stages if stage.taken_from is None),
        "tokens": trained,
        "stages": [_stage_facts(compiled, stage) for stage in compiled.stages],
        "sources": source_facts(compiled),
        "memory": {
            **asdict(memory),
            "peak": memory.peak,
            "based_on": f"{micro_batch} sequences of {plan.sequence_length} tokens a forward pass, "
            f"{'bf16' if is_bf16 else 'fp32'}, SDPA with a dense mask"
            f"{' in fp32' if is_bf16 and is_cpu else ''}",
            "measured_peak": trial.peak_bytes if trial else None,
            "error": memory.peak / trial.peak_bytes - 1 if trial and trial.peak_bytes else None,
        },
        "time": {
            **speed,
            "seconds": trained / speed["tokens_per_second"] if speed["tokens_per_second"] else None,
        },
        "warnings": list(compiled.warnings),
    }


def _speed(per_token: float, trial: Trial | None, flops_per_second: float | None) -> dict[str, Any]:
    if trial is not None:
        based_on = (
            f"{trial.steps} measured steps on {trial.device} in {trial.precision}, {trial.threads} threads; "
            "without measuring held-out text and writing checkpoints"
        )
        return {"tokens_per_second": trial.tokens_per_second, "based_on": based_on}
    if flops_per_second is not None:
        return {
            "tokens_per_second": flops_per_second / per_token,
            "based_on": f"the stated rate of {flops_per_second:.3g} operations a second",
        }
    return {"tokens_per_second": None, "based_on": "nothing: give --measure STEPS, or --flops RATE"}


def _start_facts(compiled: CompiledPlan) -> dict[str, Any] | None:
    start = compiled.start
    if start is None:
        return None
    return {
        "folder": start.folder.as_posix(),
        "content": start.content,
        "stage": start.stage_digest,
        "step": start.step,
        "at": start.at,
    }


def _stage_facts(compiled: CompiledPlan, stage: CompiledStage) -> dict[str, Any]:
    plan, peak = compiled.plan, compiled.plan.optimizer.peak_learning_rate
    begin, end = (stage_fraction(plan, stage.name, t) for t in (0, stage_tokens(plan, stage.name)))
    return {
        "stage": stage.label,
        "digest": stage.digest,
        "taken_from": stage.taken_from,
        "first_step": stage.first_step,
        "steps": stage.steps,
        "samples": stage.samples,
        "tokens": stage.tokens,
        "learning_rate": {
            "from": peak * begin,
            "to": peak * end,
            "course": plan.stage(stage.name).rate_in_words,
        },
        "mixture": [
            {
                "from": part.label,
                "share": part.share,
                "samples": part.samples,
                "tokens": part.samples * stage.sequence_length,
                "epochs": part.epochs,
            }
            for part in stage.components
        ],
    }


def source_facts(compiled: CompiledPlan) -> list[dict[str, Any]]:
    """Token positions and epochs of each source and tier, by stage.

    Within an unfinished epoch a component's samples are spread over its sources by their windows, which is
    what they come to on average.
    """
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    for stage in compiled.stages:
        for part in stage.components:
            for shard in part.shards:
                key = (shard.domain.value, shard.source, shard.tier.value)
                row = rows.setdefault(
                    key,
                    {
                        **dict(zip(("domain", "source", "tier"), key, strict=True)),
                        "shards": {},
                        "by_stage": {},
                        "epochs": {},
                    },
                )
                row["shards"][shard.key] = shard.tokens
                share = window_count(shard.tokens, stage.sequence_length) / part.windows
                read = row["by_stage"].get(stage.name, 0.0)
                row["by_stage"][stage.name] = read + share * part.samples * stage.sequence_length
                row["epochs"][stage.name] = part.epochs
    return [
        {
            **{name: row[name] for name in ("domain", "source", "tier")},
            "available": sum(row["shards"].values()),
            "tokens": round(sum(row["by_stage"].values())),
            "by_stage": {name: round(tokens) for name, tokens in row["by_stage"].items()},
            "epochs": sum(row["epochs"].values()),
        }
        for _, row in sorted(rows.items())
    ]


def arithmetic(plan: Plan) -> tuple[bool, bool]:
    """Whether this machine would train the plan in bf16, and on a CPU; torch is loaded."""
    from medpipe.pretrain.model import device_and_precision

    compute = device_and_precision(plan)
    return compute.precision is Precision.BF16, compute.device.type == "cpu"

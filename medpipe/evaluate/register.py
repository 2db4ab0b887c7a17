"""Registers the best checkpoint of a curriculum in MLflow, if nothing speaks against it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from medpipe.evaluate.acceptance import COMPLETE, CURRENT, FINITE, NOT_WORSE
from medpipe.evaluate.candidate import (
    Candidate,
    Finding,
    Incumbent,
    best_candidate,
    is_complete,
    is_current,
    is_finite,
    is_not_worse,
    lowest,
)
from medpipe.evaluate.matrix import ALL
from medpipe.evaluate.report import build_report, read_report
from medpipe.lake.layout import Lake
from medpipe.pretrain.compile import CompiledPlan
from medpipe.pretrain.curriculum import curriculum_digest
from medpipe.settings import Settings
from medpipe.tokens.snapshot import read_snapshot
from medpipe.tracking.checkpoints import CHECKPOINT_TAG, checkpoint_digest, is_whole
from medpipe.tracking.facts import DagsterLink
from medpipe.tracking.links import dagster_run_url, registered_name
from medpipe.tracking.registry import (
    CheckpointFacts,
    RegisteredVersion,
    download,
    find_best,
    register,
)
from medpipe.tracking.store import TrackingError

MEASURED_ON_TAG = "medpipe.measured_on"
BITS_TAG = "medpipe.bits_per_byte"
FLOOR_TAG = "medpipe.lowest_bits_per_byte"
"""Of the version and those whose place it took on the same text: what the tolerance counts from."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """The best checkpoint and what was found about it."""

    candidate: Candidate
    incumbent: Incumbent | None
    findings: dict[str, Finding]
    """By check."""

    @property
    def may_be_registered(self) -> bool:
        """Whether every check passed."""
        return all(finding.passed for finding in self.findings.values())


def judge_best(
    compiled: CompiledPlan,
    *,
    settings: Settings,
    lake: Lake,
    tolerance: float,
    say: Callable[[str], None] = lambda _: None,
) -> Judged:
    """Finds the best checkpoint that is still on the disk and looks at what speaks against it.

    Args:
        compiled: the plan on the snapshot that its curriculum has pinned.
        settings: where MLflow is.
        lake: where runs lie.
        tolerance: bits per byte by which it may be worse than the registered version.
        say: takes a line of news at a time.

    Raises:
        MatrixError: nothing was measured, or no measured checkpoint is on the disk.
        TrackingError: MLflow cannot be reached.
    """
    report = build_report(compiled, lake=lake, say=say).dataset
    candidate = best_candidate(read_report(report).matrix)
    incumbent = _incumbent(compiled, candidate, settings=settings, lake=lake, say=say)
    return Judged(
        candidate=candidate,
        incumbent=incumbent,
        findings={
            FINITE: is_finite(candidate),
            COMPLETE: is_complete(
                candidate,
                domains={shard.domain.value for shard in compiled.validation},
                damage=_damage(lake.root / candidate.path),
            ),
            CURRENT: is_current(candidate, held_out=compiled.validation_digest),
            NOT_WORSE: is_not_worse(candidate, incumbent, tolerance=tolerance),
        },
    )


def _damage(folder: Path) -> str | None:
    from medpipe.pretrain.checkpoint import CheckpointError, verify_checkpoint

    try:
        verify_checkpoint(folder)
    except CheckpointError as error:
        return str(error)
    return None


def _incumbent(
    compiled: CompiledPlan,
    candidate: Candidate,
    *,
    settings: Settings,
    lake: Lake,
    say: Callable[[str], None],
) -> Incumbent | None:
    """The version that bears the alias, measured on the candidate's held-out text."""
    version = find_best(settings, registered_name(compiled.plan.name))
    if version is None:
        return None
    bits: float | None
    is_same_text = version.tags.get(MEASURED_ON_TAG) == candidate.measured_on
    if version.checkpoint == candidate.digest:
        bits, how = candidate.bits_per_byte.get(ALL), "the same checkpoint"
    elif is_same_text and BITS_TAG in version.tags:
        bits, how = float(version.tags[BITS_TAG]), "measured when it was registered"
    else:
        bits, how = _measured_again(compiled, version, settings=settings, lake=lake, say=say)
    floor = float(version.tags[FLOOR_TAG]) if is_same_text and FLOOR_TAG in version.tags else None
    return Incumbent(
        version=version.version, digest=version.checkpoint, bits_per_byte=bits, floor=floor, how=how
    )


def _measured_again(
    compiled: CompiledPlan,
    version: RegisteredVersion,
    *,
    settings: Settings,
    lake: Lake,
    say: Callable[[str], None],
) -> tuple[float | None, str]:
    """Bits per byte of a version that was measured on other text, from its checkpoint or MLflow's copy."""
    from medpipe.pretrain.held_out import measure_checkpoint

    say(f"version {version.version} was measured on other held-out text; measuring it on this plan's")
    with tempfile.TemporaryDirectory() as temporary:
        folder, place = Path(version.tags.get("path", "")), "its checkpoint"
        try:
            if not is_whole(folder) or checkpoint_digest(folder) != version.checkpoint:
                folder, place = download(settings, version, Path(temporary)), "MLflow's copy"
            bits = measure_checkpoint(
                folder, compiled=compiled, lake=lake, snapshot=read_snapshot(lake, compiled.snapshot)
            )
        except (TrackingError, ValueError, OSError) as error:
            return None, f"it was measured on other held-out text and cannot be measured again ({error})"
    return bits.overall, f"measured again from {place}"


def register_best(
    compiled: CompiledPlan, judged: Judged, *, settings: Settings, lake: Lake, dagster: DagsterLink | None
) -> tuple[RegisteredVersion, bool]:
    """Makes the judged checkpoint the version that bears the alias.

    Returns:
        The version, and whether it is new.

    Raises:
        ValueError: a check did not pass.
        TrackingError: MLflow cannot be reached.
        OSError: a file of the checkpoint is missing.
    """
    if not judged.may_be_registered:
        raise ValueError(refusal(judged))
    candidate, bits, incumbent = judged.candidate, judged.candidate.bits_per_byte[ALL], judged.incumbent
    folder = lake.root / candidate.path
    floor = bits
    if incumbent is not None and incumbent.bits_per_byte is not None:
        floor = min(bits, lowest(incumbent.bits_per_byte, incumbent.floor))
    tags = {
        CHECKPOINT_TAG: candidate.digest,
        MEASURED_ON_TAG: str(candidate.measured_on),
        BITS_TAG: repr(bits),
        FLOOR_TAG: repr(floor),
        "medpipe.curriculum": curriculum_digest(compiled),
        "medpipe.tokenizer": compiled.tokenizer.digest,
        "medpipe.snapshot": compiled.snapshot,
        "path": str(folder),
    }
    name = registered_name(compiled.plan.name)
    known = incumbent is not None and incumbent.digest == candidate.digest
    if dagster is not None and not known:
        tags["dagster/run_id"] = dagster.run_id
        tags["dagster/asset_key"] = dagster.asset_key
        tags["dagster/url"] = dagster_run_url(settings, dagster.run_id)
    facts = CheckpointFacts(
        folder=folder,
        name=f"{compiled.plan.name}-{candidate.name}",
        stage=candidate.stage,
        step=candidate.step,
        tokens=candidate.tokens,
        stage_digest=compiled.stage(candidate.stage).digest,
        curriculum_digest=curriculum_digest(compiled),
        tags=tags,
    )
    return register(settings, name, facts)


def refusal(judged: Judged) -> str:
    """Why a checkpoint is not registered, for a person."""
    reasons = "; ".join(finding.text for finding in judged.findings.values() if not finding.passed)
    alias = (
        f"the alias stays at version {judged.incumbent.version}" if judged.incumbent else "there is no alias"
    )
    return f"{judged.candidate.name} is not registered: {reasons}; {alias}"

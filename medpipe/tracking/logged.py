"""Which steps a run in MLflow already has, asked of MLflow with as few points as possible."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from medpipe.tracking.runs import StageRuns


class LoggedSteps:
    """Steps of each metric that one run has."""

    def __init__(
        self, mlflow: MlflowClient, run_id: str, *, reached: dict[str, int], latest: dict[str, int]
    ) -> None:
        """Prepares the answer; nothing is asked yet.

        Args:
            mlflow: the client.
            run_id: the run.
            reached: step by metric name up to which the run has everything of the spool.
            latest: the run's latest step by metric name; between the two, other stages may have written.
        """
        self._mlflow = mlflow
        self._run_id = run_id
        self._reached = dict(reached)
        self._latest = latest
        self._between: dict[str, set[int]] = {}

    def add(self, key: str, step: int) -> bool:
        """Notes that a step is about to be sent; returns False if the run has it already."""
        if step <= self._reached.get(key, -1):
            return False
        self._reached[key] = step
        return step > self._latest.get(key, -1) or step not in self._history(key)

    def _history(self, key: str) -> set[int]:
        if key not in self._between:
            points = self._mlflow.get_metric_history(self._run_id, key)
            self._between[key] = {point.step for point in points}
        return self._between[key]


def ask(mlflow: MlflowClient, runs: StageRuns) -> dict[str, LoggedSteps]:
    """Asks what the runs of a stage have, by run id.

    Every batch goes to the parent first and to the stage's run then. So the parent has whatever the
    stage's run has; beyond that the parent may have one batch more, and the steps of later stages.
    """
    stage, parent = (_latest_steps(mlflow, run_id) for run_id in (runs.stage_run_id, runs.parent_run_id))
    return {
        runs.parent_run_id: LoggedSteps(mlflow, runs.parent_run_id, reached=stage, latest=parent),
        runs.stage_run_id: LoggedSteps(mlflow, runs.stage_run_id, reached=stage, latest=stage),
    }


def _latest_steps(mlflow: MlflowClient, run_id: str) -> dict[str, int]:
    # A run's `data.metrics` has values only; its protobuf form has the steps too.
    return {metric.key: int(metric.step) for metric in mlflow.get_run(run_id).to_proto().data.metrics}

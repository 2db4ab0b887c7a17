"""Names and addresses of pages in the MLflow and Dagster UIs, and the commit of the code."""

from __future__ import annotations

import functools
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from medpipe.tracking.store import display_uri

if TYPE_CHECKING:
    from medpipe.settings import Settings

_UNSAFE = re.compile(r"[/:.%\"'`\s]+")


def _mlflow(settings: Settings) -> str:
    return f"{display_uri(settings.mlflow_ui_url).rstrip('/')}/#/experiments"


def run_url(settings: Settings, experiment_id: str, run_id: str) -> str:
    """Page of one run in MLflow."""
    return f"{_mlflow(settings)}/{experiment_id}/runs/{run_id}"


def compare_url(settings: Settings, experiment_id: str) -> str:
    """Chart view of all curricula in MLflow; without these parameters MLflow opens an empty page."""
    query = "workflowType=machine_learning&compareRunsMode=CHART"
    return f"{_mlflow(settings)}/{experiment_id}/runs?{query}"


def model_name(*parts: str) -> str:
    """A name for a LoggedModel; MLflow refuses `/ : . % " '` and backquotes in it."""
    return _UNSAFE.sub("-", "-".join(parts)).strip("-")


def registered_name(plan: str) -> str:
    """Name of a plan's registered model."""
    return model_name("medpipe", plan)


def registry_url(settings: Settings, name: str, version: str) -> str:
    """Page of a version of a registered model in MLflow."""
    return f"{display_uri(settings.mlflow_ui_url).rstrip('/')}/#/models/{name}/versions/{version}"


def dagster_run_url(settings: Settings, run_id: str) -> str:
    """Page of one run in Dagster."""
    return f"{display_uri(settings.dagster_ui_url).rstrip('/')}/runs/{run_id}"


@functools.cache
def git_commit() -> str | None:
    """Commit that this package runs from; None if it was installed from elsewhere or git is missing."""
    module = Path(__file__).resolve()
    git = ["git", "-C", str(module.parent)]
    try:
        # A virtual environment may lie inside somebody else's repository.
        subprocess.run(
            [*git, "ls-files", "--error-unmatch", module.name], check=True, capture_output=True, timeout=5
        )
        head = subprocess.run(
            [*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True, timeout=5
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return head.stdout.strip() or None

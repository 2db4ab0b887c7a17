"""Two small curricula in an MLflow store: trained for real, followed by medpipe's own tracking."""

from __future__ import annotations

from pathlib import Path

import yaml

from medpipe.pretrain.compile import compile_plan
from medpipe.pretrain.plan import STAGES, builtin_plans, load_plan
from medpipe.pretrain.stage_run import StageRun
from medpipe.pretrain.stop import StopRequest
from medpipe.pretrain.tracked import track_compiled
from medpipe.settings import Settings
from medpipe_tests.pretrain.corpus import build_corpus


def train_two_curricula(folder: Path, *, home: Path) -> tuple[str, str]:
    """Trains `tiny` and the same in another order on a corpus of their own, in MLflow of `home`.

    Returns:
        The names of the two runs.
    """
    corpus = build_corpus(folder / "lake", documents=60)
    settings = Settings(home=home, mlflow_tracking_uri=None)
    values = yaml.safe_load(builtin_plans()["tiny"].read_text())
    mixtures = [stage["mixture"] for stage in values["stages"]]
    names = ("curriculum", "reversed")
    for name, order in zip(names, (mixtures, mixtures[::-1]), strict=True):
        pairs = zip(values["stages"], order, strict=True)
        stages = [stage | {"mixture": mixture} for stage, mixture in pairs]
        file = folder / f"{name}.yaml"
        file.write_text(yaml.safe_dump(values | {"name": name, "stages": stages}, allow_unicode=True))
        compiled = compile_plan(load_plan(file), corpus.snapshot, corpus.lake)
        for stage in STAGES:
            tracked = track_compiled(compiled, stage, plan_file=file, settings=settings, lake=corpus.lake)
            with tracked.following():
                StageRun(
                    compiled=compiled,
                    stage=compiled.stage(stage),
                    lake=corpus.lake,
                    snapshot=corpus.snapshot,
                    progress=lambda _: None,
                    stop=StopRequest(),
                ).run()
            assert tracked.replay.last_error is None
    return names

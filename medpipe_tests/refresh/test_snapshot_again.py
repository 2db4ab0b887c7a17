"""Training again on an old snapshot after a refresh: the same bytes as before the refresh."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest
from typer.testing import CliRunner

from medpipe.cli import app
from medpipe.lake.digest import sha256_file
from medpipe.operate.instance import open_instance
from medpipe.operate.materialise import RunFailedError, materialise
from medpipe.pretrain.checkpoint import OPTIMIZER, WEIGHTS
from medpipe.pretrain.configured import configured_plan
from medpipe.pretrain.curriculum import compile_as_pinned, pinned_stages
from medpipe.refresh.jobs import DATA_GROUPS
from medpipe.tokens.snapshot import read_snapshot
from medpipe.tokens.snapshot_names import snapshot_names
from medpipe_tests.refresh.corpus import Installation, make_installation, write_records

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

DATA = " or ".join(f"group:{group}" for group in DATA_GROUPS)
TRAIN = 'key:"pretrain/fast"'


def trained(installation: Installation) -> dict[str, str]:
    """What the first stage ended with: digests of its files, of the stage and of the snapshot."""
    plan = configured_plan(installation.settings)
    compiled = compile_as_pinned(plan, installation.lake)
    stage = pinned_stages(compiled, installation.lake)[0]
    assert stage.result is not None
    checkpoint = stage.run_folder / stage.result.checkpoint
    return {
        "weights": sha256_file(checkpoint / WEIGHTS),
        "optimizer": sha256_file(checkpoint / OPTIMIZER),
        "stage": stage.result.digest,
        "snapshot": compiled.snapshot,
    }


def test_an_old_snapshot_trains_to_the_same_bytes_after_a_refresh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation = make_installation(tmp_path)
    settings, lake = installation.settings, installation.lake
    share = {"ops": {"corpus__documents": {"config": {"validation_share": 0.1}}}}
    materialise(settings, selection=f"{DATA} or {TRAIN}", run_config=share)
    first, old = trained(installation), read_snapshot(lake)
    lake.runs("small").rename(tmp_path / "runs of before")

    write_records(installation.folder("guide") / "b.jsonl", range(5000, 5030))
    materialise(settings, selection=DATA, run_config=share)
    new = read_snapshot(lake)
    names = snapshot_names(lake)
    assert new != old and names[new.name] == f"{names[old.name]}.2"

    again = settings.model_copy(update={"snapshot": names[old.name]})
    materialise(again, selection=TRAIN)
    assert trained(installation) == first
    assert read_snapshot(lake) == new, "the newest one stays the newest"

    # A later stage keeps to the pin, and says so where another snapshot is asked for.
    with pytest.raises(RunFailedError, match=r"MEDPIPE_SNAPSHOT.*is pinned to.*pretrain/fast"):
        materialise(settings.model_copy(update={"snapshot": new.name}), selection='key:"pretrain/stable"')

    with open_instance(settings) as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey(["snapshot"]))
    assert event is not None and event.asset_materialization is not None
    shown = event.asset_materialization.metadata
    assert shown["called"].value == names[new.name] and shown["changed since"].value == old.name
    (row,) = shown["changes"].value.records  # type: ignore[union-attr]
    assert (row.data["source"], row.data["added"], row.data["removed"]) == ("guide", "30", "0")
    monkeypatch.setenv("MEDPIPE_HOME", str(settings.home))
    printed = CliRunner().invoke(app, ["snapshots", "diff", names[old.name], "--markdown"])
    assert printed.exit_code == 0, printed.output
    assert printed.stdout.strip() == str(shown["report of changes"].value).strip()
    refused = CliRunner().invoke(app, ["run", TRAIN, "--snapshot", "1999-01-01"])
    assert refused.exit_code == 1

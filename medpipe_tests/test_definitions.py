"""The code location: it loads fast and light, and every asset tells what a person wants to know."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from medpipe.asset_metadata import tag_value
from medpipe.graph import PRELOADED_MODULES, build_definitions
from medpipe.settings import Settings

REPOSITORY = Path(__file__).resolve().parents[1]
FIRST_SOURCES = {
    "shibing624_medical_pretrain",
    "shibing624_medical_finetune",
    "shibing624_medical_reward",
    "nlp_guild_medical_data",
    "huatuo_encyclopedia_qa",
    "huatuogpt_sft_data_v1",
    "epfl_guidelines",
    "wikipedia_cn_20230720_filtered",
}
STAGES = ["fast", "stable", "anneal", "converge"]


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> dg.AssetGraph:
    settings = Settings(home=tmp_path_factory.mktemp("home"))
    return build_definitions(settings).resolve_asset_graph()


def test_the_graph_has_the_groups_of_the_architecture(graph: dg.AssetGraph) -> None:
    groups: dict[str, set[str]] = {}
    for key in graph.materializable_asset_keys:
        groups.setdefault(graph.get(key).group_name, set()).add(key.to_user_string())
    assert groups["raw"] == {f"raw/{source}" for source in FIRST_SOURCES}
    assert groups["normalized"] == {f"normalized/{source}" for source in FIRST_SOURCES}
    assert groups["corpus"] == {"corpus/documents", "corpus/conversations", "corpus/preferences"}
    assert {"tokenizer", "snapshot", "shards/disease", "shards/guideline"} <= groups["tokens"]
    assert groups["pretrain"] == {f"pretrain/{stage}" for stage in STAGES}
    assert groups["evaluation"] == {"evaluation/bits_per_byte", "evaluation/registered_model"}


def test_stages_are_chained(graph: dg.AssetGraph) -> None:
    for before, after in itertools.pairwise(STAGES):
        assert dg.AssetKey(["pretrain", before]) in graph.get(dg.AssetKey(["pretrain", after])).parent_keys


def test_every_asset_tells_a_newcomer_what_it_is(graph: dg.AssetGraph) -> None:
    """The rule for every asset that is ever added."""
    for key in graph.materializable_asset_keys:
        node = graph.get(key)
        assert node.description and len(node.description) > 60 and node.description.endswith("."), key
        assert node.group_name != "default", key
        assert node.owners and node.kinds and node.code_version, key
        assert node.metadata, key
        tags = {tag.split("/")[0] for tag in node.tags}
        assert {"language", "licence", "domain"} <= tags, f"{key}: {sorted(node.tags)}"


def test_every_asset_leads_to_the_code_that_makes_it(graph: dg.AssetGraph) -> None:
    for key in graph.materializable_asset_keys:
        (place,) = graph.get(key).metadata["dagster/code_references"].code_references
        lines = Path(place.file_path).read_text(encoding="utf-8").splitlines()
        assert lines[place.line_number - 1].startswith(f"def {place.label}("), key


def test_code_links_lead_to_the_repository_where_a_setting_names_it(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, code_url="https://forge.example/team/medpipe/blob/1a2b3c/")
    graph = build_definitions(settings).resolve_asset_graph()
    for key in graph.materializable_asset_keys:
        (place,) = graph.get(key).metadata["dagster/code_references"].code_references
        path, line = place.url.removeprefix("https://forge.example/team/medpipe/blob/1a2b3c/").split("#L")
        text = (REPOSITORY / path).read_text(encoding="utf-8").splitlines()
        assert text[int(line) - 1].startswith("def "), place.url


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("cc-by-nc-4.0", "cc-by-nc-4.0"),
        ("BSD 3-Clause, modified", "BSD-3-Clause-modified"),
        ("开放 data 协议", "data"),
        ("x" * 200, "x" * 63),
    ],
)
def test_a_tag_is_one_that_dagster_takes(text: str, tag: str) -> None:
    assert tag_value(text) == tag
    dg.AssetSpec("some", tags={f"licence/{tag_value(text)}": ""})


def test_the_code_location_can_be_sent_to_the_ui(tmp_path: Path) -> None:
    """Validation does not notice metadata that cannot be serialised; the UI then shows no graph at all."""
    from dagster._core.remote_representation.external_data import RepositorySnap
    from dagster_shared.serdes import serialize_value

    repository = build_definitions(Settings(home=tmp_path)).get_repository_def()
    assert len(serialize_value(RepositorySnap.from_def(repository))) > 10_000


def test_training_takes_the_gpu_pool(graph: dg.AssetGraph) -> None:
    for stage in STAGES:
        assert graph.get(dg.AssetKey(["pretrain", stage])).pools == {"gpu"}


def test_definitions_load_light_and_fast(tmp_path: Path) -> None:
    """Half the processor time of dagster and polars at most, and none of the heavy libraries.

    In terms of theirs, since a busy machine slows both; of the least disturbed of several tries; with byte
    code kept, as a person who starts medpipe a second time has it.
    """
    program = (
        "import time, sys, json\n"
        "import dagster, polars\n"
        "libraries = time.process_time()\n"
        "import medpipe.definitions\n"
        "share = (time.process_time() - libraries) / libraries\n"
        "heavy = [m for m in ('torch', 'mlflow', 'datasets', 'transformers') if m in sys.modules]\n"
        "print(json.dumps({'share': share, 'heavy': heavy}))\n"
    )
    environment = {**os.environ, "MEDPIPE_HOME": str(tmp_path)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    measured = []
    for _ in range(8):
        output = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
        ).stdout
        measured.append(json.loads(output))
        if measured[-1]["share"] <= 0.5:
            break
    assert measured[0]["heavy"] == []
    assert min(m["share"] for m in measured) <= 0.5


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted in /proc")
def test_what_the_fork_server_preloads_starts_no_thread() -> None:
    """A thread of the server would be missing in every step that is forked from it."""
    imports = "".join(f"import {module}\n" for module in PRELOADED_MODULES)
    output = subprocess.run(
        [sys.executable, "-c", imports + "import os\nprint(len(os.listdir('/proc/self/task')))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert output.strip() == "1"


def test_definitions_validate_is_clean(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dagster", "definitions", "validate", "-w", "workspace.yaml"],
        cwd=REPOSITORY,
        env={**os.environ, "MEDPIPE_HOME": str(tmp_path), "DAGSTER_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "Validation successful" in done.stderr + done.stdout


def test_a_source_in_the_sources_folder_is_an_asset(tmp_path: Path) -> None:
    folder = tmp_path / "sources"
    (folder / "notes").mkdir(parents=True)
    (folder / "notes" / "a.txt").write_text("一条记录\n")
    (folder / "mine.yaml").write_text(
        """
sources:
  - id: ward_notes
    title: Ward notes
    description: Notes of one ward.
    folder: notes
    files: [{path: "*.txt", domain: disease}]
    kind: document
    layout: {layout: text}
    language: zh
    licence: {name: null}
    uses: [pretraining]
"""
    )
    (folder / "dataset_info.json").write_text(
        json.dumps({"问诊集": {"file_name": "qa.json", "columns": {"prompt": "q", "response": "a"}}})
    )
    (folder / "qa.json").write_text('[{"q": "头痛怎么办？", "a": "先休息。"}]')
    settings = Settings(home=tmp_path / "home", sources=folder)
    keys = build_definitions(settings).resolve_asset_graph().materializable_asset_keys
    names = {key.to_user_string() for key in keys}
    assert "normalized/ward_notes" in names
    assert any(name.startswith("raw/") and name.rsplit("/", 1)[1].isascii() for name in names)
    assert sum(name.startswith("raw/") for name in names) == len(FIRST_SOURCES) + 2

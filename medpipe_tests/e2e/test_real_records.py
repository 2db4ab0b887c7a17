"""The whole graph on real records: rows are accounted for, the model learns, the checkpoint speaks."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest

from medpipe.lake.dataset import current
from medpipe.lake.layout import Lake
from medpipe.operate.materialise import MaterialisedRun, materialise
from medpipe.pretrain.curriculum import FinishedStage, finished_stages
from medpipe.pretrain.plan import load_plan
from medpipe.settings import Settings
from medpipe_tests.shared_data import shared_data

HERE = Path(__file__).parent

pytestmark = [pytest.mark.slow]

LAID_OUT = {
    "nlp-guild_medical-data/medical.json": "nlp-guild/medical-data/medical.json",
    "shibing624_medical/sft/medical_sft_1K_format.jsonl": "shibing624/MedicalGPT/sft/medical.jsonl",
    "shibing624_medical/sft/sharegpt_zh_1K_format.jsonl": "shibing624/MedicalGPT/sft/sharegpt.jsonl",
    "bentsao/llama_data.json": "SCIR-HI/Huatuo-Llama-Med-Chinese/llama_data.json",
    "skywork/zh_general.jsonl": "SkyworkAI/Skywork/zh_general.jsonl",
    "tcm-ancient-books/581-兰室秘藏.txt": "xiaopangxia/TCM-Ancient-Books/581-兰室秘藏.txt",
}
PUBLISHED = {
    "nlp_guild_medical_data": 212,
    "real_medicalgpt_sft": 661 + 167,
    "real_bentsao": 4422,
    "real_skywork_general": 148,
}
"""Rows as the data folder's own README counts them."""


class Finished(NamedTuple):
    settings: Settings
    run: MaterialisedRun
    again: MaterialisedRun
    stages: list[FinishedStage]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("real")
    for origin, place in LAID_OUT.items():
        target = folder / "hub" / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(shared_data(origin), target)
    (folder / "sources").mkdir()
    shutil.copyfile(HERE / "catalog.yaml", folder / "sources" / "catalog.yaml")
    settings = Settings(
        home=folder / "home", hub=folder / "hub", sources=folder / "sources", plan=str(HERE / "plan.yaml")
    )
    share = {"ops": {"corpus__documents": {"config": {"validation_share": 0.04}}}}
    run = materialise(settings, run_config=share)
    again = materialise(settings, run_config=share)
    return Finished(settings, run, again, finished_stages(load_plan(settings.plan), Lake(settings.lake)))


def test_rows_in_are_rows_kept_plus_rows_rejected(finished: Finished) -> None:
    lake = Lake(finished.settings.lake)
    for source in [*PUBLISHED, "real_tcm_book"]:
        dataset = current(lake, "normalized", source)
        facts = dataset.manifest.facts
        rejected = pl.read_parquet(dataset.files("rejected/*.parquet"))
        records = pl.read_parquet(dataset.files("part-*.parquet"))
        rejected_rows = rejected.select("path", "row").unique().height
        kept_rows = records.select("path", "row").unique().height
        assert facts["published"] == kept_rows + rejected_rows, source
        assert (facts["kept"], facts["rejected"]) == (kept_rows, rejected_rows)
        assert facts["published"] == PUBLISHED.get(source, facts["published"])
        assert rejected["reason"].null_count() == 0


def test_every_corpus_document_leads_back_to_a_row(finished: Finished) -> None:
    lake = Lake(finished.settings.lake)
    corpus = current(lake, "corpus", "documents")
    parts = [path for path in corpus.files("*/part-*.parquet") if path.parent.name != "rejected"]
    documents = pl.read_parquet(parts)
    assert documents["content_key"].n_unique() == documents.height
    for source in PUBLISHED:
        normalized = pl.read_parquet(current(lake, "normalized", source).files("part-*.parquet"))
        mine = documents.filter(source=source)
        assert mine.join(normalized, on=["id", "path", "row", "part"], how="anti").height == 0


def test_bits_per_byte_fall_over_the_curriculum(finished: Finished) -> None:
    bits = [stage.result.bits_per_byte for stage in finished.stages]
    assert [stage.result.stage for stage in finished.stages] == ["fast", "stable", "anneal", "converge"]
    assert bits[-1]["all"] < bits[0]["all"]
    for measured in bits:
        assert {"general", "dialogue", "tcm", "disease"} <= set(measured)
        assert all(value is not None and 0 < value < 8 for value in measured.values())


def test_the_checkpoint_reloads_and_generates(finished: Finished) -> None:
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    last = finished.stages[-1]
    folder = last.checkpoint
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    prompt = tokenizer("症状：", return_tensors="pt", return_token_type_ids=False)
    written = model.generate(**prompt, max_new_tokens=16, do_sample=False, pad_token_id=0)
    assert written.shape[1] > prompt["input_ids"].shape[1]
    assert last.result.sample and len(last.result.sample.strip()) > 10


def test_checkpoints_are_in_mlflow(finished: Finished) -> None:
    from medpipe.tracking.store import client, experiment_id

    experiment = experiment_id(finished.settings)
    mlflow = client(finished.settings)
    models = mlflow.search_logged_models([experiment])
    assert len(models) >= 4
    assert {model.params["stage"] for model in models} == {"fast", "stable", "anneal", "converge"}
    runs = mlflow.search_runs([experiment])
    assert all(run.info.status == "FINISHED" for run in runs)
    assert all(run.data.tags["dagster/run_id"] for run in runs)
    parent = next(run for run in runs if "mlflow.parentRunId" not in run.data.tags)
    steps = [metric.step for metric in mlflow.get_metric_history(parent.info.run_id, "train/loss")]
    assert (
        steps == sorted(set(steps)) and steps[-1] >= sum(stage.result.steps for stage in finished.stages) - 10
    )


def test_a_second_run_reuses_everything(finished: Finished) -> None:
    assert set(finished.again.reused) == set(finished.run.assets)
    assert not finished.run.reused

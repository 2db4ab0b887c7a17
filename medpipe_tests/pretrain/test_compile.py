from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from medpipe.lake.manifest import MANIFEST
from medpipe.pretrain.compile import (
    CompiledPlan,
    CompiledStage,
    Component,
    compile_plan,
    compile_stage,
)
from medpipe.pretrain.corpus import ShardInfo, TokenizerInfo
from medpipe.pretrain.plan import Plan, PlanError, builtin_plans, parse_plan
from medpipe.pretrain.rate_borders import rate_jumps
from medpipe.records.kinds import Domain, Split, Tier
from medpipe_tests.pretrain.corpus import Corpus, build_corpus


def tiny(**changes: Any) -> Plan:
    values = yaml.safe_load(builtin_plans()["tiny"].read_text())
    return parse_plan(values | changes, origin="test")


def with_stage(index: int, **changes: Any) -> Plan:
    values = yaml.safe_load(builtin_plans()["tiny"].read_text())
    values["stages"][index] |= changes
    return parse_plan(values, origin="test")


def problems_of(plan: Plan, corpus: Corpus) -> list[str]:
    with pytest.raises(PlanError) as caught:
        compile_plan(plan, corpus.snapshot, corpus.lake)
    return caught.value.problems


def test_stages_follow_each_other(compiled: CompiledPlan, plan: Plan) -> None:
    assert [s.first_step for s in compiled.stages] == [0, 20, 40, 60]
    assert [s.parent for s in compiled.stages] == [None, *(s.digest for s in compiled.stages[:3])]
    for stage in compiled.stages:
        assert stage.tokens == stage.steps * plan.tokens_per_step
        assert sum(c.samples for c in stage.components) == stage.samples
        assert sum(c.share for c in stage.components) == pytest.approx(1)


def test_only_training_shards_are_read(compiled: CompiledPlan) -> None:
    assert {s.split for stage in compiled.stages for s in stage.shards} == {"train"}
    assert {s.split for s in compiled.validation} == {"validation"}


def test_tier_narrows_the_shards(corpus: Corpus) -> None:
    plan = with_stage(1, mixture=[{"domain": "general", "tier": "refined", "weight": 1}])
    stage = compile_plan(plan, corpus.snapshot, corpus.lake).stage("stable")
    assert {s.tier for s in stage.shards} == {"refined"}
    assert stage.components[0].label == "general (refined)"


def digests(plan: Plan, corpus: Corpus) -> list[str]:
    return [stage.digest for stage in compile_plan(plan, corpus.snapshot, corpus.lake).stages]


def changed(before: list[str], after: list[str]) -> list[int]:
    return [index for index in range(4) if before[index] != after[index]]


def test_editing_a_stage_changes_it_and_those_after_it(corpus: Corpus) -> None:
    base = digests(tiny(), corpus)
    for index in range(4):
        tokens = 20_480 + 1_024
        assert changed(base, digests(with_stage(index, tokens=tokens), corpus)) == list(range(index, 4))


def test_what_does_not_decide_the_bytes_is_outside_the_digest(corpus: Corpus) -> None:
    base = digests(tiny(), corpus)
    outside = {"checkpoint_every_steps": 3, "log_every_steps": 7, "threads": 1, "seed": 99, "name": "other"}
    outside |= {"keep_checkpoints": 9, "maximum_epochs": 55, "validation_tokens": 100}
    assert digests(tiny(**outside), corpus) == base
    for change in ({"sequence_length": 32}, {"batch_sequences": 8}, {"precision": "bf16"}):
        assert changed(base, digests(tiny(**change), corpus)) == [0, 1, 2, 3]


def test_other_shards_of_one_domain_change_the_stages_that_read_it(tmp_path: Path, corpus: Corpus) -> None:
    plan = with_stage(0, mixture=[{"domain": "general", "weight": 1}])
    other = build_corpus(tmp_path / "other", seed=1)
    assert digests(plan, corpus) != digests(plan, other)
    assert digests(plan, corpus) == digests(plan, build_corpus(tmp_path / "same"))


def test_the_named_rate_mends_the_jump(corpus: Corpus) -> None:
    values = yaml.safe_load(builtin_plans()["tiny"].read_text())
    values["stages"][2]["learning_rate"] = {"shape": "exponential", "half_life_tokens": 3_000}
    values["stages"][3]["learning_rate"] = {"shape": "constant", "to": 0.388}
    text = "\n".join(problems_of(parse_plan(values, origin="test"), corpus))
    named = re.search(r"set learning_rate.to of converge to (\S+) or", text)
    assert named is not None and len(named[1]) > 12
    values["stages"][3]["learning_rate"]["to"] = float(named[1])
    assert not rate_jumps(parse_plan(values, origin="test"))


def test_every_problem_is_named_at_once(corpus: Corpus) -> None:
    values = yaml.safe_load(builtin_plans()["tiny"].read_text())
    values["maximum_epochs"] = 2
    values["stages"][0]["mixture"].append({"domain": "literature", "weight": 1})
    values["stages"][1]["mixture"][0]["source"] = "nobody"
    values["stages"][1]["learning_rate"] = {"shape": "constant", "to": 0.5}
    text = "\n".join(problems_of(parse_plan(values, origin="test"), corpus))
    assert "stage fast: no training shard matches 'literature'" in text
    assert "in these domains only: disease, general" in text
    assert "stage stable: no training shard matches 'general/nobody'" in text
    assert "general_source (raw), general_source (refined)" in text
    assert "the learning rate jumps from 1 to 0.5 of the peak between fast and stable" in text
    assert "disease/disease_source (raw) has too few tokens: it would be read" in text


def test_an_entry_that_overlaps_another_is_refused(corpus: Corpus) -> None:
    mixture = [{"domain": "general", "weight": 1}, {"domain": "general", "tier": "refined", "weight": 1}]
    [problem] = problems_of(with_stage(2, mixture=mixture), corpus)
    assert "matched by both 'general' and 'general (refined)'" in problem
    mixture = [{"domain": "general", "weight": 1}, {"domain": "general", "weight": 2}]
    [problem] = problems_of(with_stage(2, mixture=mixture), corpus)
    assert "narrow one of them" in problem


def test_repetition_counts_over_the_whole_curriculum(corpus: Corpus) -> None:
    compiled = compile_plan(tiny(), corpus.snapshot, corpus.lake)
    epochs = sum(
        component.epochs
        for stage in compiled.stages
        for component in stage.components
        if component.label == "disease"
    )
    compile_plan(tiny(maximum_epochs=epochs + 0.01), corpus.snapshot, corpus.lake)
    problems = problems_of(tiny(maximum_epochs=epochs - 0.01), corpus)
    assert all(problem.startswith("disease/disease_source") for problem in problems)
    assert "fast" in problems[0] and "converge" in problems[0]


def test_an_entry_that_comes_to_no_sample_is_told(corpus: Corpus) -> None:
    assert not compile_plan(tiny(), corpus.snapshot, corpus.lake).warnings
    mixture = [{"domain": "general", "weight": 10_000}, {"domain": "disease", "weight": 1}]
    compiled = compile_plan(with_stage(2, mixture=mixture), corpus.snapshot, corpus.lake)
    [warning] = compiled.warnings
    assert "stage anneal: 'disease' is never read, 0.01% of" in warning and "raise its weight" in warning


def test_a_corpus_without_held_out_text_is_refused(tmp_path: Path) -> None:
    corpus = build_corpus(tmp_path, validation=0)
    [problem] = problems_of(tiny(), corpus)
    assert "no validation tokens" in problem


def test_missing_shards_are_refused(own_corpus: Corpus) -> None:
    ref = own_corpus.snapshot.shards[0]
    folder = own_corpus.lake.dataset("shards", ref.domain, ref.source, digest=ref.digest)
    (folder / MANIFEST).unlink()
    text = "\n".join(problems_of(tiny(), own_corpus))
    assert str(folder) in text
    assert "materialise" in text
    shutil.rmtree(folder)
    assert str(folder) in "\n".join(problems_of(tiny(), own_corpus))


def test_a_tokenizer_that_the_plan_does_not_ask_for_is_refused(own_corpus: Corpus) -> None:
    ref = own_corpus.snapshot.tokenizer
    path = own_corpus.lake.dataset("tokenizer", ref.name, digest=ref.digest) / MANIFEST
    values = json.loads(path.read_text())
    values["recipe"]["config"] = tiny().tokenizer.recipe
    path.write_text(json.dumps(values))
    compile_plan(tiny(), own_corpus.snapshot, own_corpus.lake)
    [problem] = problems_of(tiny(tokenizer={"vocabulary_size": 9_000}), own_corpus)
    assert "made with vocabulary_size 4096 (the plan says 9000)" in problem and "MEDPIPE_PLAN" in problem


def test_validation_digest_follows_text_and_cap(corpus: Corpus) -> None:
    one = compile_plan(tiny(), corpus.snapshot, corpus.lake).validation_digest
    assert one == compile_plan(tiny(seed=3), corpus.snapshot, corpus.lake).validation_digest
    assert one != compile_plan(tiny(validation_tokens=50), corpus.snapshot, corpus.lake).validation_digest


def test_the_demo_plan_compiles_on_a_corpus_of_the_promised_size(tmp_path: Path) -> None:
    """40 thousand tokens in each domain that the demo plan weighs are enough for its repetition cap."""
    plan = parse_plan(yaml.safe_load(builtin_plans()["demo"].read_text()), origin="demo")
    domains = tuple(sorted({entry.domain.value for stage in plan.stages for entry in stage.mixture}))
    documents = dict.fromkeys(domains, 860) | {"general": 530, "dialogue": 960, "disease": 960}
    corpus = build_corpus(tmp_path, domains=domains, documents=documents, refined_share=0.75)
    compiled = compile_plan(plan, corpus.snapshot, corpus.lake)
    sizes = {d: sum(s.tokens for s in compiled.stage("fast").shards if s.domain == d) for d in domains}
    assert max(sizes.values()) < 43_000


GOLDEN = {
    "tiny": [
        "263f4764fff75282859de62077993b9e",
        "91b94c53da44fb58f49afa04d6e8e20f",
        "0614d430c65166ecbf6220007e08d383",
        "eba131d41e51776db0233ef5e59ca52a",
    ],
    "demo": [
        "578963d3de9966814b70188a89f8358d",
        "3a85f65ec7714fcfbaf2d554afe7ee0d",
        "e167750c4a611a6875b6231bf89eb3bd",
        "61693df7ddf938e11266cef86bdb5009",
    ],
}
"""Digests as they were before plans could start elsewhere, replay, or name a half-life."""


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_run_folders_of_plans_without_new_fields_stay_valid(name: str) -> None:
    plan = parse_plan(yaml.safe_load(builtin_plans()[name].read_text()), origin=name)
    tokenizer = TokenizerInfo(folder=Path("t"), digest="0" * 32, vocabulary_size=4096, eos_id=0, pad_id=1)
    shard = ShardInfo(
        domain=Domain.GENERAL, source="s", digest="1" * 32, name="00000", split=Split.TRAIN, tier=Tier.RAW,
        documents=1, tokens=10, text_bytes=10,
    )  # fmt: skip
    part = Component(label="general", share=1.0, samples=1, shards=(shard,), windows=1)
    chain: list[CompiledStage] = []
    for stage in plan.stages:
        chain.append(compile_stage(plan, stage, (part,), tokenizer, chain[-1] if chain else None))
    assert [stage.digest for stage in chain] == GOLDEN[name]


def test_a_cosine_ties_every_stage_to_the_length_of_the_run(corpus: Corpus) -> None:
    values = yaml.safe_load(builtin_plans()["tiny"].read_text())
    for stage in values["stages"]:
        del stage["learning_rate"]
    values["learning_rate"] = {"shape": "cosine", "to": 0.1}
    base = digests(parse_plan(values, origin="x"), corpus)
    assert changed(digests(tiny(), corpus), base) == [0, 1, 2, 3]
    values["stages"][3]["tokens"] += 1_024
    assert changed(base, digests(parse_plan(values, origin="x"), corpus)) == [0, 1, 2, 3]


def test_replay_reads_what_the_earlier_stage_read_and_nothing_twice(corpus: Corpus) -> None:
    mixture = [{"domain": "disease", "weight": 75}, {"replay": "fast", "weight": 25}]
    stage = compile_plan(with_stage(2, mixture=mixture), corpus.snapshot, corpus.lake).stage("anneal")
    own, replayed = stage.components
    assert (own.label, replayed.label) == ("disease", "replay of fast: general")
    assert (own.share, replayed.share) == (0.75, 0.25)  # disease, which fast read too, is this stage's own
    assert own.samples + replayed.samples == stage.samples and replayed.samples == stage.samples // 4
    keys = [shard.key for shard in stage.shards]
    assert len(keys) == len(set(keys))


def test_a_replayed_entry_shrinks_to_what_is_left_of_it(corpus: Corpus) -> None:
    fast = [{"domain": "general", "weight": 2}, {"domain": "disease", "weight": 1}]
    mixture = [{"domain": "general", "tier": "refined", "weight": 1}, {"replay": "fast", "weight": 1}]
    values = yaml.safe_load(builtin_plans()["tiny"].read_text())
    values["stages"][0]["mixture"], values["stages"][2]["mixture"] = fast, mixture
    compiled = compile_plan(parse_plan(values, origin="x"), corpus.snapshot, corpus.lake)
    first, own, general, disease = (compiled.stage("fast"), *compiled.stage("anneal").components)
    assert own.share == 0.5 and general.label == "replay of fast: general"
    assert {shard.tier for shard in general.shards} == {"raw"}
    left = general.tokens / first.components[0].tokens
    assert general.share / disease.share == pytest.approx(2 * left)
    assert general.share + disease.share == pytest.approx(0.5)


def test_a_replay_of_a_replay_and_one_that_adds_nothing(corpus: Corpus) -> None:
    values = yaml.safe_load(builtin_plans()["tiny"].read_text())
    values["stages"][0]["mixture"] = [{"domain": "general", "weight": 1}]
    values["stages"][2]["mixture"] = [{"domain": "disease", "weight": 1}, {"replay": "fast", "weight": 1}]
    values["stages"][3]["mixture"] = [{"replay": "anneal", "weight": 1}]
    stage = compile_plan(parse_plan(values, origin="x"), corpus.snapshot, corpus.lake).stage("converge")
    assert [part.label for part in stage.components] == [
        "replay of anneal: disease",
        "replay of anneal: general",
    ]
    values["stages"][3]["mixture"] = [{"domain": "general", "weight": 1}, {"replay": "fast", "weight": 1}]
    [problem] = problems_of(parse_plan(values, origin="x"), corpus)
    assert "replay of fast adds nothing" in problem


def test_the_digest_follows_what_a_replay_stands_for(corpus: Corpus) -> None:
    values = yaml.safe_load(builtin_plans()["tiny"].read_text())
    values["stages"][2]["mixture"] = [{"replay": "fast", "weight": 1}]
    base = digests(parse_plan(values, origin="x"), corpus)
    values["stages"][0]["mixture"][0]["weight"] = 5
    assert changed(base, digests(parse_plan(values, origin="x"), corpus)) == [0, 1, 2, 3]


@pytest.mark.parametrize("name", ["mini", "base", "continue"])
def test_presets_compile_where_every_domain_has_text(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """At a ten-thousandth of the tokens and with a small model: what is tested is the mixture."""
    values = yaml.safe_load(builtin_plans()[name].read_text())
    small = yaml.safe_load(builtin_plans()["tiny"].read_text())
    assert sum(stage["tokens"] for stage in values["stages"]) > 3e8
    for stage in values["stages"]:
        stage["tokens"] //= 10_000
        rate = stage["learning_rate"]
        rate |= {key: rate[key] // 10_000 for key in ("warmup_tokens", "half_life_tokens") if key in rate}
    values |= {"model": small["model"], "sequence_length": 64, "batch_tokens": 1_024, "maximum_epochs": 99}
    values.pop("start_from", None)
    values.pop("micro_batch_sequences")
    corpus = build_corpus(
        tmp_path_factory.mktemp("presets"),
        domains=tuple(domain.value for domain in Domain),
        documents=60,
        validation=4,
    )
    compiled = compile_plan(parse_plan(values, origin=name), corpus.snapshot, corpus.lake)
    for stage in compiled.stages:
        keys = [shard.key for shard in stage.shards]
        assert len(keys) == len(set(keys))
        assert sum(part.share for part in stage.components) == pytest.approx(1)
    converge = compiled.stage("converge").components
    own = {part.label: part.share for part in converge if not part.label.startswith("replay")}
    assert own == {"guideline (refined)": 0.35, "disease (refined)": 0.35}
    replayed = {shard.domain.value for part in converge[2:] for shard in part.shards}
    assert {"literature", "encyclopedia", "dialogue", "general"} <= replayed

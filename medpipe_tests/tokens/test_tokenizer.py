"""Training, pinning, exact round trips, special tokens that text cannot make."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from tokenizers import Tokenizer

from medpipe.lake.dataset import current
from medpipe.lake.layout import Lake
from medpipe.records.kinds import Kind, Split
from medpipe.tokens.config import TokenizerConfig
from medpipe.tokens.sample import LONGEST_CHARACTERS, draw, equal_shares, sample_ids, scan_documents
from medpipe.tokens.tokenizer import TokenizerError, load_tokenizer, train_tokenizer
from medpipe_tests.making import publish_records
from medpipe_tests.tokens.conftest import TOKENIZER, Corpus, make_documents


@pytest.fixture(scope="module")
def trained(corpus: Corpus) -> Tokenizer:
    return load_tokenizer(corpus.tokenizer)


@given(st.text())
@settings(max_examples=300, deadline=None)
def test_any_text_comes_back(trained: Tokenizer, text: str) -> None:
    ids = trained.encode(text, add_special_tokens=False).ids
    assert trained.decode(ids, skip_special_tokens=False) == text


@given(
    st.lists(st.sampled_from(["<eos>", "<pad>", "<", "eos>", "病", " ", "\n", "１０", "10mg", "\x00", "😀"]))
)
@settings(deadline=None)
def test_text_never_makes_a_special_token(trained: Tokenizer, pieces: list[str]) -> None:
    text = "".join(pieces)
    ids = trained.encode_batch_fast([text], add_special_tokens=False)[0].ids
    assert not {0, 1} & set(ids)
    assert trained.decode(ids, skip_special_tokens=False) == text


def test_merges_cross_no_punctuation_and_digits_stand_alone(trained: Tokenizer) -> None:
    marks = set("。，！？；：、（）")
    for token_id in range(2, trained.get_vocab_size()):
        text = trained.decode([token_id])
        assert not (marks & set(text)) or set(text) <= marks, text
        assert len(text.strip()) == 1 or not any(character.isdigit() for character in text), text


def test_facts(corpus: Corpus, trained: Tokenizer) -> None:
    facts = corpus.tokenizer.manifest.facts
    assert facts["vocabulary_size"] == trained.get_vocab_size() == 600
    assert (facts["eos_id"], facts["pad_id"]) == (trained.token_to_id("<eos>"), trained.token_to_id("<pad>"))
    assert facts["special_tokens"] == {"<eos>": 0, "<pad>": 1}
    assert facts["documents"] == corpus.documents.digest
    assert set(facts["report"]["by_domain"]) == {"disease", "tcm"}
    for numbers in facts["report"]["by_domain"].values():
        assert numbers["bytes_per_token"] > numbers["characters_per_token"] > 1
    held_out = corpus.documents.manifest.facts["by_domain"]
    assert facts["report"]["round_trip_texts"] == sum(counts["validation"] for counts in held_out.values())
    assert facts["report"]["round_trip_failures"] == 0


def test_a_refresh_keeps_the_tokenizer_until_forced(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    first = train_tokenizer(make_documents(lake), lake=lake, config=TOKENIZER)
    more = make_documents(lake, diseases=300)
    kept = train_tokenizer(more, lake=lake, config=TOKENIZER)
    assert kept.reused and kept.dataset == first.dataset
    forced = train_tokenizer(more, lake=lake, config=TOKENIZER, force=True)
    assert not forced.reused and forced.dataset.digest != first.dataset.digest
    after = train_tokenizer(more, lake=lake, config=TOKENIZER)
    assert after.reused and after.dataset.digest == forced.dataset.digest
    assert current(lake, "tokenizer", "medical-bpe").digest == forced.dataset.digest
    other = train_tokenizer(more, lake=lake, config=TOKENIZER.model_copy(update={"digits": "none"}))
    assert not other.reused and other.dataset.digest != forced.dataset.digest


def test_equal_bytes_with_one_and_two_threads(corpus: Corpus, tmp_path: Path) -> None:
    """In processes of their own: the hash seeds and the thread pool are those of a process."""
    program = (
        "import json, sys; from pathlib import Path\n"
        "from medpipe.lake.dataset import current; from medpipe.lake.layout import Lake\n"
        "from medpipe.records.kinds import Domain; from medpipe.tokens.config import *\n"
        "from medpipe.tokens.shards import build_shards\n"
        "from medpipe.tokens.tokenizer import train_tokenizer\n"
        "documents = current(Lake(Path(sys.argv[1])), 'corpus', 'documents')\n"
        "lake = Lake(Path(sys.argv[2]))\n"
        "config = TokenizerConfig(vocabulary_size=600, sample_bytes=200_000)\n"
        "tokenizer = train_tokenizer(documents, lake=lake, config=config).dataset\n"
        "cuts = ShardConfig(max_tokens_per_shard=4_000, min_text_bytes=4_000)\n"
        "built = [build_shards(domain, documents, tokenizer, lake=lake, config=cuts, engine='kernel')\n"
        "         for domain in (Domain.DISEASE, Domain.TCM)]\n"
        "shards = [each.dataset for by_source in built for each in by_source.values()]\n"
        "files = sorted(file.sha256 for dataset in shards for file in dataset.manifest.files)\n"
        "print(json.dumps([tokenizer.digest, sorted(d.digest for d in shards), files]))"
    )
    printed = []
    for threads in ("1", "2"):
        environment = os.environ | {"RAYON_NUM_THREADS": threads, "POLARS_MAX_THREADS": threads}
        run = subprocess.run(
            [sys.executable, "-c", program, str(corpus.lake.root), str(tmp_path / threads)],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
            cwd=Path(__file__).parents[2],
        )
        printed.append(json.loads(run.stdout))
    assert printed[0] == printed[1]


def test_no_training_text_is_an_error_with_a_fix(tmp_path: Path, corpus: Corpus) -> None:
    with pytest.raises(TokenizerError, match="corpus/documents"):
        train_tokenizer(
            publish_records(Lake(tmp_path), "x", Kind.DOCUMENT, []), lake=Lake(tmp_path), config=TOKENIZER
        )
    assert not (tmp_path / "tokenizer").exists()


def test_a_broken_file_is_an_error_with_a_fix(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    dataset = train_tokenizer(make_documents(lake), lake=lake, config=TOKENIZER).dataset
    (dataset.path / "tokenizer.json").write_text("{")
    with pytest.raises(TokenizerError, match=r"tokenizer\.json cannot be read"):
        load_tokenizer(dataset)


@pytest.mark.parametrize(
    "wrong",
    [
        {"vocabulary_size": 257},
        {"eos_token": "<pad>"},
        {"pad_token": ""},
        {"digits": "some"},
        {"vocab_size": 4096},
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TokenizerConfig.model_validate(wrong)


@given(st.dictionaries(st.text("abc", min_size=1), st.integers(0, 10**6), max_size=8), st.integers(0, 10**6))
def test_shares_fit_the_budget_and_favour_nobody(sizes: dict[str, int], budget: int) -> None:
    shares = equal_shares(sizes, budget)
    assert all(0 <= shares[domain] <= size for domain, size in sizes.items())
    assert sum(shares.values()) <= budget
    cut = [share for domain, share in shares.items() if share < sizes[domain]]
    assert not cut or max(shares.values()) - min(cut) <= 1
    assert sum(shares.values()) >= min(budget, sum(sizes.values())) - len(sizes)


def test_the_sample_is_seeded_and_bounded(corpus: Corpus) -> None:
    def chosen(seed: int, budget: int) -> list[str]:
        sample = sample_ids(corpus.documents, split=Split.TRAIN, budget=budget, seed=seed)
        assert sample["size"].sum() <= budget
        return sample["id"].to_list()

    assert chosen(1, 10_000) == chosen(1, 10_000)
    assert set(chosen(1, 10_000)) != set(chosen(2, 10_000))
    train = scan_documents(corpus.documents).filter(pl.col("split") == "train").collect()
    assert set(chosen(1, 10**9)) == set(train["id"])
    assert train["text"].str.len_chars().max() < LONGEST_CHARACTERS


def test_the_draw_is_spread_evenly() -> None:
    ids = pl.Series([f"{number:016x}" + "0" * 16 for number in range(4000)])
    numbers = draw(ids, seed=3)
    assert len(set(numbers.tolist())) == 4000
    assert 0.47 < (numbers > 2**63).mean() < 0.53

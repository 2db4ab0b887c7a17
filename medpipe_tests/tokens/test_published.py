"""Published tokenizers give their publisher's ids, or an error that names the setting."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from medpipe.lake.layout import Lake
from medpipe.records.kinds import Domain
from medpipe.tokens.config import TokenizerConfig
from medpipe.tokens.engine import PROBES
from medpipe.tokens.published import (
    PATTERNS,
    TokenizerError,
    _from_sentencepiece,
    read_published,
    unknown_token,
)
from medpipe.tokens.shard import open_dataset, verify_shard
from medpipe.tokens.shards import build_shards
from medpipe.tokens.tokenizer import load_tokenizer, train_tokenizer
from medpipe_tests.making import article
from medpipe_tests.shared_data import shared_data
from medpipe_tests.tokens.conftest import HOSTILE, Corpus
from medpipe_tests.tokens.documents import Text, publish_documents

CHATGLM2 = "tokenizers/chatglm_tokenizer/tokenizer.model"
MINIMIND = "tokenizers/minimind/tokenizer.json"


def train_sentencepiece(path: Path, **arguments: Any) -> Path:
    import sentencepiece

    model = io.BytesIO()
    given: dict[str, Any] = {
        "sentence_iterator": iter([article(n) for n in range(300)] + ["dose isn't 10 mg"] * 30),
        "model_writer": model,
        "vocab_size": 400,
        "byte_fallback": True,
        "character_coverage": 0.999,
        "minloglevel": 2,
    }
    sentencepiece.SentencePieceTrainer.train(**(given | arguments))
    path.write_bytes(model.getvalue())
    return path


@pytest.mark.parametrize("model_type", ["bpe", "unigram"])
@pytest.mark.parametrize("normalization", ["identity", "nmt_nfkc"])
@pytest.mark.parametrize("whole_text", [True, False])
def test_sentencepiece_models(tmp_path: Path, model_type: str, normalization: str, whole_text: bool) -> None:
    from sentencepiece import SentencePieceProcessor

    path = train_sentencepiece(
        tmp_path / "m.model",
        model_type=model_type,
        normalization_rule_name=normalization,
        remove_extra_whitespaces=not whole_text,
        add_dummy_prefix=whole_text,
        user_defined_symbols=["<sep>"],
    )
    sample = [article(1000), "病人  有 发热。", "10mg\n\n<eos>"]
    config = TokenizerConfig(file=path, eos_token="</s>", pad_token="<pad>")
    if model_type == "unigram":
        # The library looks control pieces up as if they were pieces of text.
        with pytest.raises(TokenizerError, match=r"'</s>' cannot be a special token"):
            read_published(config, sample=sample)
        tokenizer = _from_sentencepiece(path, sample)
    else:
        tokenizer = read_published(config, sample=sample)
    processor = SentencePieceProcessor(model_file=str(path))
    for text in [*sample, *(article(n) for n in range(2000, 2100))]:
        assert tokenizer.encode(text, add_special_tokens=False).ids == processor.encode(text)
    assert tokenizer.token_to_id("</s>") == processor.eos_id()
    if normalization == "identity" and whole_text:
        ids = tokenizer.encode("  病人\x00😀 x ").ids
        assert tokenizer.decode(ids, skip_special_tokens=False) == "  病人\x00😀 x "


@pytest.fixture(scope="module")
def chatglm2() -> Tokenizer:
    path = shared_data(CHATGLM2)
    more = ("[MASK]", "[gMASK]", "[sMASK]", "sop", "eop")
    config = TokenizerConfig(file=path, eos_token="</s>", pad_token="<unk>", more_special_tokens=more)
    return read_published(config, sample=PROBES)


def test_chatglm2_has_its_publishers_ids(chatglm2: Tokenizer) -> None:
    from sentencepiece import SentencePieceProcessor

    processor = SentencePieceProcessor(model_file=str(shared_data(CHATGLM2)))
    texts = shared_data("skywork/zh_general.jsonl").read_text().splitlines()[:150]
    texts += shared_data("bentsao/llama_data.json").read_text().splitlines()[:600]
    encodings = chatglm2.encode_batch_fast(texts, add_special_tokens=False)
    assert [encoding.ids for encoding in encodings] == processor.encode(texts)
    decoded = chatglm2.decode_batch([encoding.ids for encoding in encodings], skip_special_tokens=False)
    assert decoded == texts
    assert [chatglm2.token_to_id(token) for token in ("</s>", "[MASK]", "[gMASK]", "sop", "eop")] == [
        *(2, 64789, 64790, 64792, 64793)
    ]
    assert chatglm2.get_vocab_size() == 64794
    assert unknown_token(chatglm2) == "<unk>"


@given(st.text())
@settings(max_examples=200, deadline=None)
def test_any_text_comes_back_from_chatglm2(chatglm2: Tokenizer, text: str) -> None:
    ids = chatglm2.encode(text, add_special_tokens=False).ids
    assert 2 not in ids
    assert chatglm2.decode(ids, skip_special_tokens=False) == text.replace("▁", " ")


def test_shards_with_chatglm2(corpus: Corpus, tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    config = TokenizerConfig(name="chatglm2", file=shared_data(CHATGLM2), eos_token="</s>")
    built = train_tokenizer(corpus.documents, lake=lake, config=config)
    facts = built.dataset.manifest.facts
    assert (facts["vocabulary_size"], facts["eos_id"], facts["pad_id"]) == (64789, 2, None)
    assert facts["special_tokens"] == {"</s>": 2}
    assert facts["report"]["round_trip_failures"] == 0
    assert facts["report"]["all"]["unknown_rate"] == 0
    assert train_tokenizer(corpus.documents, lake=lake, config=config).reused
    elsewhere = tmp_path / "copied.model"
    elsewhere.write_bytes(shared_data(CHATGLM2).read_bytes())
    moved = config.model_copy(update={"file": elsewhere})
    assert train_tokenizer(corpus.documents, lake=lake, config=moved).reused
    dataset = build_shards(Domain.TCM, corpus.documents, built.dataset, lake=lake)["texts"].dataset
    verify_shard(dataset.path)
    assert open_dataset(dataset)[0].tokens.dtype == "uint16"


def test_special_tokens_in_text_stay_text(chatglm2: Tokenizer) -> None:
    for text in (HOSTILE, "</s>[gMASK]sop"):
        ids = chatglm2.encode(text, add_special_tokens=False).ids
        assert not {0, 1, 2} & set(ids) and max(ids) < 64789
        assert chatglm2.decode(ids, skip_special_tokens=False) == text


def test_a_tokenizer_json_keeps_its_ids(tmp_path: Path, corpus: Corpus) -> None:
    path = shared_data(MINIMIND)
    config = TokenizerConfig(name="minimind", file=path, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    built = train_tokenizer(corpus.documents, lake=Lake(tmp_path), config=config)
    theirs, ours = Tokenizer.from_file(str(path)), load_tokenizer(built.dataset)
    for text in [article(n) for n in range(50)]:
        assert ours.encode(text, add_special_tokens=False).ids == theirs.encode(text).ids
    assert built.dataset.manifest.facts["eos_id"] == theirs.token_to_id("<|im_end|>")
    assert built.dataset.manifest.facts["pad_id"] == 0


def test_without_eos_the_error_names_the_setting() -> None:
    config = TokenizerConfig(file=shared_data(MINIMIND))
    with pytest.raises(TokenizerError, match=r"no token '<eos>'.*`eos_token`.*<\|im_end\|>"):
        read_published(config, sample=())


def write_tiktoken(path: Path) -> dict[bytes, int]:
    """All bytes, and what merging some texts by hand would give."""
    ranks = {bytes([byte]): byte for byte in range(256)}
    words = [
        *"病人患者发热咳嗽",
        "病人",
        "患者",
        "发热",
        " a",
        "do",
        "dose",
        " dose",
        "mg",
        "\n\n",
        "  ",
        "es",
    ]
    for word in words:
        data = word.encode()
        for end in range(2, len(data) + 1):
            ranks.setdefault(data[:end], len(ranks))
    lines = [base64.b64encode(token) + b" " + str(rank).encode() for token, rank in ranks.items()]
    path.write_bytes(b"\n".join(lines))
    return ranks


@pytest.mark.parametrize("pattern", sorted(PATTERNS))
def test_a_tiktoken_file_has_tiktokens_ids(tmp_path: Path, pattern: str) -> None:
    import tiktoken

    path = tmp_path / "x.tiktoken"
    ranks = write_tiktoken(path)
    config = TokenizerConfig(file=path, pattern=pattern, eos_token="<|endoftext|>")
    tokenizer = read_published(config, sample=())
    theirs = tiktoken.Encoding("x", pat_str=PATTERNS[pattern], mergeable_ranks=ranks, special_tokens={})
    for text in [*PROBES, article(1), "the dose  does 10mg\n\n病人发热"]:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        assert ids == theirs.encode_ordinary(text)
        assert tokenizer.decode(ids, skip_special_tokens=False) == text
    assert tokenizer.token_to_id("<|endoftext|>") == len(ranks)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.model", b"\xff\xff not a model", "is no SentencePiece model"),
        ("a.model", b"", "is no SentencePiece model"),
        ("a.json", b"{", r"a\.json cannot be read"),
        ("a.tiktoken", b"!!! 3", "is no tiktoken file"),
        ("a.txt", b"x", r"is none of \.json, \.model, \.tiktoken"),
    ],
)
def test_unreadable_files(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TokenizerError, match=message):
        read_published(TokenizerConfig(file=tmp_path / name, pattern="gpt2"), sample=())


def test_missing_files_and_settings(tmp_path: Path, corpus: Corpus) -> None:
    with pytest.raises(TokenizerError, match=r"absent\.json cannot be read .*`file`"):
        config = TokenizerConfig(file=tmp_path / "absent.json")
        train_tokenizer(corpus.documents, lake=Lake(tmp_path), config=config)
    path = tmp_path / "x.tiktoken"
    write_tiktoken(path)
    with pytest.raises(TokenizerError, match="`pattern`"):
        read_published(TokenizerConfig(file=path), sample=())
    with pytest.raises(ValueError, match=r"pattern is for a \.tiktoken file only"):
        TokenizerConfig(pattern="gpt2")


def test_a_trained_tokenizers_recipe_is_what_it_was() -> None:
    """Settings of published tokenizers must not make anybody train again."""
    assert set(TokenizerConfig().recipe) == {
        *("name", "vocabulary_size", "min_frequency", "eos_token", "pad_token", "more_special_tokens"),
        *("digits", "sample_bytes", "seed"),
    }


def test_a_vocabulary_over_65535_is_int32(tmp_path: Path, corpus: Corpus) -> None:
    content = json.loads(shared_data(MINIMIND).read_text())
    size = len(content["model"]["vocab"])
    content["model"]["vocab"] |= {f"<more{n}>": size + n for n in range(70_000 - size)}
    path = tmp_path / "wide.json"
    path.write_text(json.dumps(content))
    config = TokenizerConfig(name="wide", file=path, eos_token="<|im_end|>")
    news: list[str] = []
    lake = Lake(tmp_path / "lake")
    tokenizer = train_tokenizer(corpus.documents, lake=lake, config=config, progress=news.append).dataset
    assert any("70,000 entries, ids are int32" in line for line in news)
    dataset = build_shards(Domain.TCM, corpus.documents, tokenizer, lake=lake)["texts"].dataset
    verify_shard(dataset.path)
    assert open_dataset(dataset)[0].tokens.dtype == "int32"


def test_a_special_token_that_text_produces_is_refused(tmp_path: Path) -> None:
    path = shared_data(CHATGLM2)
    for name in ("。", "患者"):
        with pytest.raises(TokenizerError, match=rf"'{name}' cannot be a special token.*`eos_token`"):
            read_published(TokenizerConfig(file=path, eos_token=name), sample=())
    with pytest.raises(ValueError, match="text can hold the token a"):
        TokenizerConfig(eos_token="a")
    # Merging gives this one, which the settings alone do not tell.
    config = TokenizerConfig(name="merged", vocabulary_size=600, eos_token="ab")
    lake = Lake(tmp_path)
    documents = publish_documents(lake, [Text(f"ab\nab\nab\n{article(n)}") for n in range(60)])
    with pytest.raises(TokenizerError, match="'ab' cannot be a special token"):
        train_tokenizer(documents, lake=lake, config=config)
    assert not list(lake.room("tokenizer", "merged").glob("*/*"))

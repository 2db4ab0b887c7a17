"""datatrove's runs: `python -m bench.peers.datatrove_steps STEP [--words UNITS] INPUTS OUTPUT`.

Two workers with a file each. They are forked from a process that has imported everything and loaded jieba's
dictionary, so that their start takes no time, and they read Parquet without metadata, which is faster than
lines of JSON; only the whole way starts from these.
"""

from __future__ import annotations

import argparse
import json
import re
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import jieba
import spacy  # noqa: F401 - imported before the clock starts, used by the workers
import xxhash
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import (
    MinhashConfig,
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
    MinhashDedupSignature,
)
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)
from datatrove.pipeline.readers import JsonlReader, ParquetReader
from datatrove.pipeline.tokens import DocumentTokenizer
from datatrove.pipeline.writers import JsonlWriter
from datatrove.utils.word_tokenizers import WordTokenizer

from bench.clock import Steps, Work, timed

WORKERS = 2
BUCKETS, HASHES = 12, 5
"""As medpipe's bands at a similarity of 0.8: 60 values. datatrove's default, 14 of 8, is for 0.72."""
CHINESE = "cmn"
KEPT, CLUSTERS = "kept", "clusters.json"


class _Pattern(WordTokenizer):
    """Words that a regular expression finds, in the place of jieba's."""

    def __init__(self, pattern: str) -> None:
        super().__init__(CHINESE)
        self.pattern = re.compile(pattern)

    def word_tokenize(self, text: str) -> list[str]:
        return self.pattern.findall(text)

    def sent_tokenize(self, text: str) -> list[str]:
        raise NotImplementedError

    def span_tokenize(self, text: str) -> list[tuple[int, int]]:
        raise NotImplementedError


_RUN = r"(?:[^\W_\u3040-\u30ff\u3400-\u9fff]|_)+(?:[.'’-](?:[^\W_\u3040-\u30ff\u3400-\u9fff])+)*"
_HAN = r"[\u3040-\u30ff\u3400-\u9fff]"


def units(words: str, *, marks: bool) -> Any:
    """How texts are cut: jieba's words, or as medpipe cuts them.

    Args:
        words: `jieba`, or `characters`: a Chinese character, a run of other letters and digits.
        marks: whether a mark is a unit too; `characters` only.
    """
    if words == "jieba":
        return CHINESE
    return _Pattern(f"{_HAN}|{_RUN}" + (r"|[^\s\w]" if marks else ""))


def same_filters(words: str) -> list[Any]:
    """The rules that medpipe has too, with datatrove's limits.

    Left out is what says nothing of Chinese: English stop words, the length of words, and C4's number of
    sentences and rules for single lines, which change the text.
    """
    return [
        GopherRepetitionFilter(language=units(words, marks=True)),
        GopherQualityFilter(
            min_avg_word_length=None,
            max_avg_word_length=None,
            min_stop_words=None,
            language=units(words, marks=False),
        ),
        C4QualityFilter(
            filter_no_terminal_punct=False,
            min_num_sentences=-1,
            min_words_per_line=-1,
            max_word_length=-1,
            remove_citations=False,
            filter_javascript=False,
            filter_policy=False,
        ),
        FineWebQualityFilter(language=units(words, marks=False)),
    ]


def chinese_filters(words: str) -> list[Any]:
    """The same with medpipe's own limits for dropping Chinese, so that both ways go on with as much text."""
    return [
        GopherRepetitionFilter(
            dup_line_frac=0.5,
            dup_para_frac=0.5,
            dup_line_char_frac=0.4,
            dup_para_char_frac=0.4,
            top_n_grams=((2, 0.45), (3, 0.45), (4, 0.45)),
            dup_n_grams=tuple((n, round(0.6 - 0.02 * n, 2)) for n in range(5, 11)),
            language=units(words, marks=True),
        ),
        GopherQualityFilter(
            min_doc_words=5,
            max_doc_words=None,
            min_avg_word_length=None,
            max_avg_word_length=None,
            min_stop_words=None,
            max_bullet_lines_ratio=None,
            max_ellipsis_lines_ratio=0.9,
            max_non_alpha_words_ratio=0.3,
            language=units(words, marks=False),
        ),
    ]


def execute(pipeline: list[Any], output: Path, name: str, *, tasks: int = WORKERS) -> None:
    """Runs a pipeline with two workers, or with one where it is a single task."""
    LocalPipelineExecutor(
        pipeline=pipeline,
        tasks=tasks,
        workers=min(tasks, WORKERS),
        logging_dir=str(output / "logs" / name),
        start_method="fork",
    ).run()


def tokenise(inputs: Path, output: Path, words: str) -> Work:
    """`DocumentTokenizer` without shuffling: uint16 ids and an index."""

    def work() -> dict[str, Any]:
        execute([_parquet(inputs), _tokenizer(inputs, output)], output, "tokens")
        files = sorted((output / "tokens").glob("*.ds"))
        return {"files": [path.as_posix() for path in files]}

    return work


def near_duplicates(inputs: Path, output: Path, words: str) -> Work:
    """Minhash: signatures, buckets, clusters; `filter`, the fourth step, is timed but is no part of these."""
    language = units(words, marks=False)

    def work() -> dict[str, Any]:
        steps = Steps()
        _minhash(_parquet(inputs), output, language, steps)
        rest = [
            _parquet(inputs),
            MinhashDedupFilter(str(output / "remove")),
            JsonlWriter(str(output / KEPT), compression=None),
        ]
        execute(rest, output, "filter")
        steps.end("filter")
        return {"steps": steps.seconds}

    return work


def hash_utf8(shingle: str) -> int:
    """64 bits of xxHash, datatrove's default."""
    digest: int = xxhash.xxh64_intdigest(shingle.encode())
    return digest


def _minhash(reader: Any, output: Path, language: Any, steps: Steps) -> None:
    config = MinhashConfig(n_grams=5, num_buckets=BUCKETS, hashes_per_bucket=HASHES)
    signatures, pairs, remove = (str(output / name) for name in ("signatures", "pairs", "remove"))
    step = MinhashDedupSignature(signatures, config=config, language=language)
    # datatrove passes strings, which newer versions of xxhash refuse.
    step._hash_func = hash_utf8
    execute([reader, step], output, "signatures")
    steps.end("signatures")
    execute([MinhashDedupBuckets(signatures, pairs, config=config)], output, "buckets", tasks=BUCKETS)
    steps.end("buckets")
    step = MinhashDedupCluster(pairs, remove, config=config, save_cluster_id=True)
    execute([step], output, "clusters", tasks=1)
    steps.end("clusters")


def read_clusters(output: Path) -> dict[str, int]:
    """Cluster by `<file>-<row>`, of the documents that are in one."""
    found = {}
    for path in sorted((output / "remove").glob("*.clusters")):
        number = int(path.stem)
        for row, cluster in struct.iter_unpack("<II", path.read_bytes()):
            found[f"{number}-{row}"] = cluster
    return found


def filters(inputs: Path, output: Path, words: str) -> Work:
    """The filters one after the other; leaves the ids of what they keep."""

    def work() -> dict[str, Any]:
        (output / KEPT).mkdir()
        keep = _KeepIds(output / KEPT)
        execute([_parquet(inputs), *same_filters(words), keep], output, "filters")
        return {}

    return work


class _KeepIds:
    """Writes the ids of the documents that come by."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, data: Iterable[Any], rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        with (self.folder / f"{rank}.txt").open("w") as file:
            for document in data:
                file.write(document.id + "\n")
                yield document


def whole_way(inputs: Path, output: Path, words: str) -> Work:
    """Lines of JSON, filters, minhash in four steps, `DocumentTokenizer`."""
    language = units(words, marks=False)

    def work() -> dict[str, Any]:
        steps = Steps()
        kept = JsonlWriter(str(output / KEPT), output_filename="${rank}.jsonl", compression=None)
        reader = JsonlReader(str(inputs / "raw"), glob_pattern="text-*.jsonl")
        execute([reader, *chinese_filters(words), kept], output, "filters")
        steps.end("filters")
        reader = JsonlReader(str(output / KEPT))
        _minhash(reader, output, language, steps)
        rest = [reader, MinhashDedupFilter(str(output / "remove")), _tokenizer(inputs, output)]
        execute(rest, output, "tokens")
        steps.end("filter and tokens")
        stats = json.loads((output / "logs" / "tokens" / "stats.json").read_text())
        forwarded = next(s["stats"]["forwarded"] for s in stats if "stage 4" in s["name"])
        count = forwarded["total"] if isinstance(forwarded, dict) else forwarded
        files = (output / "tokens").glob("*.ds")
        return {
            "steps": steps.seconds,
            "documents": count,
            "tokens": sum(path.stat().st_size for path in files) // 2,
        }

    return work


def _parquet(inputs: Path) -> ParquetReader:
    return ParquetReader(str(inputs / "halves"), read_metadata=False, batch_size=1_000)


def _tokenizer(inputs: Path, output: Path) -> DocumentTokenizer:
    return DocumentTokenizer(
        str(output / "tokens"),
        tokenizer_name_or_path=str(inputs / "tokenizer.json"),
        eos_token="<eos>",
        shuffle_documents=False,
        save_final_metadata=False,
    )


STEPS = {
    "tokenise": tokenise,
    "near_duplicates": near_duplicates,
    "filters": filters,
    "whole_way": whole_way,
}


def main() -> None:
    """Does one step."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("step", choices=STEPS)
    parser.add_argument("--words", choices=("jieba", "characters"), default="jieba")
    parser.add_argument("inputs", type=Path)
    parser.add_argument("output", type=Path)
    chosen = parser.parse_args()
    jieba.lcut("热身")
    work = STEPS[chosen.step](chosen.inputs, chosen.output, chosen.words)
    timed(work, packages=("datatrove", "tokenizers", "jieba", "spacy"))
    if chosen.step == "near_duplicates":
        (chosen.output / CLUSTERS).write_text(json.dumps(read_clusters(chosen.output)))


if __name__ == "__main__":
    main()

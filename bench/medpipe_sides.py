"""medpipe's runs: `python -m bench.medpipe_sides STEP INPUTS OUTPUT`, by the functions that assets call.

Before the clock starts everything is imported and has run once on a few lines: compiled code is loaded.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from bench.clock import Steps, Work, timed
from bench.inputs import DOMAIN, SOURCE, Inputs, publish_documents, raw_dataset, source
from bench.text import FILES
from medpipe.curate.config import CurateConfig
from medpipe.curate.corpus import build_corpus
from medpipe.curate.filters.config import Effect, FilterConfig
from medpipe.curate.filters.registry import RULES
from medpipe.curate.filters.rules import Limit
from medpipe.curate.judgement import build_judgement
from medpipe.curate.near_duplicates.clusters import SignedDocuments, find_clusters
from medpipe.curate.near_duplicates.documents import BATCH_ROWS
from medpipe.curate.near_duplicates.store import build_signatures
from medpipe.curate.purposes import Purpose, text_batches
from medpipe.lake.dataset import Dataset
from medpipe.lake.layout import Lake
from medpipe.normalize.run import normalize_source
from medpipe.records.kinds import Language
from medpipe.tokens.shards import build_shards

WORKERS = 2
CLUSTERS, VERDICTS, TOKENS = "clusters.parquet", "verdicts.parquet", "tokens.json"

SAME_RULES: Mapping[str, float] = {
    "gopher_repetition_v1/duplicate_lines": 0.3,
    "gopher_repetition_v1/duplicate_paragraphs": 0.3,
    "gopher_repetition_v1/duplicate_line_characters": 0.2,
    "gopher_repetition_v1/duplicate_paragraph_characters": 0.2,
    **{f"gopher_repetition_v1/top_{n}_gram": limit for n, limit in ((2, 0.2), (3, 0.18), (4, 0.16))},
    **{f"gopher_repetition_v1/duplicate_{n}_gram": round(0.2 - n / 100, 2) for n in range(5, 11)},
    "gopher_quality_v1/words": 50,
    "gopher_quality_v1/too_many_words": 100_000,
    "gopher_quality_v1/hashes": 0.1,
    "gopher_quality_v1/ellipses": 0.1,
    "gopher_quality_v1/bullet_lines": 0.9,
    "gopher_quality_v1/ellipsis_lines": 0.3,
    "gopher_quality_v1/alphabetic_words": 0.8,
    "c4_v1/lorem_ipsum": 0,
    "c4_v1/curly_brackets": 0,
    "fineweb_v1/line_punct": 0.12,
    "fineweb_v1/short_line": 0.67,
    "fineweb_v1/char_dup": 0.01,
    "fineweb_v1/list_ratio": 0.3,
}
"""datatrove's default limits, by the name that the same rule has here."""


def same_rules() -> FilterConfig:
    """The rules that datatrove has too, with its limits, and no others; all measures are still taken."""
    return FilterConfig(
        limits={name: {Language.ZH: Limit(drop=limit)} for name, limit in SAME_RULES.items()},
        effects={name: Effect.OFF for name in RULES if name not in SAME_RULES},
    )


def tokenise(inputs: Inputs, output: Path) -> Work:
    """`build_shards` on a corpus: shards with index, token Parquet, checksums and manifest."""
    documents, tokenizer = inputs.documents(), inputs.tokenizer()

    def work() -> dict[str, Any]:
        built = build_shards(DOMAIN, documents, tokenizer, lake=Lake(output), force=True, workers=WORKERS)
        dataset = built[SOURCE].dataset
        (output / TOKENS).write_text(json.dumps([path.as_posix() for path in dataset.files("*.bin")]))
        return {"tokens": sum(shard["tokens"] for shard in dataset.manifest.facts["shards"])}

    return work


def near_duplicates(inputs: Inputs, output: Path) -> Work:
    """`build_signatures` and `find_clusters`."""
    texts = pl.scan_parquet(inputs.halves).select("text", "lang")

    def work() -> dict[str, Any]:
        steps = Steps()
        built = build_signatures(SOURCE, texts, inputs={"texts": "halves"}, lake=Lake(output), force=True)
        steps.end("signatures")
        signed = SignedDocuments(built.dataset, texts)
        members = find_clusters({SOURCE: signed}, folder=output)
        steps.end("clusters")
        members.select("row", "cluster").write_parquet(output / CLUSTERS)
        return {"steps": steps.seconds, "clusters": members["cluster"].n_unique(), "members": members.height}

    return work


def filters(inputs: Inputs, output: Path) -> Work:
    """`build_judgement`, which measures all rules' measures, whichever are on."""
    normalized, config = inputs.normalized(), CurateConfig(filters=same_rules(), minimum_characters=1)

    def work() -> dict[str, Any]:
        built = build_judgement(source(), normalized, lake=Lake(output), config=config, force=True)
        [path] = built.dataset.files("*.parquet")
        (output / VERDICTS).hardlink_to(path)
        return {"documents": built.dataset.manifest.rows}

    return work


def whole_way(inputs: Inputs, output: Path) -> Work:
    """`normalize_source`, `build_corpus`, `build_shards`: all that the assets do from raw files to shards."""
    tokenizer, raw = inputs.tokenizer(), raw_dataset(inputs.raw)

    def work() -> dict[str, Any]:
        steps, lake, entry = Steps(), Lake(output), source()
        normalized = normalize_source(entry, raw, lake=lake).dataset
        steps.end("normalise")
        corpus = _corpus(normalized, lake)
        steps.end("corpus")
        built = build_shards(DOMAIN, corpus, tokenizer, lake=lake, workers=WORKERS)
        steps.end("shards")
        shards = built[SOURCE].dataset.manifest.facts["shards"]
        return {
            "steps": steps.seconds,
            "documents": corpus.manifest.rows,
            "rejected": corpus.manifest.facts["rejected_by_reason"],
            "tokens": sum(shard["tokens"] for shard in shards),
        }

    return work


def _corpus(normalized: Dataset, lake: Lake) -> Dataset:
    entry = source()
    return build_corpus(Purpose.DOCUMENTS, {SOURCE: normalized}, {SOURCE: entry}, lake=lake).dataset


def growth_normalise(inputs: Inputs, output: Path) -> Work:
    """Only `normalize_source`."""
    raw = raw_dataset(inputs.raw)
    return lambda: {"rows": normalize_source(source(), raw, lake=Lake(output)).dataset.manifest.rows}


def growth_judge(inputs: Inputs, output: Path) -> Work:
    """Only `build_judgement`, as `build_corpus` calls it, which finds it done afterwards."""
    lake, normalized = Lake(output), _normalized(output)
    return lambda: {
        "rows": build_judgement(source(), normalized, lake=lake, config=CurateConfig()).dataset.manifest.rows
    }


def growth_signatures(inputs: Inputs, output: Path) -> Work:
    """Only `build_signatures`, as `build_corpus` calls it."""
    lake, normalized = Lake(output), _normalized(output)
    recipe = {"normalized": normalized.digest, "template": ""}
    texts = partial(text_batches, source(), normalized, rows=BATCH_ROWS)
    return lambda: {"rows": build_signatures(SOURCE, texts, inputs=recipe, lake=lake).dataset.manifest.rows}


def growth_clusters(inputs: Inputs, output: Path) -> Work:
    """Only `find_clusters`, over all documents."""
    lake, normalized = Lake(output), _normalized(output)
    recipe = {"normalized": normalized.digest, "template": ""}
    texts = partial(text_batches, source(), normalized, rows=BATCH_ROWS)
    signatures = build_signatures(SOURCE, texts, inputs=recipe, lake=lake)
    if not signatures.reused:
        raise RuntimeError("the signatures of the step before were not found")
    signed = SignedDocuments(signatures.dataset, texts)
    return lambda: {"rows": find_clusters({SOURCE: signed}, folder=output).height}


def growth_corpus(inputs: Inputs, output: Path) -> Work:
    """`build_corpus`, which finds judgements and signatures there: clusters, decisions, privacy, writing."""
    lake, normalized = Lake(output), _normalized(output)
    return lambda: {"rows": _corpus(normalized, lake).manifest.rows}


def growth_encode(inputs: Inputs, output: Path) -> Work:
    """Only `build_shards`."""
    lake, tokenizer = Lake(output), inputs.tokenizer()
    from medpipe.lake.dataset import current

    corpus = current(lake, "corpus", "documents")
    return lambda: {
        "rows": build_shards(DOMAIN, corpus, tokenizer, lake=lake, workers=WORKERS)[
            SOURCE
        ].dataset.manifest.rows
    }


def _normalized(output: Path) -> Dataset:
    from medpipe.lake.dataset import current

    return current(Lake(output), "normalized", SOURCE)


STEPS: Mapping[str, Callable[[Inputs, Path], Work]] = {
    "tokenise": tokenise,
    "near_duplicates": near_duplicates,
    "filters": filters,
    "whole_way": whole_way,
    "growth_normalise": growth_normalise,
    "growth_judge": growth_judge,
    "growth_signatures": growth_signatures,
    "growth_clusters": growth_clusters,
    "growth_corpus": growth_corpus,
    "growth_encode": growth_encode,
}
WARMED = {
    "tokenise": "shards",
    "growth_encode": "shards",
    "near_duplicates": "corpus",
    "filters": "corpus",
    "growth_judge": "corpus",
    "growth_signatures": "corpus",
    "growth_clusters": "corpus",
    "growth_corpus": "corpus",
    "growth_normalise": "normalise",
}
"""Up to where a step's process goes on the few lines; else through all of it."""


def warm_up(inputs: Inputs, until: str) -> None:
    """Runs on a few lines of no other use, in a lake of its own, so that compiled code is loaded."""
    with tempfile.TemporaryDirectory(prefix="medpipe-warm-") as name:
        folder, lake = Path(name), Lake(Path(name) / "lake")
        lines = [json.dumps({"id": f"w-{n}", "text": _WARM * (1 + n % 3) + f"编号{n}。"}) for n in range(40)]
        for name in FILES:
            (folder / name).write_text("\n".join(lines) + "\n")
        normalized = normalize_source(source(), raw_dataset(folder), lake=lake).dataset
        if until in ("corpus", "all"):
            _corpus(normalized, lake)
        if until in ("shards", "all"):
            documents = publish_documents(lake, pl.scan_parquet(normalized.files("part-*.parquet")))
            for engine in ("auto", "kernel"):
                built = build_shards(
                    DOMAIN,
                    documents,
                    inputs.tokenizer(),
                    lake=lake,
                    force=True,
                    engine=engine,
                    workers=WORKERS,
                )
                if not built:
                    raise RuntimeError("the warm-up made no shards")


_WARM = (
    "患者三天前受凉后出现咳嗽、发热，体温38.5摄氏度，伴有咽痛。"
    "查体：咽部充血，双肺呼吸音粗。\n建议多饮水，注意休息。"
)


def token_digest(output: Path) -> str:
    """Digest of the ids that medpipe's side wrote, in order."""
    digest = hashlib.sha256()
    for name in json.loads((output / TOKENS).read_text()):
        digest.update(Path(name).read_bytes())
    return digest.hexdigest()


def main() -> None:
    """Does one step of one side."""
    step, folder, output = sys.argv[1], Inputs(Path(sys.argv[2])), Path(sys.argv[3])
    warm_up(folder, WARMED.get(step, "all"))
    timed(STEPS[step](folder, output), packages=("polars", "numba", "tokenizers"))


if __name__ == "__main__":
    main()

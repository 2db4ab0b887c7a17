"""The report of a verdict: one content, written as Markdown with pictures beside it or as one HTML page."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from medpipe.evaluate.arm_names import ArmName, arm_in_words
from medpipe.evaluate.verdict_facts import START, Verdict
from medpipe.evaluate.verdict_words import range_in_words

FOREST, RATES = "gains.png", "learning_rates.png"
"""File names of the pictures."""

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse;font-size:.85rem;margin:1rem 0}"
    "td,th{border-bottom:1px solid #ddd;padding:.25rem .6rem;text-align:left;vertical-align:top}"
    "img{max-width:100%}.wide{overflow-x:auto}"
)


@dataclass(frozen=True)
class _Heading:
    text: str
    level: int = 2


@dataclass(frozen=True)
class _Lines:
    """Paragraphs, or the points of a list."""

    lines: Sequence[str]
    is_list: bool = False


@dataclass(frozen=True)
class _Table:
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class _Picture:
    name: str
    text: str


_Block = _Heading | _Lines | _Table | _Picture


def as_markdown(verdict: Verdict, *, picture_prefix: str = "") -> str:
    """The report as Markdown; its pictures lie beside it under their names, with a prefix if given."""
    return "\n\n".join(_markdown(block, picture_prefix) for block in _content(verdict)) + "\n"


def as_html(verdict: Verdict, pictures: Mapping[str, bytes]) -> str:
    """The report as one page that needs no other file.

    Args:
        verdict: the verdict.
        pictures: PNG by file name.
    """
    body = "\n".join(_html(block, pictures) for block in _content(verdict))
    title = html.escape(f"Did the curriculum help? {verdict.plan}")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head><body>\n{body}\n</body></html>\n"
    )


def _content(verdict: Verdict) -> list[_Block]:
    arms = list(dict.fromkeys(arm.arm for arm in verdict.arms))
    blocks: list[_Block] = [
        _Heading(f"Did the curriculum help? Plan {verdict.plan}", 1),
        _Lines([f"**{each['question']}.** {each['answer']}" for each in verdict.questions]),
        _Lines(
            [
                f"Gain is the bits per byte that the curriculum needs less than the other arm, with the "
                f"{verdict.bootstrap['level']:.0%} interval of {verdict.bootstrap['replicates']:,} resamples "
                f"(seed {verdict.bootstrap['seed']}); {verdict.seeds} seeds an arm, snapshot "
                f"`{verdict.snapshot}`. Less than {verdict.bootstrap['smallest_gain']:g} bits per byte "
                "counts as no gain, and as no loss (`--smallest-gain`)."
            ]
        ),
        _Heading("Gains"),
        _Picture(FOREST, "Gain of the curriculum by arm and kind of text, with intervals"),
        _gains(verdict),
        _Heading("Bits per byte"),
        _Lines(["Mean ± standard deviation over seeds; lower is better."]),
        _matrix(verdict),
        _Heading("Arms"),
        _Lines(
            [
                f"**{name}**: {arm_in_words(ArmName(name), is_published=verdict.is_published)}"
                for name in arms
            ],
            is_list=True,
        ),
        _Picture(RATES, "Learning rate of the arms over the tokens of a run"),
        _read(verdict, arms),
        _runs(verdict),
    ]
    if verdict.left_out:
        left = [f"**{name}**: {reason}" for name, reason in verdict.left_out.items()]
        blocks += [_Heading("Left out"), _Lines(left, is_list=True)]
    if verdict.raised:
        more = [
            f"**{name}** reads a source {epochs:.2f} times, more often than the plan itself allows."
            for name, epochs in verdict.raised.items()
        ]
        blocks += [_Heading("Repetition"), _Lines(more, is_list=True)]
    return [*blocks, _Heading("Limits"), _Lines(verdict.limits, is_list=True)]


def _gains(verdict: Verdict) -> _Table:
    columns = ["against", "text", "gain", "interval", "all together", "documents", "answer", "stands"]
    return _Table(
        columns,
        [
            [
                each["against"],
                each["text"],
                f"{each['gain']:+.4f}",
                range_in_words(each["low"], each["high"]),
                range_in_words(each["low_together"], each["high_together"]),
                f"{each['documents']:,}",
                each["answer"],
                "yes" if each["stands_together"] else "",
            ]
            for each in verdict.comparisons
        ],
    )


def _matrix(verdict: Verdict) -> _Table:
    texts = [text for text in verdict.matrix[0] if text != "arm"]
    return _Table(
        ["arm", *texts],
        [
            [
                f"{row['arm']} (where the arms start)" if row["arm"] == START else row["arm"],
                *(
                    f"{row[text]['mean']:.4f}"
                    + ("" if row[text]["sd"] is None else f" ± {row[text]['sd']:.4f}")
                    for text in texts
                ),
            ]
            for row in verdict.matrix
        ],
    )


def _read(verdict: Verdict, arms: Sequence[str]) -> _Table:
    first = {name: next(arm for arm in verdict.arms if arm.arm == name) for name in arms}
    domains = list(dict.fromkeys(domain for arm in first.values() for domain in arm.read))
    return _Table(
        ["arm", "stages", "tokens", "most epochs", *domains],
        [
            [
                name,
                ", ".join(arm.stages),
                f"{arm.tokens:,}",
                f"{arm.epochs:.2f}",
                *(f"{arm.read[domain]:.1%}" if domain in arm.read else "–" for domain in domains),
            ]
            for name, arm in first.items()
        ],
    )


def _runs(verdict: Verdict) -> _Table:
    return _Table(
        ["arm", "seed", "steps", "learning rate", "last loss", "seconds", "checkpoint", "run folder", "plan"],
        [
            [
                arm.arm,
                str(arm.seed),
                f"{arm.steps:,}",
                arm.learning_rate,
                f"{arm.loss:.3f}",
                f"{arm.seconds:.0f}",
                f"`{arm.checkpoint}`",
                f"`{arm.run_folder}`",
                f"`{arm.plan}`",
            ]
            for arm in verdict.arms
        ],
    )


def _markdown(block: _Block, prefix: str) -> str:
    match block:
        case _Heading(text, level):
            return f"{'#' * level} {text}"
        case _Lines(lines, is_list):
            return "\n".join(f"- {line}" for line in lines) if is_list else "\n\n".join(lines)
        case _Table(columns, rows):
            cells = [[cell.replace("|", "\\|") for cell in row] for row in (columns, *rows)]
            head, *body = [f"| {' | '.join(row)} |" for row in cells]
            return "\n".join([head, f"|{' --- |' * len(columns)}", *body])
        case _Picture(name, text):
            return f"![{text}]({prefix}{name})"


def _html(block: _Block, pictures: Mapping[str, bytes]) -> str:
    match block:
        case _Heading(text, level):
            return f"<h{level}>{_inline(text)}</h{level}>"
        case _Lines(lines, True):
            return f"<ul>{''.join(f'<li>{_inline(line)}</li>' for line in lines)}</ul>"
        case _Lines(lines, _):
            return "".join(f"<p>{_inline(line)}</p>" for line in lines)
        case _Table(columns, rows):
            head = "".join(f"<th>{_inline(column)}</th>" for column in columns)
            body = "".join(f"<tr>{''.join(f'<td>{_inline(cell)}</td>' for cell in row)}</tr>" for row in rows)
            return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'
        case _Picture(name, text):
            data = base64.b64encode(pictures[name]).decode()
            return f'<p><img alt="{html.escape(text)}" src="data:image/png;base64,{data}"></p>'


def _inline(text: str) -> str:
    """Escapes a line and sets its bold and code marks."""
    escaped = html.escape(text)
    escaped = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", escaped)
    return re.sub(r"`(.+?)`", r"<code>\1</code>", escaped)

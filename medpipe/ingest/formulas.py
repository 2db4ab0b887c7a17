"""Formulas of XML articles as text: TeX where the publisher gives it, else what MathML says in one line."""

from __future__ import annotations

import re
from typing import Any

_TEX_BODY = re.compile(r"\\begin\{document\}(.*?)\\end\{document\}", re.DOTALL)
_SIMPLE = re.compile(r"[\w.]*")


def formula_text(element: Any) -> str:
    """A formula in running text.

    Args:
        element: of JATS, TeX in JATS, or MathML.

    Returns:
        TeX without the document around it; or MathML with `<sub>` and `<sup>` for what is lowered and raised
        and `/` for fractions, since its bare characters would turn 10⁹ into 109.
    """
    tex = next(iter(element.iter("{*}tex-math")), None)
    if tex is not None:
        source = "".join(tex.itertext())
        body = _TEX_BODY.search(source)
        return f" {(body[1] if body else source).strip()} "
    return _math(element)


def _math(element: Any) -> str:
    name = str(element.tag).rpartition("}")[2]
    parts = [_math(item) for item in element]
    match name, parts:
        case "msup", [base, raised]:
            return f"{base}<sup>{raised}</sup>"
        case "msub", [base, lowered]:
            return f"{base}<sub>{lowered}</sub>"
        case "msubsup", [base, lowered, raised]:
            return f"{base}<sub>{lowered}</sub><sup>{raised}</sup>"
        case "mfrac", [above, below]:
            return f"{_grouped(above)}/{_grouped(below)}"
        case "msqrt", _:
            return f"√({''.join(parts)})"
        case "mroot", [radicand, degree]:
            return f"<sup>{degree}</sup>√({radicand})"
        case (("graphic" | "inline-graphic" | "annotation" | "annotation-xml"), _):
            return ""
        case (("mi" | "mn" | "mo" | "ms" | "mtext"), _):
            return f"{element.text or ''}{''.join(parts)}".strip(" \t\r\n")
    tails = [item.tail or "" for item in element]
    return (element.text or "") + "".join(part + tail for part, tail in zip(parts, tails, strict=True))


def _grouped(text: str) -> str:
    return text if _SIMPLE.fullmatch(text) else f"({text})"

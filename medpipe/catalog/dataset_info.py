"""Adapter from LLaMA-Factory's `dataset_info.json` to catalog entries.

Covers the layouts `alpaca` (also with `history` and `ranking`) and `sharegpt` of files that lie beside
the registry (`file_name`) or on the hub (`hf_hub_url`). Defaults are those its data README documents:
`prompt` is `instruction`, `query` is `input`, `response` is `output`, there is no `history`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from medpipe.catalog.slug import slug
from medpipe.records.kinds import Domain, Kind, Language

_ALPACA_COLUMNS = {"prompt": "instruction", "query": "input", "response": "output"}
_SHAREGPT_TAGS = {
    "role_tag": "from",
    "content_tag": "value",
    "user_tag": "human",
    "assistant_tag": "gpt",
    "system_tag": "system",
}


def read_dataset_info(text: str, folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """Turns a registry into unvalidated catalog entries, each with the name it has there.

    Args:
        text: the registry's JSON.
        folder: where it lies; `file_name` is relative to it.

    Raises:
        ValueError: it is no JSON object of objects, or an entry has values of other types.
    """
    registry = json.loads(text)
    if not isinstance(registry, dict) or not all(isinstance(entry, dict) for entry in registry.values()):
        raise ValueError("expected a JSON object with one object a data set")
    entries = []
    for name, entry in registry.items():
        try:
            entries.append((name, _entry(name, entry, folder)))
        except (TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"'{name}' is not laid out as LLaMA-Factory documents it: {error}") from error
    return entries


def _entry(name: str, info: dict[str, Any], folder: Path) -> dict[str, Any]:
    columns = info.get("columns")
    entry: dict[str, Any] = {
        "id": slug(name),
        "title": name,
        "description": f"{name}, as declared in a dataset_info.json.",
        "language": Language.ZH.value,
        "licence": {"name": None, "note": "not stated in dataset_info.json"},
        "enabled": True,
    }
    if "hf_hub_url" in info:
        entry["repository"] = info["hf_hub_url"]
        pattern = f"{info['folder']}/*" if info.get("folder") else "*.json*"
    elif "file_name" in info:
        entry["folder"] = folder
        pattern = info["file_name"]
        if not (folder / pattern).exists():
            entry["status"] = "listed"
    else:
        entry["folder"] = folder
        pattern = name
        entry["status"] = "listed"
    if info.get("formatting") == "sharegpt" and info.get("ranking"):
        entry["status"] = "listed"
        entry["description"] += " Ranked ShareGPT data is not read yet."
    entry["files"] = [{"path": pattern, "domain": Domain.DIALOGUE.value}]
    entry |= _layout(info, columns)
    return entry


def _layout(info: dict[str, Any], columns: dict[str, str] | None) -> dict[str, Any]:
    if info.get("formatting", "alpaca") == "sharegpt":
        tags = info.get("tags") or _SHAREGPT_TAGS
        layout = {
            "layout": "turns",
            "turns": (columns or {}).get("messages", "conversations"),
            "role": tags.get("role_tag", "from"),
            "content": tags.get("content_tag", "value"),
            "user": [tags.get("user_tag", "human")],
            "assistant": [tags.get("assistant_tag", "gpt")],
            "system": [tags.get("system_tag", "system")],
        }
        return {"kind": Kind.CONVERSATION.value, "layout": layout, "uses": ["finetuning"]}
    names = columns if columns is not None else _ALPACA_COLUMNS
    question = [names[key] for key in ("prompt", "query") if names.get(key)]
    if info.get("ranking"):
        layout = {
            "layout": "preference",
            "prompt": question,
            "chosen": names.get("chosen", "chosen"),
            "rejected": names.get("rejected", "rejected"),
        }
        return {"kind": Kind.PREFERENCE.value, "layout": layout, "uses": ["reward"]}
    if "response" not in names:
        return {
            "kind": Kind.DOCUMENT.value,
            "layout": {"layout": "text", "text": names.get("prompt", "text")},
            "uses": ["pretraining"],
        }
    layout = {"layout": "question_answer", "question": question, "answer": names["response"]}
    for key in ("history", "system"):
        if names.get(key):
            layout[key] = names[key]
    return {"kind": Kind.CONVERSATION.value, "layout": layout, "uses": ["finetuning", "pretraining"]}

"""LLaMA-Factory's `dataset_info.json` as catalog entries.

Every key that its loader knows is read, with the loader's defaults and its rule that `columns` or `tags`,
once given, have no defaults: what they do not name is not there. An empty string counts as not given.

| key | becomes |
| --- | --- |
| `hf_hub_url` | the repository; of several places the first of hf, ms, om, script, cloud and file counts |
| `ms_hub_url`, `om_hub_url`, `script_url`, `cloud_file_name` | an entry that is only listed, and what to do |
| `file_name` | a file beside the registry, or every file of a folder there |
| `file_sha1` | checked when the file is fetched |
| `subset`, `split`, `folder` | the published subset and split (`train`), and the folder, of a repository |
| `num_samples` | the first so many rows of each file, where LLaMA-Factory draws them at random |
| `formatting`, `ranking`, `columns`, `tags` | the layout: see `dataset_info_layouts` |

What no key says is language (taken as Chinese), domain (dialogue), licence (not stated) and use. An object
`medpipe` with `language`, `domain`, `licence` or `uses` says it; LLaMA-Factory passes over keys that it
does not know. Any other unknown key is a mistake here, because it is most likely a misspelt one.
"""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from medpipe.catalog.dataset_info_layouts import layout_of, left_out, missing_names, uses_of
from medpipe.catalog.dataset_info_model import DatasetInfo
from medpipe.catalog.explain import Finding, find_mistakes
from medpipe.catalog.slug import slug
from medpipe.catalog.source import Status
from medpipe.records.kinds import Split

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_INSTEAD = "fetch the data, put its file beside the registry and name it by 'file_name' alone"
_ELSEWHERE = {
    "ms_hub_url": f"is on ModelScope, which medpipe does not ask: give 'hf_hub_url' instead, or {_INSTEAD}",
    "om_hub_url": f"is on openMind, which medpipe does not ask: give 'hf_hub_url' instead, or {_INSTEAD}",
    "script_url": f"is a loading script, and medpipe runs none: {_INSTEAD}",
    "cloud_file_name": f"is in cloud storage, which medpipe does not ask: {_INSTEAD}",
}
"""Why data is out of reach and what to do, by its key, in the loader's order of precedence."""


@dataclass
class _Place:
    """Where the data lies."""

    entry: dict[str, Any]
    file: dict[str, Any] = field(default_factory=dict)
    note: str | None = None
    """What a person should know or do."""


def registry_mistakes(value: Any) -> list[Finding]:
    """Every mistake of one data set of a registry."""
    return find_mistakes(DatasetInfo, value, rules=_unmet_rules)


def registry_entry(name: str, value: Any, folder: Path, *, taken: Container[str] = ()) -> dict[str, Any]:
    """The catalog entry of one data set of a registry, for `Source` to validate.

    Args:
        name: its name there; the id is made of it.
        value: what stands there, without mistakes.
        folder: where the registry lies; `file_name` is relative to it.
        taken: ids that other entries have. A registry is shared with LLaMA-Factory, so its names cannot be
            asked to change.
    """
    info = DatasetInfo.model_validate(value)
    place = _place(info, folder)
    notes = [place.note, *left_out(info)]
    if info.num_samples is not None:
        notes.append(f"the first {info.num_samples:,} rows of each file, not a random sample")
    licence = info.medpipe.licence
    file = {
        "path": "**",
        "domain": info.medpipe.domain,
        "split": _held_out(info.split),
        "max_rows": info.num_samples,
        **place.file,
    }
    return {
        "id": slug(name, taken=taken),
        "title": name,
        "description": f"{name}, as declared in a dataset_info.json.",
        "files": [file],
        "layout": layout_of(info),
        "language": info.medpipe.language,
        "licence": {"name": licence, "note": None if licence else "not stated in dataset_info.json"},
        "uses": uses_of(info),
        "status_note": "; ".join(note for note in notes if note) or None,
        **place.entry,
    }


def _unmet_rules(info: DatasetInfo) -> list[Finding]:
    findings = list(missing_names(info))
    if not (info.hf_hub_url or info.file_name or any(getattr(info, key) for key in _ELSEWHERE)):
        findings.append(Finding((), "it names no data: add 'file_name' or 'hf_hub_url'"))
    is_local = info.file_name and not (info.hf_hub_url or any(getattr(info, key) for key in _ELSEWHERE))
    if is_local and info.split != "train" and not _is_slice(info.split):
        findings.append(Finding(("split",), "a file has only the split 'train'; remove 'split'"))
    return findings


def _place(info: DatasetInfo, folder: Path) -> _Place:
    if _is_slice(info.split):
        return _listed(
            f"'{info.split}' is part of a split; name one whole split, and its rows by 'num_samples'"
        )
    if info.hf_hub_url is not None:
        return _on_the_hub(info, info.hf_hub_url)
    for key, reason in _ELSEWHERE.items():
        if (name := getattr(info, key)) is not None:
            return _listed(f"'{name}' {reason}")
    return _beside_the_registry(info, folder, str(info.file_name))


def _listed(note: str) -> _Place:
    return _Place({"status": Status.LISTED}, note=note)


def _on_the_hub(info: DatasetInfo, repository: str) -> _Place:
    if not _REPOSITORY.fullmatch(repository):
        return _listed(f"'{repository}' is no data set's name on the hub; give 'hf_hub_url' as owner/name")
    below = PurePosixPath(info.folder) / "**" if info.folder else "**"
    return _Place(
        {"repository": repository, "revision": info.revision or "main"},
        {"path": str(below), "subset": info.subset, "published_split": info.split},
    )


def _beside_the_registry(info: DatasetInfo, folder: Path, file_name: str) -> _Place:
    path = folder / file_name
    if path.is_dir():
        note = "file_sha1 is not checked for a folder" if info.file_sha1 else None
        return _Place({"folder": path}, {"path": "*"}, note)
    if not path.exists():
        return _listed(f"there is no {path}; put the file there")
    sha1 = info.file_sha1.lower() if info.file_sha1 else None
    relative = PurePosixPath(file_name)
    if relative.is_absolute() or ".." in relative.parts:
        return _Place({"folder": path.parent}, {"path": path.name, "sha1": sha1})
    return _Place({"folder": folder}, {"path": str(relative), "sha1": sha1})


def _is_slice(split: str) -> bool:
    return re.fullmatch(r"[\w.-]+", split) is None


def _held_out(split: str) -> Split:
    """Whether a published split is to be kept out of training, by its name."""
    if re.match(r"test([^a-z]|$)", split):
        return Split.TEST
    return Split.VALIDATION if re.match(r"(val|valid|validation|dev|eval)([^a-z]|$)", split) else Split.TRAIN

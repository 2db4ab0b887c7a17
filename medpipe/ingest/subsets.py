"""Which files a published subset and split are, as the `datasets` library resolves them.

The library sees the names of a revision's files, as empty files in a scratch folder, and the real texts in
which a publisher declares subsets. So it resolves the same for the hub, its mirrors and folder hubs, at the
commit that is fetched; it transfers nothing, and code in a repository is never run.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from medpipe.catalog.source import SourceFile
from medpipe.ingest.errors import FetchError
from medpipe.ingest.patterns import is_safe

DECLARATIONS = ("README.md", ".huggingface.yaml")
"""Files at the top of a repository in which subsets are declared."""
_LEGACY = ("dataset_infos.json",)
"""Statistics that an old version of the library wrote; they name no files, and an empty one breaks it."""
_BY_PATH = "name the files by 'path' instead of 'subset' and 'published_split'"
_SHOWN_NAMES = 30


def is_published(file: SourceFile) -> bool:
    """Whether an entry names a published subset or split in place of a path alone."""
    return file.subset is not None or file.published_split is not None


def published_split(file: SourceFile) -> str:
    """The published name of the split that an entry means: its own split's name if it gives none."""
    return file.published_split or file.split.value


def resolve_files(
    files: Sequence[SourceFile],
    *,
    name: str,
    paths: Sequence[str],
    declarations: Mapping[str, Path],
    place: str,
) -> list[tuple[str, ...]]:
    """The files of each entry that names a published subset or split.

    Without a subset, an entry whose path is a folder (`zh/**`) is resolved as if that folder were the whole
    repository (the library's `data_dir`).

    Args:
        files: entries for which `is_published` holds.
        name: the repository's name without its owner.
        paths: every file of the repository at the revision, relative and with `/`.
        declarations: where the bytes of those of `DECLARATIONS` are that it has, by name.
        place: the repository and revision, named in errors.

    Returns:
        For each entry the paths of its split, in the library's order. The entry's own path pattern is not
        applied.

    Raises:
        FetchError: no such subset or split, or the library can resolve none here.
    """
    if f"{name}.py" in paths:
        raise FetchError(
            f"the subsets of {place} are made by a program ({name}.py), which medpipe never runs; {_BY_PATH}"
        )
    with _skeleton(paths, declarations, place=place) as root:
        found: dict[tuple[str | None, str | None], dict[str, tuple[str, ...]]] = {}
        resolved = []
        for file in files:
            key = (file.subset, _data_folder(file))
            if key not in found:
                found[key] = _splits(root, subset=key[0], folder=key[1], place=place)
            resolved.append(_of_split(found[key], file, place=place))
        return resolved


def _data_folder(file: SourceFile) -> str | None:
    folder = file.path.removesuffix("/**")
    is_folder = folder != file.path and not set(folder) & set("*?[")
    return folder if is_folder and file.subset is None else None


def _of_split(splits: Mapping[str, tuple[str, ...]], file: SourceFile, *, place: str) -> tuple[str, ...]:
    wanted = published_split(file)
    if wanted in splits:
        return splits[wanted]
    subset = f"the subset '{file.subset}' of {place}" if file.subset else place
    hint = " (a slice is written as 'max_rows')" if "[" in wanted else ""
    raise FetchError(
        f"{subset} has no split '{wanted}'; set 'published_split' to one of: {_shown(splits)}{hint}"
    )


@contextlib.contextmanager
def _skeleton(paths: Sequence[str], declarations: Mapping[str, Path], *, place: str) -> Iterator[Path]:
    """A folder with an empty file for each name, and the declarations as they are."""
    with tempfile.TemporaryDirectory(prefix="medpipe-subsets-") as scratch:
        root = Path(scratch).resolve() / "repository"
        root.mkdir()
        for path in paths:
            if is_safe(path) and path not in (*DECLARATIONS, *_LEGACY):
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).touch()
        for name, file in declarations.items():
            _refuse_foreign_files(file, place=place)
            (root / name).write_bytes(file.read_bytes())
        yield root


def _refuse_foreign_files(declaration: Path, *, place: str) -> None:
    """Stops a publisher's text from sending the library to other hosts or to files of this machine."""
    import yaml
    from huggingface_hub import metadata_load

    try:
        is_card = declaration.suffix == ".md"
        declared = metadata_load(declaration) if is_card else yaml.safe_load(declaration.read_bytes())
    except (yaml.YAMLError, ValueError) as error:
        raise FetchError(
            f"the header of {declaration.name} of {place} cannot be read ({_first_line(error)}); {_BY_PATH}"
        ) from None
    configs = declared.get("configs") if isinstance(declared, dict) else None
    places = [
        config.get(key)
        for config in (configs if isinstance(configs, list) else [])
        if isinstance(config, dict)
        for key in ("data_files", "data_dir")
    ]
    for text in _strings(places):
        if "://" in text or "::" in text or text.startswith(("/", "~")) or ".." in text.split("/"):
            raise FetchError(
                f"{declaration.name} of {place} declares a subset whose files lie elsewhere ({text!r}); "
                "only files of the repository itself are fetched: name them by 'path'"
            )


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)


def _splits(root: Path, *, subset: str | None, folder: str | None, place: str) -> dict[str, tuple[str, ...]]:
    """The paths of each split of a subset, in the library's order."""
    import datasets

    with _explained(root, place=place):
        names = datasets.get_dataset_config_names(str(root), data_dir=folder)
        if subset is None and folder is None:
            several = len(names) > 1
            subset = datasets.get_dataset_default_config_name(str(root)) if several else names[0]
    if (subset is None and folder is None) or (subset is not None and subset not in names):
        problem = f"has no subset '{subset}'" if subset else "has several subsets"
        raise FetchError(f"{place} {problem}; set 'subset' to one of: {_shown(names)}")
    with _explained(root, place=place):
        builder = datasets.load_dataset_builder(
            str(root), name=subset, data_dir=folder, cache_dir=str(root.parent / "cache")
        )
    files = builder.config.data_files or {}
    return {
        str(split): tuple(Path(path).relative_to(root).as_posix() for path in files[split]) for split in files
    }


@contextlib.contextmanager
def _explained(root: Path, *, place: str) -> Iterator[None]:
    """Names what the library says; it raises whatever its many ways to guess a format raise."""
    try:
        yield
    except Exception as error:
        text = _first_line(error).replace(str(root), "the repository")
        raise FetchError(f"the datasets library finds no subsets in {place} ({text}); {_BY_PATH}") from None


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _shown(names: Iterable[str]) -> str:
    shown = list(names)
    more = f" and {len(shown) - _SHOWN_NAMES} more" if len(shown) > _SHOWN_NAMES else ""
    return ", ".join(shown[:_SHOWN_NAMES]) + more

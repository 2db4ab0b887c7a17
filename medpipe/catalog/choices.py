"""What a person decided about single sources, kept in `<home>/sources.json`."""

from __future__ import annotations

from pathlib import Path

import orjson
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from medpipe.catalog.load import CatalogError
from medpipe.catalog.source import Source, Status
from medpipe.lake.files import write_json_atomically


class Choice(BaseModel):
    """What a person decided about one source; None is what nobody decided."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool | None = None
    accept_terms: bool | None = None
    accept_size: bool | None = None
    folder: Path | None = None
    """The person's own copy of the source's files."""


_STORED = TypeAdapter(dict[str, Choice])


def read_choices(home: Path) -> dict[str, Choice]:
    """What a person decided so far, by source id.

    Raises:
        CatalogError: the file is broken.
    """
    try:
        return _STORED.validate_python(orjson.loads(_path(home).read_bytes()))
    except FileNotFoundError:
        return {}
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the whole file"
        raise _broken(home, f"{place}: {first['msg']}") from error
    except ValueError as error:
        raise _broken(home, str(error)) from error


def merged_choice(home: Path, source_id: str, choice: Choice) -> Choice:
    """A decision together with what was decided before and is None in it.

    Raises:
        CatalogError: the file is broken.
    """
    before = read_choices(home).get(source_id, Choice())
    return before.model_copy(update=choice.model_dump(exclude_none=True))


def store_choice(home: Path, source_id: str, choice: Choice) -> None:
    """Notes a decision; what was decided before and is None in `choice` stays.

    Raises:
        CatalogError: the file is broken.
    """
    _write(home, read_choices(home) | {source_id: merged_choice(home, source_id, choice)})


def replace_choice(home: Path, source_id: str, choice: Choice) -> None:
    """Notes a decision in the place of all that was decided about the source before.

    Raises:
        CatalogError: the file is broken.
    """
    _write(home, read_choices(home) | {source_id: choice})


def with_choice(source: Source, choice: Choice | None) -> Source:
    """The entry as a person's decision changes it.

    A folder makes a source available there, unless medpipe must not or cannot read it wherever it lies.
    """
    if choice is None:
        return source
    changes = choice.model_dump(exclude_none=True, exclude={"enabled", "folder"})
    if choice.folder is not None and source.status in (Status.AVAILABLE, Status.MANUAL):
        changes |= {
            "folder": choice.folder,
            "repository": None,
            "page": web_page(source),
            "status": Status.AVAILABLE,
        }
    return source.model_copy(update=changes)


def web_page(source: Source) -> str | None:
    """Where a person reads about a source; None where the catalog knows no place."""
    if source.page is None and source.repository is not None:
        return f"https://huggingface.co/datasets/{source.repository}"
    return source.page


def _broken(home: Path, why: str) -> CatalogError:
    return CatalogError(
        f"{_path(home)} cannot be read ({why}); correct or delete it, then enable sources again"
    )


def _path(home: Path) -> Path:
    return home / "sources.json"


def _write(home: Path, choices: dict[str, Choice]) -> None:
    write_json_atomically(
        _path(home),
        {key: value.model_dump(mode="json", exclude_none=True) for key, value in choices.items()},
    )

"""The question for the newest commit, at a real hub server with faults made by a proxy before it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from medpipe.ingest.newest import LONGEST_BACK_OFF_SECONDS, Asked, Clock, ask
from medpipe.ingest.snapshot import fetch
from medpipe.lake.dataset import named_dataset, publish, set_current
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import Recipe
from medpipe.refresh.watch import Watch, look
from medpipe_tests.ingest.hub_server import GitRepository, Proxy, serve_hub, serve_proxy
from medpipe_tests.ingest.sources import REPOSITORY, make_settings, make_source

pytestmark = [pytest.mark.hub, pytest.mark.timeout(120)]

PLACE = f"{REPOSITORY}@main"
HOUR = 3600.0
TOKEN = "hf_secretsecretsecret"
NAMES = ("main", "second", "third")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[GitRepository, str]]:
    with serve_hub(tmp_path_factory.mktemp("hub")) as (repository, url):
        repository.commit({"train.jsonl": b'{"text": "a"}\n', "other.jsonl": b'{"text": "b"}\n'})
        yield repository, url


@pytest.fixture
def proxy(hub: tuple[GitRepository, str]) -> Iterator[Proxy]:
    with serve_proxy(hub[1]) as proxy:
        yield proxy


def question(proxy: Proxy, folder: Path, before: Asked, *, now: float, **fields: Any) -> Asked:
    settings = make_settings(folder, hf_endpoint=proxy.url, hf_token=TOKEN)
    clock = Clock(now=now, interval=HOUR)
    return ask(make_source("train.jsonl", **fields), before, settings=settings, clock=clock)


def test_one_request_and_no_bytes(hub: tuple[GitRepository, str], proxy: Proxy, tmp_path: Path) -> None:
    asked = question(proxy, tmp_path, Asked(), now=5)
    assert asked == Asked(newest=hub[0].git("rev-parse", "HEAD"), asked_at=5)
    assert len(proxy.seen) == 1 and proxy.downloads == []


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (401, "GatedRepo", "HF_TOKEN"),
        (404, "RepoNotFound", "was not found"),
        (404, "RevisionNotFound", "no revision 'main'"),
        (500, "", "answered 500"),
    ],
)
def test_a_failure_is_told_and_waited_out_longer_each_time(
    proxy: Proxy, tmp_path: Path, status: int, code: str, words: str
) -> None:
    proxy.every_status, proxy.error_code = status, code
    known = Asked(newest="f" * 40)
    first = question(proxy, tmp_path, known, now=0)
    assert words in str(first.trouble) and REPOSITORY in str(first.trouble)
    assert TOKEN not in first.model_dump_json()
    assert (first.newest, first.failures, first.wait_until) == (known.newest, 1, 2 * HOUR)
    asked = len(proxy.seen)
    assert question(proxy, tmp_path, first, now=HOUR) == first and len(proxy.seen) == asked
    second = question(proxy, tmp_path, first, now=2 * HOUR)
    assert (second.failures, second.wait_until) == (2, 6 * HOUR)
    for _ in range(30):
        second = question(proxy, tmp_path, second, now=second.wait_until)
    assert question(proxy, tmp_path, second, now=1e9).wait_until == 1e9 + LONGEST_BACK_OFF_SECONDS
    proxy.every_status = None
    assert question(proxy, tmp_path, second, now=2e9).failures == 0


def test_what_was_noted_while_the_clock_stood_ahead_keeps_nobody_waiting(
    hub: tuple[GitRepository, str], proxy: Proxy, tmp_path: Path
) -> None:
    year = 365 * 24 * HOUR
    proxy.every_status = 500
    ahead = question(proxy, tmp_path, Asked(), now=year)
    assert ahead.failures == 1 and ahead.wait_until > year
    proxy.every_status = None
    assert question(proxy, tmp_path, ahead, now=HOUR).failures == 0


def test_a_busy_hub_is_left_alone_as_long_as_it_asks(
    hub: tuple[GitRepository, str], proxy: Proxy, tmp_path: Path
) -> None:
    proxy.every_status, proxy.error_headers = 429, {"Retry-After": "20000"}
    settings = make_settings(tmp_path, hf_endpoint=proxy.url)
    lake = Lake(tmp_path / "lake")
    sources = [make_source("train.jsonl", id="one"), make_source("train.jsonl", id="two", revision="HEAD")]
    proxy.every_status = None
    for source in sources:
        fetch(source, lake=lake, settings=settings)
    proxy.every_status, asked = 429, len(proxy.seen)
    seen = look(sources, Watch(), lake=lake, settings=settings, clock=lambda: 1000.0)
    assert len(proxy.seen) == asked + 1, "the second source is not asked for in the same tick"
    assert seen.watch.asked[PLACE].wait_until == 21000.0 and seen.wanted == ()
    assert "429" in seen.troubles[PLACE] and seen.new_troubles == (PLACE,)


def test_a_hub_that_was_busy_while_the_clock_stood_ahead_is_asked_now(
    hub: tuple[GitRepository, str], proxy: Proxy, tmp_path: Path
) -> None:
    settings, lake = make_settings(tmp_path, hf_endpoint=proxy.url), Lake(tmp_path / "lake")
    source = make_source("train.jsonl", id="two", revision="HEAD")
    fetch(source, lake=lake, settings=settings)
    year = 365 * 24 * HOUR
    noted = Asked(failures=1, asked_at=year, wait_until=year + HOUR, busy_until=year + HOUR)
    seen = look([source], Watch(asked={PLACE: noted}), lake=lake, settings=settings, clock=lambda: HOUR)
    assert seen.watch.asked[f"{REPOSITORY}@HEAD"].newest is not None


def test_a_busy_hub_is_waited_for_a_day_at_most(
    hub: tuple[GitRepository, str], proxy: Proxy, tmp_path: Path
) -> None:
    proxy.every_status, proxy.error_headers = 429, {"Retry-After": "Fri, 01 Jan 2100 00:00:00 GMT"}
    busy = question(proxy, tmp_path, Asked(), now=0)
    assert busy.wait_until == busy.busy_until == 24 * HOUR


def test_a_busy_hub_keeps_no_folder_and_no_other_repository_waiting(
    hub: tuple[GitRepository, str], proxy: Proxy, tmp_path: Path
) -> None:
    settings, lake = make_settings(tmp_path, hf_endpoint=proxy.url), Lake(tmp_path / "lake")
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "train.jsonl").write_text('{"text": "a"}\n')
    sources = [
        make_source("train.jsonl", id="one"),
        make_source("train.jsonl", id="two", revision="HEAD"),
        make_source("train.jsonl", id="own", folder=mine),
    ]
    for source in sources:
        fetch(source, lake=lake, settings=settings)
    proxy.every_status = 429
    seen = look(sources, Watch(), lake=lake, settings=settings, clock=lambda: 1000.0)
    assert seen.watch.asked["folder:own"].newest is not None, "a folder is no hub"
    proxy.every_status = None
    # The hub did not say how long: the other repository is asked at the next tick, not after a back-off.
    later = look(sources, seen.watch, lake=lake, settings=settings, clock=lambda: 1000.0 + HOUR)
    assert later.watch.asked[f"{REPOSITORY}@HEAD"].newest is not None
    assert later.watch.asked[PLACE].newest is None, "this one waits longer"


def test_where_time_is_short_nobody_is_forgotten(
    hub: tuple[GitRepository, str], proxy: Proxy, tmp_path: Path
) -> None:
    settings, lake = make_settings(tmp_path, hf_endpoint=proxy.url), Lake(tmp_path / "lake")
    sources = [
        make_source("train.jsonl", id=f"s{number}", revision=name) for number, name in enumerate(NAMES)
    ]
    for name in NAMES[1:]:
        hub[0].git("branch", "--force", name)
    for source in sources:
        fetch(source, lake=lake, settings=settings)
    watch, seconds = Watch(), iter(range(0, 10_000, 20))
    for _ in range(len(NAMES)):
        # Each look at the clock is 20 s later: a tick has time for one question.
        watch = look(sources, watch, lake=lake, settings=settings, clock=lambda: next(seconds)).watch
    assert {place: each.newest is not None for place, each in watch.asked.items()} == {
        f"{REPOSITORY}@{name}": True for name in NAMES
    }


def test_what_cannot_be_fetched_and_what_cannot_be_used_are_not_asked_for_in_turns(
    hub: tuple[GitRepository, str], proxy: Proxy, tmp_path: Path
) -> None:
    repository, _ = hub
    settings, lake = make_settings(tmp_path, hf_endpoint=proxy.url), Lake(tmp_path / "lake")
    source = make_source("train.jsonl", id="one")
    here = fetch(source, lake=lake, settings=settings).revision
    recipe = Recipe(inputs={"raw": "0" * 40}, code_version="1")
    with publish(lake, "normalized", "one", recipe=recipe) as draft:
        (draft.path / "f").write_text("made of the revision before")
    newest = repository.commit({"train.jsonl": b'{"text": "d"}\n'})
    watch, wanted = Watch(), []
    for hour in range(5):
        # Each run fails: the lake stays as it is.
        seen = look([source], watch, lake=lake, settings=settings, clock=lambda hour=hour: hour * HOUR)
        wanted.append({**seen.fetch, **seen.follow})
        watch = seen.requested() if seen.wanted else seen.watch
    assert wanted == [{"one": newest}, {"one": here}, {}, {}, {}]
    # What moved on and came back is asked for again.
    for revision in (fetch(source, lake=lake, settings=settings, refresh=True).revision, here):
        set_current(lake, named_dataset(lake, "raw", "one", digest=revision))
        watch = look([source], watch, lake=lake, settings=settings, clock=lambda: 6 * HOUR).requested()
    assert watch.requested["one"].times > 3


def test_sources_of_one_repository_share_a_question_and_frozen_ones_have_none(
    hub: tuple[GitRepository, str], proxy: Proxy, tmp_path: Path
) -> None:
    repository, _ = hub
    settings, lake = make_settings(tmp_path, hf_endpoint=proxy.url), Lake(tmp_path / "lake")
    old = repository.git("rev-parse", "HEAD")
    moving = [make_source("train.jsonl", id="one"), make_source("other.jsonl", id="two")]
    sources = [*moving, make_source("train.jsonl", id="frozen", revision=old)]
    for source in sources:
        fetch(source, lake=lake, settings=settings)
    newest = repository.commit({"train.jsonl": b'{"text": "c"}\n'})
    asked = len(proxy.seen)
    seen = look(sources, Watch(), lake=lake, settings=settings, clock=lambda: 0.0)
    assert len(proxy.seen) == asked + 1
    assert seen.fetch == {"one": newest, "two": newest} and seen.follow == {}
    done = look(sources, seen.requested(), lake=lake, settings=settings, clock=lambda: 1.0)
    assert done.wanted == ()
    # What one of two sources fetched is newest for both, and each is refreshed for itself.
    fetch(moving[0], lake=lake, settings=settings, refresh=True)
    left = look(sources, Watch(), lake=lake, settings=settings, clock=lambda: 2.0)
    assert left.fetch == {"two": newest}
    # Back to an earlier commit, and forth again: the same state, requested a second time, has another key.
    fetch(moving[1], lake=lake, settings=settings, refresh=True)
    keys, watch = [seen.run_key], seen.requested()
    for commit in (old, newest):
        repository.git("reset", "--hard", "--quiet", commit)
        found = look(moving, watch, lake=lake, settings=settings, clock=lambda: 3.0)
        assert found.fetch == {"one": commit, "two": commit}
        keys, watch = [*keys, found.run_key], found.requested()
        for source in moving:
            fetch(source, lake=lake, settings=settings, refresh=True)
    assert len(set(keys)) == 3

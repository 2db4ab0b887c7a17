"""The hub path against a real hub server on loopback, with faults made by a proxy before it."""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import random
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from medpipe.ingest.errors import FetchError
from medpipe.ingest.revisions import locked_commit
from medpipe.ingest.snapshot import FetchedSnapshot, fetch
from medpipe.lake.dataset import current, find_current
from medpipe.lake.files import DiskFullError
from medpipe.lake.layout import Lake
from medpipe.settings import Settings
from medpipe_tests.ingest.hub_server import GitRepository, Proxy, free_port, serve_hub, serve_proxy
from medpipe_tests.ingest.sources import REPOSITORY, make_settings, make_source

pytestmark = [pytest.mark.hub, pytest.mark.timeout(120)]

BIG = random.Random(7).randbytes(1_500_000)
LARGE = random.Random(8).randbytes(300_000)
TRAIN = '{"text": "头痛"}\n'.encode()
TOKEN = "hf_secretsecretsecret"


class Hub:
    """The served repository with its first commit, and the server's address."""

    def __init__(self, repository: GitRepository, url: str) -> None:
        self.repository = repository
        self.url = url
        self.first = repository.commit(
            {
                "train.jsonl": TRAIN,
                "more/big one.jsonl": BIG,
                "more/病历.jsonl": b"{}\n",
                "large.jsonl": repository.large_file(LARGE),
                "README.md": b"notes",
            }
        )
        self.second = repository.commit({"train.jsonl": TRAIN * 2})

    def change(self, content: bytes) -> str:
        """A new commit on `main`."""
        return self.repository.commit({"train.jsonl": content})


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with serve_hub(tmp_path_factory.mktemp("hub")) as (repository, url):
        yield Hub(repository, url)


@pytest.fixture
def proxy(hub: Hub) -> Iterator[Proxy]:
    with serve_proxy(hub.url) as proxy:
        yield proxy


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that would have been waited between tries."""
    waited: list[float] = []
    monkeypatch.setattr("medpipe.ingest.hub_errors.time", SimpleNamespace(sleep=waited.append))
    return waited


def get(
    lake: Lake,
    endpoint: str,
    *files: dict[str, Any] | str,
    token: str | None = None,
    refresh: bool = False,
    force: bool = False,
    messages: list[str] | None = None,
    **fields: Any,
) -> FetchedSnapshot:
    settings = make_settings(lake.root.parent, hf_endpoint=endpoint, hf_token=token)
    source = make_source(*(files or ("train.jsonl",)), **fields)
    say = None if messages is None else messages.append
    return fetch(source, lake=lake, settings=settings, refresh=refresh, force=force, progress=say)


def contents(snapshot: FetchedSnapshot) -> dict[str, bytes]:
    return {file.path: (snapshot.path / file.path).read_bytes() for file in snapshot.dataset.manifest.files}


def test_a_pinned_commit(hub: Hub, proxy: Proxy, lake: Lake) -> None:
    snapshot = get(lake, proxy.url, "train.jsonl", "more/*.jsonl", "large.jsonl", revision=hub.first)
    assert snapshot.revision == hub.first
    assert snapshot.path == lake.root / "raw" / "clinic_notes" / hub.first
    assert contents(snapshot) == {
        "train.jsonl": TRAIN,
        "more/big one.jsonl": BIG,
        "more/病历.jsonl": b"{}\n",
        "large.jsonl": LARGE,
    }
    assert snapshot.dataset.manifest.digest == hub.first
    assert snapshot.dataset.manifest.facts["origin"] == "hub"
    assert snapshot.dataset.manifest.facts["revision"] == hub.first
    assert current(lake, "raw", "clinic_notes").path == snapshot.path
    assert len(proxy.downloads) == 4
    # A commit cannot move, so not even a refresh asks anybody.
    nobody = f"http://127.0.0.1:{free_port()}"
    again = ("train.jsonl", "more/*.jsonl", "large.jsonl")
    assert get(lake, nobody, *again, revision=hub.first, refresh=True).reused
    assert not lake.sources_lock.exists()
    assert [path.name for path in lake.raw("clinic_notes").iterdir() if path.is_dir()] == [hub.first]


def test_an_unchanged_revision_is_not_fetched_again(hub: Hub, proxy: Proxy, lake: Lake) -> None:
    first = get(lake, proxy.url)
    asked = len(proxy.seen)
    again = get(lake, proxy.url)
    assert (again.reused, again.revision) == (True, first.revision)
    assert len(proxy.seen) == asked
    nobody = f"http://127.0.0.1:{free_port()}"
    assert get(lake, nobody).reused
    # A refresh that finds nothing new asks once and downloads nothing.
    refreshed = get(lake, proxy.url, refresh=True)
    assert (refreshed.reused, refreshed.revision) == (True, first.revision)
    assert proxy.downloads == ["train.jsonl"]


def test_a_new_commit_is_taken_only_with_refresh(hub: Hub, lake: Lake) -> None:
    old = get(lake, hub.url)
    news = 4 * b'{"text": "new"}\n'
    commit = hub.change(news)
    assert commit != old.revision
    assert get(lake, hub.url).revision == old.revision
    # Another source of the same repository stays at the same commit.
    assert get(lake, hub.url, id="other").revision == old.revision
    new = get(lake, hub.url, refresh=True)
    assert (new.revision, new.reused) == (commit, False)
    assert contents(new) == {"train.jsonl": news}
    assert locked_commit(lake, repository=REPOSITORY, revision="main") == commit
    assert old.path.is_dir()
    assert get(lake, hub.url, id="other").revision == commit


def test_a_file_that_vanished_from_the_new_revision(hub: Hub, lake: Lake) -> None:
    hub.repository.commit({"brief.jsonl": b"{}\n"})
    old = get(lake, hub.url, "train.jsonl", "brief.jsonl")
    hub.repository.git("rm", "--quiet", "brief.jsonl")
    hub.repository.git("commit", "--quiet", "--message", "remove")
    moved = hub.repository.git("rev-parse", "HEAD")
    with pytest.raises(FetchError, match=rf"no file of {REPOSITORY} at {moved} matches 'brief\.jsonl'"):
        get(lake, hub.url, "train.jsonl", "brief.jsonl", refresh=True)
    assert current(lake, "raw", "clinic_notes").digest == old.revision
    assert locked_commit(lake, repository=REPOSITORY, revision="main") == old.revision
    again = get(lake, hub.url, "train.jsonl", "brief.jsonl")
    assert (again.reused, contents(again)["brief.jsonl"]) == (True, b"{}\n")


def test_a_listed_file_that_is_not_there(hub: Hub, proxy: Proxy, lake: Lake) -> None:
    kept = get(lake, proxy.url, revision=hub.first)
    proxy.gone.add("large.jsonl")
    with pytest.raises(
        FetchError, match=rf"large\.jsonl of {REPOSITORY}, which was listed at revision {hub.first}, is not"
    ):
        get(lake, proxy.url, "train.jsonl", "large.jsonl", revision=hub.first)
    assert current(lake, "raw", "clinic_notes").path == kept.path
    proxy.gone.clear()
    whole = get(lake, proxy.url, "train.jsonl", "large.jsonl", revision=hub.first)
    assert contents(whole) == {"train.jsonl": TRAIN, "large.jsonl": LARGE}


def test_a_sha1_that_the_catalog_states(hub: Hub, proxy: Proxy, lake: Lake) -> None:
    old = get(lake, proxy.url, revision=hub.first)
    found, wrong = hashlib.sha1(TRAIN * 2).hexdigest(), "0" * 40
    with pytest.raises(FetchError, match=rf"train\.jsonl has the SHA-1 {found}.* expects {wrong}"):
        get(lake, proxy.url, {"path": "train.jsonl", "sha1": wrong}, revision=hub.second)
    assert current(lake, "raw", "clinic_notes").digest == old.revision
    asked = len(proxy.downloads)
    snapshot = get(lake, proxy.url, {"path": "train.jsonl", "sha1": found}, revision=hub.second)
    assert contents(snapshot) == {"train.jsonl": TRAIN * 2}
    assert len(proxy.downloads) == asked, "the bytes had arrived already"


def test_a_refresh_that_fails_changes_nothing(hub: Hub, proxy: Proxy, lake: Lake, waits: list[float]) -> None:
    old = get(lake, proxy.url)
    hub.change(random.Random(9).randbytes(100))
    proxy.spoil = True
    with pytest.raises(FetchError, match="bytes differ from the hub's hash, again and again"):
        get(lake, proxy.url, refresh=True)
    assert current(lake, "raw", "clinic_notes").digest == old.revision
    assert locked_commit(lake, repository=REPOSITORY, revision="main") == old.revision
    assert get(lake, proxy.url).reused


def test_more_patterns_fetch_only_what_is_missing(hub: Hub, proxy: Proxy, lake: Lake) -> None:
    first = get(lake, proxy.url, "train.jsonl")
    second = get(lake, proxy.url, "train.jsonl", "large.jsonl")
    assert (second.revision, second.reused) == (first.revision, False)
    assert set(contents(second)) == {"train.jsonl", "large.jsonl"}
    assert proxy.downloads == ["train.jsonl", "large.jsonl"]


def test_force_fetches_again_what_is_damaged(hub: Hub, proxy: Proxy, lake: Lake) -> None:
    first = get(lake, proxy.url, "train.jsonl", "large.jsonl", revision=hub.first)
    (first.path / "large.jsonl").write_bytes(b"x" * len(LARGE))
    forced = get(lake, proxy.url, "train.jsonl", "large.jsonl", revision=hub.first, force=True)
    assert not forced.reused
    assert contents(forced) == {"train.jsonl": TRAIN, "large.jsonl": LARGE}
    assert proxy.downloads == ["large.jsonl", "train.jsonl", "large.jsonl"]


def test_the_mirror_of_the_environment(
    hub: Hub, proxy: Proxy, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MEDPIPE_HUB", "MEDPIPE_SOURCES", "MEDPIPE_LAKE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", f"{proxy.url}/")
    # A token that the machine stored elsewhere is never sent to a mirror.
    monkeypatch.setenv("HUGGING_FACE_HUB_TOKEN", TOKEN)
    snapshot = fetch(make_source("train.jsonl", revision=hub.first), lake=lake, settings=Settings())
    assert contents(snapshot) == {"train.jsonl": TRAIN}
    assert proxy.downloads == ["train.jsonl"]
    assert {seen.token for seen in proxy.seen} == {None}


def test_a_web_page_in_place_of_an_answer(proxy: Proxy, lake: Lake) -> None:
    proxy.login_page = True
    with pytest.raises(FetchError, match=r"127\.0\.0\.1:\d+ gives no answer of a hub.*HF_ENDPOINT"):
        get(lake, proxy.url)


class TestToken:
    def test_a_gated_set(self, hub: Hub, proxy: Proxy, lake: Lake, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        proxy.token = TOKEN
        page = f"https://huggingface.co/datasets/{REPOSITORY}"
        # The catalog does not know yet that the publisher asks for consent.
        with pytest.raises(FetchError) as refused:
            get(lake, proxy.url, revision=hub.first)
        assert str(refused.value).startswith(
            f"{REPOSITORY} is gated: accept its terms at {page}, then set HF_TOKEN"
        )
        fields = {"gated": True, "accept_terms": True, "revision": hub.first}
        wrong = TOKEN + "wrong"
        messages: list[str] = []
        with pytest.raises(FetchError, match="the HF_TOKEN that is set has no access") as refused:
            get(lake, proxy.url, token=wrong, messages=messages, **fields)
        assert find_current(lake, "raw", "clinic_notes") is None
        snapshot = get(lake, proxy.url, token=TOKEN, messages=messages, **fields)
        assert contents(snapshot) == {"train.jsonl": TRAIN}
        assert get(lake, proxy.url, **fields).reused, "what is there needs no credential"
        assert {seen.token for seen in proxy.seen} == {None, wrong, TOKEN}
        told = "".join([*messages, caplog.text, *traceback.format_exception(refused.value)])
        assert "train.jsonl" in told
        assert TOKEN not in told
        stored = [path.read_bytes() for path in lake.root.rglob("*") if path.is_file()]
        assert len(stored) > 2
        assert not any(TOKEN.encode() in content for content in stored)

    @pytest.mark.parametrize(
        ("consent", "token", "message"),
        [
            ({}, None, "is gated: accept the publisher's terms"),
            ({}, TOKEN, "is gated: accept the publisher's terms"),
            ({"accept_terms": True}, None, "is gated: set HF_TOKEN"),
            ({"accept_terms": True}, "", "is gated: set HF_TOKEN"),
        ],
    )
    def test_nobody_is_asked_without_consent_and_credential(
        self, proxy: Proxy, lake: Lake, consent: dict[str, bool], token: str | None, message: str
    ) -> None:
        with pytest.raises(FetchError, match=message):
            get(lake, proxy.url, token=token, gated=True, **consent)
        assert proxy.seen == []
        assert find_current(lake, "raw", "clinic_notes") is None

    @pytest.mark.parametrize(
        ("consent", "token", "message"),
        [
            ({}, TOKEN, "is gated: accept the publisher's terms"),
            ({"accept_terms": True}, None, "is gated: set HF_TOKEN"),
        ],
    )
    def test_a_gate_that_only_the_hub_knows_of(
        self, proxy: Proxy, lake: Lake, consent: dict[str, bool], token: str | None, message: str
    ) -> None:
        proxy.gate = "manual"
        with pytest.raises(FetchError, match=message):
            get(lake, proxy.url, token=token, **consent)
        assert proxy.downloads == []
        assert contents(get(lake, proxy.url, token=TOKEN, accept_terms=True))

    @pytest.mark.parametrize("status", [401, 403])
    def test_refused_at_the_door(self, proxy: Proxy, lake: Lake, status: int) -> None:
        proxy.every_status = status
        with pytest.raises(FetchError, match=r"HF_TOKEN") as refused:
            get(lake, proxy.url, token=TOKEN)
        assert REPOSITORY in str(refused.value)
        assert TOKEN not in "".join(traceback.format_exception(refused.value))


def _fetch_in_process(root: Path, endpoint: str, commit: str) -> None:
    get(Lake(root), endpoint, "more/big one.jsonl", revision=commit)


class TestInterrupted:
    def kill_a_fetch(self, hub: Hub, proxy: Proxy, lake: Lake, *, after: int) -> None:
        """Kills a process that has got `after` bytes of the big file."""
        proxy.stall_after = after
        process = multiprocessing.get_context("forkserver").Process(
            target=_fetch_in_process, args=(lake.root, proxy.url, hub.first)
        )
        process.start()
        try:
            assert proxy.stalled.wait(60)
            part = lake.raw("clinic_notes") / f".partial-{hub.first}" / "part" / "more" / "big one.jsonl"
            for _ in range(200):
                if part.is_file() and part.stat().st_size > after - 20_000:
                    break
                process.join(0.05)
        finally:
            process.kill()
            process.join(10)
        proxy.stall_after = None
        proxy.released.set()
        proxy.seen.clear()

    def test_a_killed_download_goes_on_where_it_stopped(self, hub: Hub, proxy: Proxy, lake: Lake) -> None:
        self.kill_a_fetch(hub, proxy, lake, after=900_000)
        assert find_current(lake, "raw", "clinic_notes") is None
        snapshot = get(lake, proxy.url, "more/big one.jsonl", revision=hub.first)
        assert contents(snapshot) == {"more/big one.jsonl": BIG}
        (download,) = [seen for seen in proxy.seen if seen.is_bytes]
        assert download.range is not None
        assert 880_000 < int(download.range.removeprefix("bytes=").removesuffix("-")) <= 900_000
        assert not list(lake.raw("clinic_notes").glob(".partial-*"))

    def test_a_server_without_ranges(self, hub: Hub, proxy: Proxy, lake: Lake) -> None:
        self.kill_a_fetch(hub, proxy, lake, after=700_000)
        # olah itself ignores ranges of local repositories and sends the whole file.
        snapshot = get(lake, hub.url, "more/big one.jsonl", revision=hub.first)
        assert contents(snapshot) == {"more/big one.jsonl": BIG}

    def test_a_partial_file_with_other_bytes(
        self, hub: Hub, proxy: Proxy, lake: Lake, waits: list[float]
    ) -> None:
        for size in (1_000_000, len(BIG), len(BIG) + 1):
            here = Lake(lake.root / str(size))
            part = here.raw("clinic_notes") / f".partial-{hub.first}" / "part" / "more" / "big one.jsonl"
            part.parent.mkdir(parents=True)
            part.write_bytes(b"x" * size)
            snapshot = get(here, proxy.url, "more/big one.jsonl", revision=hub.first)
            assert contents(snapshot) == {"more/big one.jsonl": BIG}

    def test_a_connection_that_breaks_again_and_again(
        self, hub: Hub, proxy: Proxy, lake: Lake, waits: list[float]
    ) -> None:
        # More breaks than tries: each brings bytes, so each starts the count anew.
        proxy.cuts.extend([150_000] * 9)
        messages: list[str] = []
        snapshot = get(lake, proxy.url, "more/big one.jsonl", revision=hub.first, messages=messages)
        assert contents(snapshot) == {"more/big one.jsonl": BIG}
        ranges = [seen.range for seen in proxy.seen if seen.is_bytes]
        assert ranges == [None, *(f"bytes={150_000 * n}-" for n in range(1, 10))]
        assert any("from byte 1,350,000 of 1,500,000" in message for message in messages)

    def test_an_answer_that_ends_early(self, hub: Hub, proxy: Proxy, lake: Lake, waits: list[float]) -> None:
        # The server means it to be whole: only the size that the hub states tells.
        proxy.shorten.extend([600_000, 0])
        snapshot = get(lake, proxy.url, "more/big one.jsonl", revision=hub.first)
        assert contents(snapshot) == {"more/big one.jsonl": BIG}
        assert [seen.range for seen in proxy.seen if seen.is_bytes] == [
            None,
            "bytes=600000-",
            "bytes=600000-",
        ]
        proxy.shorten.extend([100] * 9)
        with pytest.raises(
            FetchError, match=r"large\.jsonl of clinic/notes: the answer ended before the file did, again"
        ):
            get(lake, proxy.url, "large.jsonl", revision=hub.first)
        assert current(lake, "raw", "clinic_notes").path == snapshot.path

    def test_a_connection_that_brings_nothing(
        self, hub: Hub, proxy: Proxy, lake: Lake, waits: list[float]
    ) -> None:
        proxy.cuts.extend([1_000] + [0] * 20)
        with pytest.raises(
            FetchError, match=r"no network to 127\.0\.0\.1:\d+ .*the next run goes on with it"
        ):
            get(lake, proxy.url, "more/big one.jsonl", revision=hub.first)
        assert proxy.downloads == ["big%20one.jsonl"] * 5
        proxy.cuts.clear()
        get(lake, proxy.url, "more/big one.jsonl", revision=hub.first)
        assert proxy.seen[-1].range == "bytes=1000-"


def test_a_full_disk(hub: Hub, lake: Lake) -> None:
    part = lake.raw("clinic_notes") / f".partial-{hub.first}" / "part" / "large.jsonl"
    part.parent.mkdir(parents=True)
    part.symlink_to("/dev/full")
    with pytest.raises(DiskFullError, match="MEDPIPE_LAKE"):
        get(lake, hub.url, "large.jsonl", revision=hub.first)
    assert find_current(lake, "raw", "clinic_notes") is None


def _in_seconds(seconds: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


class TestRetries:
    def test_a_busy_hub(self, hub: Hub, proxy: Proxy, lake: Lake, waits: list[float]) -> None:
        proxy.statuses.extend([429, 500, 503])
        messages: list[str] = []
        assert contents(get(lake, proxy.url, revision=hub.first, messages=messages)) == {"train.jsonl": TRAIN}
        assert waits == [1.0, 2.0, 4.0]
        assert f"{REPOSITORY}: the hub answered 429; try 2 of 5 in 1 s" in messages
        assert f"{REPOSITORY}: the hub answered 500; try 3 of 5 in 2 s" in messages

    def test_in_the_middle_of_the_files(self, hub: Hub, proxy: Proxy, lake: Lake, waits: list[float]) -> None:
        proxy.file_statuses.extend([500, 429])
        snapshot = get(lake, proxy.url, "train.jsonl", "large.jsonl", revision=hub.first)
        assert contents(snapshot) == {"train.jsonl": TRAIN, "large.jsonl": LARGE}
        assert waits == [1.0, 2.0]

    @pytest.mark.parametrize(
        ("headers", "expected"),
        [
            ({"Retry-After": "7"}, 7),
            ({"Retry-After": "100000"}, 300),
            ({"Retry-After": "soon"}, 1),
            ({"RateLimit": '"api";r=0;t=55', "RateLimit-Policy": '"fixed window";"api";q=500;w=300'}, 55),
            ({}, 1),
        ],
    )
    def test_a_hub_that_says_how_long(
        self,
        hub: Hub,
        proxy: Proxy,
        lake: Lake,
        waits: list[float],
        headers: dict[str, str],
        expected: float,
    ) -> None:
        proxy.error_headers = headers
        proxy.statuses.append(429)
        assert contents(get(lake, proxy.url, revision=hub.first)) == {"train.jsonl": TRAIN}
        assert waits == [expected]

    def test_a_hub_that_says_until_when(self, hub: Hub, proxy: Proxy, lake: Lake, waits: list[float]) -> None:
        proxy.error_headers = {"Retry-After": _in_seconds(40)}
        proxy.statuses.append(429)
        get(lake, proxy.url, revision=hub.first)
        assert 30 <= waits[0] <= 40
        # A date that has passed asks for nothing.
        proxy.error_headers = {"Retry-After": _in_seconds(-40)}
        proxy.statuses.append(503)
        get(lake, proxy.url, revision=hub.second)
        assert waits[1:] == [1.0]

    @pytest.mark.parametrize("status", [429, 500, 503])
    def test_a_hub_that_stays_busy(self, proxy: Proxy, lake: Lake, waits: list[float], status: int) -> None:
        proxy.every_status = status
        with pytest.raises(
            FetchError, match=rf"127\.0\.0\.1:\d+ answered {status} for clinic/notes again and again"
        ):
            get(lake, proxy.url)
        assert waits == [1.0, 2.0, 4.0, 8.0]

    def test_no_network(self, lake: Lake, waits: list[float]) -> None:
        port = free_port()
        with pytest.raises(
            FetchError, match=rf"no network to 127\.0\.0\.1:{port} .*HF_ENDPOINT.*MEDPIPE_HUB"
        ) as refused:
            get(lake, f"http://somebody:{TOKEN}@127.0.0.1:{port}")
        assert TOKEN not in "".join(traceback.format_exception(refused.value))

    def test_offline_by_setting(self, proxy: Proxy, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        with pytest.raises(FetchError, match="HF_HUB_OFFLINE is set; unset it"):
            get(lake, proxy.url)
        assert proxy.seen == []


def test_an_unknown_repository(hub: Hub, lake: Lake) -> None:
    with pytest.raises(
        FetchError, match=r"clinic/others was not found at 127.*check 'repository' in the catalog"
    ):
        get(lake, hub.url, repository="clinic/others")


def test_an_unknown_revision(proxy: Proxy, lake: Lake) -> None:
    # What the real hub answers; olah has no such answer for a repository of its own.
    proxy.every_status, proxy.error_code = 404, "RevisionNotFound"
    with pytest.raises(FetchError, match=r"clinic/notes has no revision 'v9' at 127.*correct 'revision'"):
        get(lake, proxy.url, revision="v9")
    assert not lake.sources_lock.exists()


def test_a_pattern_that_matches_nothing(hub: Hub, proxy: Proxy, lake: Lake) -> None:
    with pytest.raises(
        FetchError, match=r"matches 'data/\*\.jsonl'.*There is: README\.md, large\.jsonl, more/"
    ):
        get(lake, proxy.url, "train.jsonl", "data/*.jsonl")
    assert proxy.downloads == []
    messages: list[str] = []
    files = ("train.jsonl", {"path": "test.jsonl", "split": "test"})
    snapshot = get(lake, proxy.url, *files, messages=messages)
    assert "clinic_notes: nothing matches 'test.jsonl'; going on without it" in messages
    assert snapshot.dataset.manifest.facts["missing"] == ["test.jsonl"]

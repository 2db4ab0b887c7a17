"""A file of any size is read in bounded memory: what the process takes at most is measured from outside."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

MEGABYTE = 1_000_000
FILE_BYTES = 120 * MEGABYTE
GROWTH_BYTES = 100 * MEGABYTE
RECORD = json.dumps({"question": "咳嗽三日" * 40, "answer": "请尽快就医" * 60}, ensure_ascii=False).encode()
MEASURE = """
import sys
from pathlib import Path
from medpipe.ingest.archives import unpacked
from medpipe.ingest.readers import read_rows

def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024

def count(path, records):
    with unpacked(path, member=None) as files:
        return sum(len(b.rows) for f in files for b in read_rows(f.path, records=records))

small, large, records = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] or None
count(small, records)
before = peak()
rows = count(large, records)
print(rows, peak() - before)
"""


def array(file_bytes: int) -> bytes:
    return b"[" + b",\n".join([RECORD] * (file_bytes // len(RECORD))) + b"]"


def members(file_bytes: int) -> bytes:
    numbers = range(file_bytes // len(RECORD))
    return b"{" + b",\n".join(b'"%d": %s' % (number, RECORD) for number in numbers) + b"}"


def inside(file_bytes: int) -> bytes:
    half = array(file_bytes // 2)
    return b'{"skipped": {"list": ' + half + b'}, "data": {"list": ' + half + b"}}"


def table(file_bytes: int) -> bytes:
    row = ('"咳嗽, 三日","' + ("请尽快就医" * 20 + "\n") * 3 + '"\n').encode()
    return b"question,answer\n" + row * (file_bytes // len(row))


def citations(file_bytes: int) -> bytes:
    text = "咳嗽三日" * 200
    one = (
        "<PubmedArticle><MedlineCitation><Article><Abstract>"
        f"<AbstractText>{text}</AbstractText></Abstract></Article></MedlineCitation></PubmedArticle>\n"
    ).encode()
    return b"<PubmedArticleSet>" + one * (file_bytes // len(one)) + b"</PubmedArticleSet>"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "make", "records"),
    [
        ("a.json", array, ""),
        ("b.json", members, ""),
        ("c.json", inside, "data.list"),
        ("d.csv", table, ""),
        ("e.xml", citations, ""),
        ("f.json.gz", lambda size: gzip.compress(array(size), 1), ""),
    ],
)
def test_memory_does_not_grow_with_the_file(
    tmp_path: Path, name: str, make: Callable[[int], bytes], records: str
) -> None:
    small, large = tmp_path / f"small-{name}", tmp_path / name
    small.write_bytes(make(4_000))
    large.write_bytes(make(FILE_BYTES))
    command = [sys.executable, "-c", MEASURE, str(small), str(large), records]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    rows, growth = map(int, done.stdout.split())
    assert rows > 40_000
    assert growth < GROWTH_BYTES, f"{growth / MEGABYTE:.0f} MB more for {FILE_BYTES / MEGABYTE:.0f} MB"

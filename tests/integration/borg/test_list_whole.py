"""Which files of an archive lack content: on real borg, in archives of a borg that lies."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from shared.borg import commands
from tests.harness.untraced import tracing, untraced
from tests.integration.borg.conftest import PASSPHRASE, SCRIPTS
from tests.integration.borg.test_export_archive import BORGS, ENVIRONMENT

MAKING = """
import stat, sys, borg.archive as a, borg.archiver as m, borg.repository as r
put, add = r.Repository.put, a.Archive.add_item
def lose(self, id, data, wait=True):
    return put(self, id, data, wait) if len(data) < 60_000 else None
def change(self, item, *more, **options):
    %s
    return add(self, item, *more, **options)
%s
sys.argv = ['borg', 'create', sys.argv[1] + '::x', 'a', 'b']
m.main()
"""
CHANGING = "a.Archive.add_item = change"
CASES: dict[str, tuple[str, str, set[str]]] = {
    "an honest borg": ("pass", "", set()),
    "content that was not sent": ("pass", "r.Repository.put = lose", {"a/first", "b/second", "b/third"}),
    "a first name that is not in the archive": (
        "if item.path == 'a/first': return", CHANGING, {"b/second", "b/third"},
    ),
    "a second name of a file that never was": (
        "if item.path == 'b/second': item.source = 'a/nothing'", CHANGING, {"b/second"},
    ),
    "a second name of a file that has no second name": (
        "if item.path == 'b/second': item.source = 'a/whole'", CHANGING, {"b/second"},
    ),
    "a second name of itself": ("if item.path == 'b/second': item.source = 'b/second'", CHANGING, {"b/second"}),
    "a file without any content": (
        "if item.path == 'a/whole': del item.chunks", CHANGING, {"a/whole"},
    ),
    "an empty file": ("if item.path == 'a/whole': item.chunks = []", CHANGING, set()),
}  # fmt: skip


@pytest.mark.parametrize(
    ("python", "case"), [*((BORGS[0], case) for case in CASES), *((BORGS[1], case) for case in list(CASES)[:3])]
)
def test_each_name_that_could_not_be_restored_is_marked(tmp_path: Path, python: str, case: str) -> None:
    """A second name of a file whose content is lost was taken for whole, and so was one of a file that never was."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "a" / "first").write_bytes(os.urandom(100_000))
    (tmp_path / "a" / "whole").write_bytes(b"whole")
    for name in ("second", "third"):
        (tmp_path / "b" / name).hardlink_to(tmp_path / "a" / "first")
    (tmp_path / "b" / "soft").symlink_to("a/first")
    os.mkfifo(tmp_path / "b" / "pipe")
    (tmp_path / "b" / "another pipe").hardlink_to(tmp_path / "b" / "pipe")
    base = {**ENVIRONMENT, "BORG_BASE_DIR": str(tmp_path), "BORG_PASSPHRASE": PASSPHRASE, "PATH": "/usr/bin:/bin"}
    environment = untraced(base)
    borg = str(Path(python).with_name("borg"))
    subprocess.run([borg, "init", "-e", "repokey", "r"], cwd=tmp_path, env=environment, check=True)
    changing, installing, lacking = CASES[case]
    made = [python, "-c", MAKING % (changing, installing), "r"]
    subprocess.run(made, cwd=tmp_path, env=environment, check=True, capture_output=True)

    argv = [python, "-I", str(SCRIPTS / "list_whole.py"), *commands.list_files("borg", str(tmp_path / "r"), "x")[1:]]
    traced = {**base, **tracing()} if python == sys.executable else environment
    done = subprocess.run(argv, env=traced, capture_output=True, check=True)
    listed = {path: kind for kind, _, path in (line.split(" ", 2) for line in done.stdout.decode().split("\0") if line)}
    assert {path for path, kind in listed.items() if kind == "!"} == lacking
    assert {"b/soft", "b/pipe", "b/another pipe", "a", "b"} <= set(listed)

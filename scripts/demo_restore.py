"""The demo's restores: what a backup holds is listed, brought back to its server, and compared with its source."""

from __future__ import annotations

import filecmp
import fnmatch
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from demo import Demo


def list_and_restore(demo: Demo, backup_jobs: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Look into the newest backup of each backup job, and restore it into a new directory of its server."""
    for definition in backup_jobs.values():
        backup = demo.call("GET", f"/api/backups?backup_job_id={definition['id']}&limit=1")["items"][0]
        source, excludes = Path(definition["sources"][0]), definition["excludes"]
        listed = browse(demo, backup, source, excludes)
        count = restore(demo, backup, source, excludes)
        yield f"  {backup['title']:16} {listed} names listed in {source.name}; {count} files restored, all as they were"


def prove(demo: Demo, backup_jobs: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Test whether files of a repository can be restored, and say what that proved."""
    definition = next(iter(backup_jobs.values()))
    path = f"/api/repositories/{definition['repository_id']}/restore-tests"
    result = demo.finished(demo.call("POST", path, {}), ("succeeded",))["result"]
    if (result["proof"], result["files"]) != ("good", result["chosen"]) or not result["files"]:
        raise SystemExit(f"a restore test proved nothing: {result}")
    proof = demo.call("GET", f"{path}?limit=1")["items"][0]
    seconds = proof["full_restore_seconds"]
    estimate = f"; a full restore takes about {max(1, round(seconds))} s" if seconds is not None else ""
    yield (
        f"  {proof['server']} - {proof['repository']}: restore test {proof['state']}, {proof['files']} of {proof['chosen']} "
        f"files read back, {proof['source_compared']} equal to the server's own{estimate}"
    )


def browse(demo: Demo, backup: dict[str, Any], source: Path, excludes: list[str]) -> int:
    """List a directory of a backup page by page; it must name what the source holds, and nothing else."""
    path, names = f"/api/backups/{backup['id']}/files?path={source}&limit=50", list[str]()
    page: dict[str, Any] = {"next": ""}
    while page["next"] is not None:
        page = demo.call("GET", f"{path}&after={page['next']}" if page["next"] else path)
        names += [os.fsdecode(os.fsencode(row["name"])) for row in page["items"]]
    wanted = [child.name for child in source.iterdir() if not _excluded(child, excludes)]
    if sorted(names) != sorted(wanted):
        raise SystemExit(f"{source} in {backup['name']}: {sorted({*names} ^ {*wanted})} are listed wrongly")
    return len(names)


def restore(demo: Demo, backup: dict[str, Any], source: Path, excludes: list[str]) -> int:
    """Restore a source of a backup into a new directory; content, owners, rights and times must be as they were."""
    target = demo.directory / "restored" / backup["id"]
    body = {"items": [{"path": str(source)}], "target_path": str(target), "verify": "all"}
    job = demo.finished(demo.call("POST", f"/api/backups/{backup['id']}/restores", body), ("succeeded",))
    there, wanted = set(_below(target / source.name)), set(_below(source, excludes))
    if there != wanted:
        raise SystemExit(f"{target}: {sorted(there ^ wanted)[:5]} are there or missing wrongly")
    for name in sorted(wanted):
        _compare(source / name, target / source.name / name)
    if left := list(target.parent.glob(".borgfleet-restore-*")):
        raise SystemExit(f"a restore left {left} behind")
    return int(job["result"]["files"])


def _compare(source: Path, restored: Path) -> None:
    was, now = source.lstat(), restored.lstat()
    same = [(one.st_mode, one.st_uid, one.st_gid, one.st_mtime_ns) for one in (was, now)]
    if source.is_symlink():
        equal = source.readlink() == restored.readlink()
    else:
        equal = not source.is_file() or filecmp.cmp(source, restored, shallow=False)
    if same[0] != same[1] or not equal:
        raise SystemExit(f"{restored} differs from {source}: {same}")


def _below(root: Path, excludes: list[str] | None = None) -> Iterator[Path]:
    for child in root.iterdir():
        if not _excluded(child, excludes or []):
            yield child.relative_to(root)
            if child.is_dir() and not child.is_symlink():
                yield from (child.relative_to(root) / below for below in _below(child, excludes))


def _excluded(path: Path, excludes: list[str]) -> bool:
    # Caches are left out by default, as pytest's and ruff's in a checkout whose tests have run.
    tagged = not path.is_symlink() and (path / "CACHEDIR.TAG").is_file()
    return path.is_socket() or tagged or any(fnmatch.fnmatch(path.name, one.rpartition("/")[2]) for one in excludes)

"""The demo's check from outside: plain borg opens each repository with the recovery kit, and Borgfleet is not asked."""

from __future__ import annotations

import filecmp
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from demo import Demo

BORG = str(Path(sys.executable).parent / "borg")
BORGFLEET = str(Path(sys.executable).parent / "borgfleet")


def check_from_outside(demo: Demo) -> Iterator[str]:
    """Open each repository with plain borg: the same archives, and the same bytes as the source; say each that was."""
    environment = os.environ | {
        "BORG_BASE_DIR": str(demo.directory / "outside"), "TZ": "UTC", "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
    }  # fmt: skip
    kit = json.loads(subprocess.run(
        [BORGFLEET, "recovery-kit", "--data-dir", str(demo.directory / "data"), "--json"],
        check=True, capture_output=True, text=True,
    ).stdout)  # fmt: skip
    backups = demo.call("GET", "/api/backups?limit=500")["items"]
    for repository in kit:
        secret = environment | {"BORG_PASSPHRASE": repository["passphrase"]}
        listed = json.loads(borg(secret, "list", "--json", repository["path"]))["archives"]
        known = [backup for backup in backups if backup["repository_id"] == repository["id"]]
        if {archive["id"] for archive in listed} != {backup["borg_id"] for backup in known}:
            raise SystemExit(f"{repository['path']}: borg and Borgfleet list different archives")
        for backup in known:
            count = extract_and_compare(demo, repository["path"], backup, secret)
            yield (f"  {backup['title']:16} {backup['name'][:34]}…  {count} files extracted, all equal byte for byte")
        borg(secret, "check", repository["path"])
        yield (f"  {repository['path'].removeprefix(str(demo.directory))}: borg check is clean")


def extract_and_compare(demo: Demo, path: str, backup: dict[str, Any], environment: dict[str, str]) -> int:
    """Extract one archive with plain borg and compare every file with its source."""
    with tempfile.TemporaryDirectory(dir=demo.directory) as target:
        borg(environment, "extract", f"{path}::{backup['name']}", cwd=target)
        count = 0
        for file in Path(target).rglob("*"):
            source = Path("/") / file.relative_to(target)
            if file.is_symlink():
                equal = source.is_symlink() and file.readlink() == source.readlink()
            elif file.is_file():
                equal = filecmp.cmp(file, source, shallow=False)
                count += 1
            else:
                equal = source.is_dir() == file.is_dir()
            if not equal:
                raise SystemExit(f"{source} differs from what was backed up")
        if count == 0:
            raise SystemExit(f"{backup['name']} extracted to nothing")
        return count


def borg(environment: dict[str, str], *arguments: str, cwd: str | None = None) -> str:
    """Run plain borg; end the demo with its own words if it fails."""
    done = subprocess.run([BORG, *arguments], env=environment, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"borg {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout

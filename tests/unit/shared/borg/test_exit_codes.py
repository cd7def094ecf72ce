from __future__ import annotations

import pytest

from shared.borg.exit_codes import failure
from shared.borg.output import LogLine
from shared.errors import Permanent, Transient


def error(message: str, code: str = "") -> LogLine:
    return LogLine("error", message, code)


@pytest.mark.parametrize("status", [0, 1, 100, 101, 107])
def test_success_and_warnings_are_no_failure(status: int) -> None:
    assert failure(status, [error("x")]) is None


@pytest.mark.parametrize(
    ("status", "line", "kind", "code"),
    [
        (73, error("locked", "LockTimeout"), Transient, "repository_locked"),
        (2, error("locked", "LockTimeout"), Transient, "repository_locked"),
        (52, error("no", "PassphraseWrong"), Permanent, "passphrase_wrong"),
        (13, error("no repository"), Permanent, "repository_missing"),
        (81, error("closed", "ConnectionClosed"), Transient, "storage_closed"),
        (81, error("ssh: connect to host x port 1: Connection refused"), Transient, "storage_unreachable"),
        (81, error("Host key verification failed."), Permanent, "storage_refused"),
        (81, error("root@x: Permission denied (publickey)."), Permanent, "storage_refused"),
        (2, error("OSError: [Errno 28] No space left on device"), Permanent, "disk_full"),
        (83, error("x", "PathNotAllowed"), Permanent, "path_refused"),
        (64, error("x", "Cache.RepositoryReplay"), Permanent, "repository_rolled_back"),
        (90, error("x", "IntegrityError"), Permanent, "repository_corrupt"),
        (
            2,
            error("FileNotFoundError: [Errno 2] No such file or directory: '/p/s/r/data/0/2'"),
            Permanent,
            "repository_corrupt",
        ),
        (2, error("OSError: [Errno 5] Input/output error"), Permanent, "repository_corrupt"),
        (31, error("x", "Archive.DoesNotExist"), Permanent, "archive_missing"),
        (30, error("x", "Archive.AlreadyExists"), Permanent, "archive_exists"),
        (75, error("borgfleet: the lease of this repository is not current"), Transient, "lease_not_current"),
        (127, error("borg: not found"), Permanent, "borg_missing"),
        (137, error("Killed"), Transient, "borg_killed"),
        (2, error("something new"), Transient, "borg_failed"),
        (42, error("something newer"), Transient, "borg_failed"),
    ],
)
def test_each_failure_has_its_class_its_code_and_a_remedy(
    status: int, line: LogLine, kind: type[Exception], code: str
) -> None:
    found = failure(status, [LogLine("info", "noise"), line])
    assert isinstance(found, kind)
    assert found.code == code
    assert found.remedy
    assert line.message in found.message


def test_a_failure_without_a_word_still_says_something() -> None:
    found = failure(2, [])
    assert found is not None
    assert "status 2" in found.message

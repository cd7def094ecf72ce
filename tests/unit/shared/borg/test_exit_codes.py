"""Every end of a run of borg has its cause; nothing that a file's name holds changes it."""

from __future__ import annotations

import pytest

from shared.borg.exit_codes import Speaker, failure
from shared.borg.output import LogLine
from shared.domain.messages.borg_causes import CAUSES
from shared.errors import Permanent, Transient


def error(message: str, code: str = "") -> LogLine:
    return LogLine("error", message, code)


def trace(last: str, frame: str = "cache", code: str = "") -> LogLine:
    return error(
        f'Traceback (most recent call last):\n  File "/x/borg/{frame}.py", line 1, in f\n    g()\n{last}\n', code
    )


FULL = "OSError: [Errno 28] No space left on device"


@pytest.mark.parametrize("status", [0, 1, 100, 101, 107, 125])
def test_success_and_warnings_are_no_failure(status: int) -> None:
    assert failure(status, [error("x")]) is None


@pytest.mark.parametrize(
    ("status", "line", "kind", "code"),
    [
        (73, error("locked", "LockTimeout"), Transient, "repository_locked"),
        (2, error("locked", "LockTimeout"), Transient, "repository_locked"),
        (75, error("lost", "NotMyLock"), Transient, "lock_lost"),
        (52, error("no", "PassphraseWrong"), Permanent, "passphrase_wrong"),
        (40, error("no"), Permanent, "key_invalid"),
        (44, error("no"), Permanent, "key_missing"),
        (48, error("no"), Permanent, "manifest_unreadable"),
        (26, error("no", "NoManifestError"), Permanent, "manifest_unreadable"),
        (13, error("no repository"), Permanent, "repository_missing"),
        (2, error("no repository", "Repository.DoesNotExist"), Permanent, "repository_missing"),
        (2, error("no archive", "Archive.DoesNotExist"), Permanent, "archive_missing"),
        (2, error("passed on", "DoesNotExist"), Permanent, "repository_missing"),
        (81, error("closed", "ConnectionClosed"), Transient, "storage_closed"),
        (81, error("Remote: ssh: connect to host x port 1: Connection refused"), Transient, "storage_unreachable"),
        (81, error("ssh: Could not resolve hostname x: unknown"), Transient, "storage_unreachable"),
        (81, error("Host key verification failed."), Permanent, "storage_host_key"),
        (81, error("Remote: This account is currently not available."), Permanent, "storage_account"),
        (86, error("Got unexpected RPC data format from server:\nThis account is not available"), Permanent, "storage_account"),
        (86, error("Got unexpected RPC data format from server:\nGood morning"), Transient, "storage_garbled"),
        (81, error("root@x: Permission denied (publickey)."), Permanent, "storage_refused"),
        (81, error("Remote: sh: 1: exec: nc: not found"), Permanent, "relay_missing"),
        (20, error("x", "StorageQuotaExceeded"), Permanent, "pool_quota"),
        (83, error("x", "PathNotAllowed"), Permanent, "path_refused"),
        (64, error("x", "Cache.RepositoryReplay"), Permanent, "repository_rolled_back"),
        (90, error("x", "IntegrityError"), Permanent, "repository_corrupt"),
        (2, trace("FileNotFoundError: [Errno 2] No such file: '/p/s/r/data/0/2'"), Permanent, "repository_corrupt"),
        (2, trace("FileNotFoundError: [Errno 2] No such file or directory: 'ssh'"), Permanent, "ssh_missing"),
        (2, trace("FileNotFoundError: [Errno 2] No usable temporary directory found in ['/tmp']"), Permanent, "server_tmp"),
        (2, trace(FULL), Permanent, "server_disk_full"),
        (2, trace(FULL, code="OSError"), Permanent, "pool_full"),
        (2, trace("OSError: [Errno 122] Disk quota exceeded", code="OSError"), Permanent, "pool_quota"),
        (2, trace("OSError: [Errno 116] Stale file handle", code="OSError"), Transient, "pool_gone"),
        (2, trace("OSError: [Errno 5] Input/output error: '/root/.config/borg/x'"), Permanent, "server_disk_error"),
        (2, trace("OSError: [Errno 30] Read-only file system: '/root/.cache/x'"), Permanent, "server_read_only"),
        (2, trace("PermissionError: [Errno 13] Permission denied: '/root/.cache/borg/x'"), Permanent, "server_cache_denied"),
        (2, trace("PermissionError: [Errno 13] Permission denied: '/srv'"), Permanent, "server_denied"),
        (2, trace("MemoryError: "), Transient, "server_memory"),
        (2, trace("MemoryError: ", code="MemoryError"), Transient, "node_memory"),
        (2, trace("OSError: [Errno 110] Connection timed out", code="OSError"), Transient, "pool_gone"),
        (2, trace("OSError: [Errno 112] Host is down", code="OSError"), Transient, "pool_gone"),
        (2, trace("OSError: [Errno 117] Structure needs cleaning", code="OSError"), Permanent, "repository_corrupt"),
        (2, trace("OSError: [Errno 27] File too large", code="OSError"), Transient, "pool_error"),
        (2, trace("OSError: [Errno 117] Structure needs cleaning: '/root/.cache/x'"), Permanent, "server_disk_error"),
        (2, trace("OSError: [Errno 24] Too many open files"), Transient, "server_system_error"),
        (2, trace("OSError: [Errno 11] Resource temporarily unavailable"), Transient, "server_system_error"),
        (2, trace("BrokenPipeError: [Errno 32] Broken pipe", code="BrokenPipeError"), Transient, "borg_failed"),
        (2, trace("struct.error: unpack requires a buffer of 8 bytes", "crypto/nonces"), Permanent, "server_security_damaged"),
        (2, error("Error: Local security dir has an invalid nonce file: got 0", "Error"), Permanent, "server_security_damaged"),
        (2, trace("ValueError: Unknown MAGIC in header"), Permanent, "server_cache_damaged"),
        (2, trace("ValueError: year 70000 is out of range"), Transient, "borg_failed"),
        (2, trace("binascii.Error: Odd-length string", "archiver"), Transient, "borg_failed"),
        (2, trace("borg.helpers.msgpack.UnpackException: x", "repository", "UnpackException"), Permanent, "repository_corrupt"),
        (61, error("x", "Cache.EncryptionMethodMismatch"), Permanent, "repository_rolled_back"),
        (2, trace("OSError: [Errno 99] Cannot assign requested address"), Transient, "borg_failed"),
        (2, error("Error: [Errno 13] Permission denied: '/root/.cache/borg/x'", "Error"), Permanent, "server_cache_denied"),
        (91, error("File failed integrity check: /root/.cache/borg/x", "FileIntegrityError"), Permanent, "server_cache_damaged"),
        (72, error("Failed to create/acquire the lock /pool/r/lock ([Errno 30] Read-only file system: '/pool/r/x').", "LockFailed"),
         Permanent, "pool_read_only"),
        (31, error("x", "Archive.DoesNotExist"), Permanent, "archive_missing"),
        (30, error("x", "Archive.AlreadyExists"), Permanent, "archive_exists"),
        (211, error("borgfleet-guard: the lease of this repository is not current"), Transient, "lease_not_current"),
        (81, error("Remote: borgfleet: not a repository"), Permanent, "not_offered"),
        (2, error("borg: error: unrecognized arguments: --x"), Permanent, "borg_usage"),
        (2, error("Error: [Errno 20] Not a directory: '/etc/passwd/x'", "Error"), Permanent, "server_cache_denied"),
        (2, error("Error: [Errno 2] No such file or directory: '/proc/x'", "Error"), Permanent, "server_cache_denied"),
        (2, error("Error: [Errno 17] File exists: '/root/.cache/borg'", "Error"), Permanent, "server_cache_denied"),
        (2, error("Error: [Errno 40] Too many levels of symbolic links: '/c'", "Error"), Permanent, "server_cache_denied"),
        (2, error("Error: [Errno 20] Not a directory: '/pool/r/x'", "Error"), Transient, "pool_error"),
        (2, trace("NotADirectoryError: [Errno 20] Not a directory: '/root/.cache/borg/x'"), Permanent, "server_cache_denied"),
        (2, trace("NotADirectoryError: [Errno 20] Not a directory: '/srv/x'"), Transient, "borg_failed"),
        (2, trace("FileNotFoundError: [Errno 2] No such file or directory: '/root/.cache/borg/x'"), Transient, "borg_failed"),
        (126, error("env: 'borg': Permission denied"), Permanent, "borg_not_executable"),
        (127, error("borg: not found"), Permanent, "borg_missing"),
        (137, error("Killed"), Transient, "borg_killed"),
        (129, error("Hangup"), Transient, "borg_killed"),
        (192, error(""), Transient, "borg_killed"),
        (193, error(""), Transient, "borg_failed"),
        (255, error(""), Transient, "borg_failed"),
        (-11, error(""), Transient, "borg_killed"),
        (-64, error(""), Transient, "borg_killed"),
        (2, error("something new"), Transient, "borg_failed"),
        (42, error("x"), Permanent, "key_missing"),
        (33, error("something newer"), Transient, "borg_failed"),
    ],
)  # fmt: skip
def test_each_failure_has_its_class_its_code_and_a_remedy(
    status: int, line: LogLine, kind: type[Exception], code: str
) -> None:
    found = failure(status, [LogLine("info", "noise"), line], pool="/pool/r")
    assert isinstance(found, kind)
    assert found.code == code
    assert found.remedy


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (trace(f"{FULL}: '/pool/r/data/0/1'"), "pool_full"),
        (trace(FULL, "repository"), "pool_full"),
        (trace(FULL), "node_disk_full"),
        (trace(f"{FULL}: '/var/lib/borgfleet/borg/x'"), "node_disk_full"),
        (trace("OSError: [Errno 5] Input/output error: '/pool/r/data/0/1'"), "repository_corrupt"),
        (trace("OSError: [Errno 5] Input/output error: '/var/x'"), "node_disk_error"),
        (trace("PermissionError: [Errno 13] Permission denied: '/pool/r/config'"), "pool_denied"),
        (trace("PermissionError: [Errno 13] Permission denied: '/var/x'"), "node_denied"),
        (error("File failed integrity check: /pool/r/index.1", "FileIntegrityError"), "repository_corrupt"),
        (error("File failed integrity check: /var/x", "FileIntegrityError"), "node_cache_damaged"),
    ],
)
def test_whose_disk_it_is_is_told_by_the_path_or_by_the_code_that_failed(line: LogLine, code: str) -> None:
    found = failure(2, [line], speaker=Speaker.NODE, pool="/pool/r")
    assert found is not None
    assert found.code == code


SPOOFS = [
    "/srv/No space left on device.txt: open: [Errno 13] Permission denied: 'No space left on device.txt'",
    "/srv/timed out/x: file changed while we backed it up", "/srv/Connection refused: stat: [Errno 28] no",
    "/srv/Host key verification failed: read: [Errno 5] Input/output error",
    "/srv/borgfleet: the lease of this repository is not current: x",
    "/srv/x\nTraceback (most recent call last):\nOSError: [Errno 28] No space left on device: y",
    "/srv/a: Permission denied (x: open: [Errno 13] Permission denied: 'a'", "/srv/run.sh: 1: nc: not found",
    "x: Permission denied (publickey).", "Unable to negotiate with a port 1: no matching cipher found.",
    "This account is currently not available.",
]  # fmt: skip


@pytest.mark.parametrize("name", SPOOFS)
@pytest.mark.parametrize(
    ("status", "last", "code"),
    [(81, error("closed", "ConnectionClosedWithHint"), "storage_closed"), (137, LogLine("info", ""), "borg_killed"),
     (2, error("gone", "Repository.DoesNotExist"), "repository_missing"), (2, error("new"), "borg_failed")],
)  # fmt: skip
def test_a_file_name_never_decides_the_cause(name: str, status: int, last: LogLine, code: str) -> None:
    found = failure(status, [LogLine("warning", name), last])
    assert found is not None
    assert found.code == code


@pytest.mark.parametrize("speaker", Speaker)
def test_no_status_but_borgs_own_words_for_it_is_a_run_that_came_to_its_end(speaker: Speaker) -> None:
    """Each status of a process, signals too: with what a borg says, and with what anything else may say."""
    noise = LogLine("info", "Good morning", structured=False)
    for status in (*range(-64, 0), *range(1, 256)):
        for lines in ([], [noise]):
            found = failure(status, lines, speaker=speaker)
            assert found is not None, (status, lines)
            assert found.code, status
            assert found.remedy, status
        borg = failure(status, [LogLine("warning", "/srv/x: file changed while we backed it up", "")], speaker=speaker)
        assert (borg is None) == (status == 1 or 100 <= status <= 125), status


def test_an_unknown_end_says_so_and_shows_the_last_lines() -> None:
    found = failure(33, [LogLine("info", text) for text in ("one", "two", "three", "four")])
    assert found is not None
    assert "not known here" in found.message
    assert "two | three | four" in found.message
    assert "one" not in found.message
    silent = failure(2, [])
    assert silent is not None
    assert "status 2 and said nothing" in silent.message


def test_of_a_long_line_the_beginning_and_the_end_decide_and_what_is_between_them_does_not() -> None:
    frames = '  File "/x/borg/cache.py", line 1, in f\n    g()\n' * 40_000
    head, other = "Traceback (most recent call last):\n", "ZeroDivisionError: division by zero"
    ended = [
        failure(2, [error(f"{head}{text}\n")]) for text in (FULL, frames + FULL, other, frames + FULL + frames + other)
    ]
    codes = [found.code for found in ended if found is not None]
    assert codes[0] == codes[1] != codes[2] == codes[3], codes


def test_what_was_said_long_before_the_end_decides_nothing() -> None:
    many = [error("no", "PassphraseWrong"), *[LogLine("info", "y" * 60_000)] * 100]
    found = failure(2, many)
    assert found is not None
    assert found.code != "passphrase_wrong"
    last = failure(2, [*many, error("no", "PassphraseWrong")])
    assert last is not None
    assert last.code == "passphrase_wrong"


def test_what_borg_says_of_its_machine_and_of_a_traceback_is_not_shown_as_the_reason() -> None:
    crash = trace("ZeroDivisionError: division by zero")
    machine = "Platform: Linux web1 5.10 x86_64"
    lines = [error("one"), crash, error(machine), error(f"Borg server: {machine}"), LogLine("info", "noise")]
    found = failure(33, lines)
    assert found is not None
    assert found.message.endswith("it said: one | ZeroDivisionError: division by zero")
    text = ("Remote: Traceback (most recent call last):", 'Remote:   File "<string>", line 3, in <module>')
    closed = error("Connection closed by remote host", "ConnectionClosed")
    said = [LogLine("info", " ".join(line.split())) for line in (*text, "Remote: OSError: gone")]
    found = failure(81, [*said, closed])
    assert found is not None
    assert (found.code, found.message.count("Traceback"), found.message.count("File")) == ("storage_closed", 0, 0)
    assert found.message.endswith("it said: OSError: gone")


NEVER_BORG: dict[str, tuple[int, list[str]]] = {
    "a Python without a module": (1, ["Traceback (most recent call last):", "ModuleNotFoundError: No module named 'x'"]),
    "a Python without its library": (1, ["Fatal Python error: init_fs_encoding", "ModuleNotFoundError: No module named 'e'"]),
    "a glibc too old": (1, ["borg: /lib/libc.so.6: version `GLIBC_2.36' not found (required by borg)"]),
    "a Python too old": (1, ['  File "/usr/bin/borg", line 3', "SyntaxError: invalid syntax"]),
    "something silent": (1, []), "something that warns, it seems": (100, []), "env": (125, ["env: invalid option -- 'X'"]),
    "a library missing": (127, ["borg: error while loading shared libraries: libpython3.11.so.1.0: cannot open"]),
    "an interpreter missing": (126, ["sh: /usr/bin/borg: /opt/python: bad interpreter: No such file or directory"]),
}  # fmt: skip


@pytest.mark.parametrize("name", NEVER_BORG)
def test_what_never_was_borg_is_no_run_with_warnings(name: str) -> None:
    status, said = NEVER_BORG[name]
    lines = [LogLine("info", text) for text in said]
    found = failure(status, lines)
    assert found is not None
    assert (type(found), found.code) == (Permanent, "borg_broken")
    assert not said or said[-1] in found.message
    if status in (1, 100):  # as soon as borg said one word, it is that
        assert failure(status, lines, answered=True) is None
        assert failure(status, [*lines, LogLine("info", "x", structured=True)]) is None
        assert failure(status, [LogLine("warning", "left out"), *lines]) is None


@pytest.mark.parametrize(
    "said",
    ["[7] INTERNAL ERROR: cannot create temporary directory!", "[PYI-7:ERROR] Could not create temporary directory!",
     "[7] Error loading Python lib '/tmp/_MEIx/libpython3.11.so.1.0': dlopen: failed to map segment from shared object",
     "[PYI-7:ERROR] Failed to extract libcrypto.so.3: decompression resulted in return code -1!"],
)  # fmt: skip
def test_a_single_file_borg_without_room_to_unpack_was_not_killed_by_a_signal(said: str) -> None:
    for speaker, code in ((Speaker.SERVER, "server_tmp"), (Speaker.NODE, "node_tmp")):
        found = failure(255, [LogLine("info", said)], speaker=speaker)
        assert found is not None
        assert (type(found), found.code) == (Permanent, code)


def test_the_nodes_own_directory_that_cannot_be_made_is_the_nodes() -> None:
    found = failure(2, [error("Error: [Errno 20] Not a directory: '/var/x'", "Error")], speaker=Speaker.NODE)
    assert found is not None
    assert found.code == "node_denied"


def test_each_code_means_one_thing_and_has_a_remedy() -> None:
    assert len({cause.code for cause in CAUSES}) == len(CAUSES)
    assert all(cause.says and cause.remedy for cause in CAUSES)


@pytest.mark.parametrize(
    ("last", "code"),
    [
        ("KeyError: 'repository'", "script_failed"),
        ("AssertionError", "script_failed"),
        ("OSError: [Errno 5] Input/output error: '/pool/web1/r/data/0/3'", "repository_corrupt"),
        ("OSError: [Errno 107] Transport endpoint is not connected: '/pool/web1/r/data'", "pool_gone"),
        ("OSError: [Errno 28] No space left on device: '/state/borg/x'", "node_disk_full"),
    ],
)
@pytest.mark.parametrize("before", [(), (LogLine("warning", "an index was rebuilt"),)])
def test_what_a_script_of_ours_did_not_foresee_is_no_broken_borg(
    last: str, code: str, before: tuple[LogLine, ...]
) -> None:
    said = [
        LogLine("info", line) for line in ("Traceback (most recent call last):", '  File "x.py", line 1, in f', last)
    ]
    found = failure(1, [*before, *said], speaker=Speaker.SCRIPT, pool="/pool")
    assert found is not None
    assert (found.code, bool(found.remedy)) == (code, True)
    told = failure(1, said, speaker=Speaker.NODE, pool="/pool")
    assert told is not None
    assert told.code == "borg_broken"


def test_a_script_of_ours_ends_as_borg_does_in_all_else() -> None:
    assert failure(0, [], speaker=Speaker.SCRIPT) is None
    for status in (52, 13, 2, 137):
        ours, borgs = (failure(status, [error("x")], speaker=one) for one in (Speaker.SCRIPT, Speaker.NODE))
        assert ours is not None
        assert borgs is not None
        assert ours.code == borgs.code

"""Each cause of failure, said by the real program that says it: borg 1.2 and 1.4, ssh, a shell, Python, the kernel."""

from __future__ import annotations

import errno
import importlib
import inspect
import os
import pkgutil
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shared.borg.exit_codes import Speaker, failure
from shared.borg.output import LogLine, parse_line
from shared.domain.messages.borg_causes import BY_NAME
from shared.errors import AppError, Permanent, Transient
from tests.harness.borg_client import NODE, PASSPHRASE, Client
from tests.harness.patience import WAIT

BORG_1_2 = "/usr/bin/borg"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts and other users need root")
both = pytest.mark.parametrize("borg", [BORG_1_2, NODE], ids=["1.2", "1.4"])


class Place:
    """A repository with an archive, a source, and a client's borg with a home of its own."""

    def __init__(self, directory: Path, borg: str) -> None:
        self.directory = directory
        self.pool = directory / "pool"
        self.pool.mkdir()
        self.source = directory / "source"
        self.source.mkdir()
        (self.source / "data").write_bytes(os.urandom(12_000_000))
        self.client = Client(borg, self.pool / "repo", directory / "home")

    def init(self, *options: str) -> Place:
        subprocess.run(
            [NODE, "init", "--encryption=repokey-blake2", *options, str(self.client.repository)],
            env=self.client.environment(), capture_output=True, check=True, timeout=WAIT,
        )  # fmt: skip
        return self

    def create(
        self, *, speaker: Speaker = Speaker.SERVER, prefix: tuple[str, ...] = (), **environment: str
    ) -> AppError:
        """Make an archive, over a pair of pipes or, as the node, directly; return why that failed."""
        url = self.client.url if speaker is Speaker.SERVER else str(self.client.repository)
        argv = [
            *prefix,
            self.client.borg,
            "create",
            "--log-json",
            "--json",
            "--lock-wait=1",
            f"{url}::a",
            str(self.source),
        ]
        return cause(argv, self.client.environment() | environment, speaker, str(self.client.repository))


def cause(argv: list[str], environment: dict[str, str], speaker: Speaker = Speaker.SERVER, pool: str = "") -> AppError:
    done = subprocess.run(argv, env=environment, capture_output=True, check=False, timeout=WAIT, cwd="/")
    said = [output for line in done.stderr.split(b"\n") for output in parse_line(line)]
    lines = [output for output in said if isinstance(output, LogLine)]
    error = failure(done.returncode, lines, speaker=speaker, pool=pool)
    assert error is not None, (done.returncode, done.stderr)
    assert error.remedy
    assert len(error.message) < 800, error.message
    assert "Traceback" not in error.message, error.message
    return error


@contextmanager
def mounted(where: Path, *options: str) -> Iterator[Path]:
    where.mkdir(exist_ok=True)
    subprocess.run(["mount", *options, str(where)], check=True)
    try:
        yield where
    finally:
        subprocess.run(["umount", "--lazy", str(where)], check=True)


@pytest.fixture
def place(tmp_path: Path, borg: str) -> Place:
    return Place(tmp_path, borg)


@needs_root
@both
def test_a_full_disk_of_the_server_is_not_told_as_a_full_pool(place: Place, tmp_path: Path) -> None:
    place.init()
    with mounted(tmp_path / "cache", "-t", "tmpfs", "-o", "size=64k", "tmpfs") as cache:
        error = place.create(BORG_CACHE_DIR=str(cache))
    assert (type(error), error.code) == (Permanent, "server_disk_full")
    assert "No space left on device" in error.message


@needs_root
@both
@pytest.mark.parametrize("speaker", [Speaker.SERVER, Speaker.NODE])
def test_a_full_pool_is_told_as_that_whoever_meets_it(place: Place, speaker: Speaker) -> None:
    with mounted(place.pool, "-t", "tmpfs", "-o", "size=2m", "tmpfs"):
        place.init()
        error = place.create(speaker=speaker)
    assert (type(error), error.code) == (Permanent, "pool_full")


@needs_root
@both
@pytest.mark.parametrize("speaker", [Speaker.SERVER, Speaker.NODE])
def test_a_pool_that_can_only_be_read_is_told_as_that(place: Place, speaker: Speaker) -> None:
    place.init()
    with mounted(place.pool, "--bind", str(place.pool)):
        subprocess.run(["mount", "-o", "remount,ro,bind", str(place.pool)], check=True)
        error = place.create(speaker=speaker)
    assert (type(error), error.code) == (Permanent, "pool_read_only")


@both
def test_a_quota_is_no_full_pool(place: Place) -> None:
    place.init("--storage-quota=10M")
    assert place.create().code == "pool_quota"


@needs_root
@pytest.mark.parametrize("denied", ["cache", "security"])
def test_directories_of_borgs_own_that_it_may_not_use_are_told_as_that(open_directory: Path, denied: str) -> None:
    place = Place(open_directory, BORG_1_2).init()
    base = place.directory / "of-root"
    base.mkdir(mode=0o700)
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    own = {
        f"BORG_{name.upper()}_DIR": f"/tmp/{place.directory.name}-{name}" for name in ("cache", "config", "security")
    }
    subprocess.run(["chmod", "-R", "a+rwX", str(place.directory)], check=True)
    base.chmod(0o700)
    served = f"exec {BORG_1_2} serve --restrict-to-repository {place.client.repository}"
    error = place.create(
        prefix=nobody, HOME="/nonexistent", BORG_BASE_DIR="/tmp",
        **(own | {f"BORG_{denied.upper()}_DIR": str(base / "x")}), BORG_RSH=shlex.join(["sh", "-c", served]),
    )  # fmt: skip
    assert error.code == "server_cache_denied", error.message


@both
def test_a_directory_of_borgs_own_that_cannot_be_made_is_no_passing_fault(place: Place) -> None:
    place.init()
    for name, where in (
        ("CACHE", "/etc/passwd/x"),
        ("CONFIG", "/etc/passwd/x"),
        ("SECURITY", "/etc/passwd/x"),
        ("BASE", "/proc/x"),
    ):
        error = place.create(**{f"BORG_{name}_DIR": where})
        assert (type(error), error.code) == (Permanent, "server_cache_denied"), (name, error.message)


@both
def test_a_wrong_passphrase_a_missing_key_and_one_that_is_none(place: Place) -> None:
    place.init()
    error = place.create(BORG_PASSPHRASE="wrong")
    assert (type(error), error.code) == (Permanent, "passphrase_wrong")
    config = place.client.repository / "config"
    whole = config.read_text()
    config.write_text(re.sub(r"\nkey = .*(\n\t.*)*", "", whole))
    error = place.create()
    assert (type(error), error.code) == (Permanent, "key_missing")
    config.write_text(re.sub(r"\nkey = .*(\n\t.*)*", "\nkey = bm8ga2V5\n", whole))
    error = place.create()
    assert type(error) is Permanent
    assert error.code in ("key_invalid", "key_missing")  # by borg's version


@both
def test_what_is_no_repository_or_not_ones_own(place: Place) -> None:
    assert place.create().code == "repository_missing"
    place.init()
    served = f"exec {shlex.quote(NODE)} serve --restrict-to-repository /elsewhere"
    assert place.create(BORG_RSH=shlex.join(["sh", "-c", served])).code == "path_refused"


@both
def test_a_lock_that_somebody_holds_is_waited_for(place: Place) -> None:
    place.init()
    holder = subprocess.Popen(
        [NODE, "with-lock", str(place.client.repository), "sh", "-c", "echo held; exec sleep 600"],
        env=place.client.environment() | {"BORG_HOST_ID": "another"}, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert holder.stdout is not None
    holder.stdout.readline()
    error = place.create()
    subprocess.run(["pkill", "-KILL", "-P", str(holder.pid)], check=True)
    holder.communicate(timeout=WAIT)
    assert (type(error), error.code) == (Transient, "repository_locked")


@both
@pytest.mark.parametrize("damage", ["lost", "garbled"])
def test_a_damaged_repository_and_one_without_a_manifest(place: Place, damage: str) -> None:
    place.init()
    for segment in (place.client.repository / "data" / "0").iterdir():
        data = bytearray(segment.read_bytes())
        if damage == "lost":
            segment.unlink()
        elif len(data) > 100:
            data[60:100] = bytes(40)
            segment.write_bytes(data)
    error = place.create(speaker=Speaker.NODE)
    assert type(error) is Permanent
    assert error.code in ("repository_corrupt", "manifest_unreadable")


@both
def test_an_option_that_a_borg_does_not_know_is_no_passing_fault(place: Place) -> None:
    error = cause([place.client.borg, "create", "--no-such-option", "x::y"], place.client.environment())
    assert (type(error), error.code) == (Permanent, "borg_usage")


PROGRAMS = {
    "missing": (["env", "no-such-borg"], "borg_missing", Permanent),
    "not executable": (["env", "/etc/passwd"], "borg_not_executable", Permanent),
    "broken": ([sys.executable, "-c", "import msgpack_that_is_not_there"], "borg_broken", Permanent),
    "a Python without its library": (
        ["env", "PYTHONHOME=/nowhere", sys.executable, "-c", "1"],
        "borg_broken",
        Permanent,
    ),
    "an env that refuses": (["env", "--no-such-option", "borg"], "borg_broken", Permanent),
    "silent with a status of warnings": (["sh", "-c", "exit 1"], "borg_broken", Permanent),
    "killed": (["sh", "-c", "kill -KILL $$"], "borg_killed", Transient),
    "killed below a shell": (["sh", "-c", "sh -c 'kill -SEGV $$'; exit $?"], "borg_killed", Transient),
    "unknown": (["sh", "-c", "echo one >&2; echo something new >&2; exit 33"], "borg_failed", Transient),
    "silent": (["sh", "-c", "exit 2"], "borg_failed", Transient),
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_what_never_was_borg_or_was_ended_is_told_as_that(program: str) -> None:
    argv, code, kind = PROGRAMS[program]
    error = cause(argv, dict(os.environ))
    assert (type(error), error.code) == (kind, code)
    if program == "unknown":
        assert "status 33" in error.message
        assert "one | something new" in error.message


def test_a_borg_that_crashes_shows_its_last_sentence_and_no_traceback(tmp_path: Path) -> None:
    place = Place(tmp_path, NODE).init()
    patched = "import sys,borg.archiver as a\na.Archiver.do_create=lambda *b,**c: 1/0\nsys.argv[0]='borg'\na.main()"
    argv = [sys.executable, "-c", patched, "create", "--log-json", f"{place.client.url}::a", str(place.source)]
    error = cause(argv, place.client.environment())
    assert (type(error), error.code) == (Transient, "borg_failed")
    assert "ZeroDivisionError" in error.message


@both
def test_a_server_without_ssh_or_whose_storage_hangs_up(place: Place, tmp_path: Path) -> None:
    assert place.create(BORG_RSH="ssh", PATH=str(tmp_path)).code in ("ssh_missing", "storage_closed")
    assert place.create(BORG_RSH="sh -c 'exit 1'").code == "storage_closed"
    guard = Path(__file__).parents[3] / "shared/borg/guard.sh"
    error = cause(["sh", str(guard), str(tmp_path / "no-grant"), "1", "true"], dict(os.environ), Speaker.NODE)
    assert (type(error), error.code) == (Transient, "lease_not_current")


def test_a_borg_killed_while_it_reads_is_tried_again(tmp_path: Path) -> None:
    assert signal.SIGKILL == 9
    error = failure(-9, [])
    assert error is not None
    assert (type(error), error.code) == (Transient, "borg_killed")
    assert PASSPHRASE not in error.message


def test_every_error_of_the_nodes_borg_is_in_the_table_with_its_status() -> None:
    borg = importlib.import_module("borg")
    errors = importlib.import_module("borg.helpers.errors")
    found: dict[str, int] = {}
    for module in pkgutil.walk_packages(borg.__path__, "borg."):
        if "testsuite" in module.name or "fuse" in module.name or "__main__" in module.name:
            continue
        for _, owner in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            for kind in (owner, *(inner for _, inner in inspect.getmembers(owner, inspect.isclass))):
                if isinstance(kind, type) and issubclass(kind, errors.Error) and kind.exit_mcode > 2:
                    found[kind.__qualname__] = kind.exit_mcode
    assert len(found) > 40
    known = {status for status, _ in BY_NAME.values()}
    assert {name: status for name, status in found.items() if status not in known} == {}
    tails = {
        name.rpartition(".")[2]: status for name, (status, _) in BY_NAME.items() if not name.startswith("Archive.")
    }
    assert {
        name
        for name, status in found.items()
        if not name.startswith("Archive.") and tails.get(name.rpartition(".")[2]) != status
    } <= {"Archive"}


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def zeroed(file: Path) -> None:
    file.write_bytes(bytes(file.stat().st_size))


AFTER_POWER_LOSS = {
    "cache's configuration, zeros": (".cache/borg/*/config", zeroed, "server_cache_damaged"),
    "cache's configuration, empty": (".cache/borg/*/config", emptied, "server_cache_damaged"),
    "cache's chunks, empty": (".cache/borg/*/chunks", emptied, "server_cache_damaged"),
    "nonce, zeros": (".config/borg/security/*/nonce", zeroed, "server_security_damaged"),
    "nonce, empty": (".config/borg/security/*/nonce", emptied, "server_security_damaged"),
    "kind of key, zeros": (".config/borg/security/*/key-type", zeroed, "repository_rolled_back"),
}


@both
def test_borgs_own_files_that_a_power_loss_left_empty_are_named_and_not_tried_again_for_ever(place: Place) -> None:
    place.init()
    made = [place.client.borg, "create", f"{place.client.url}::first", str(place.source)]
    subprocess.run(made, env=place.client.environment(), check=True, timeout=WAIT)
    (place.source / "more").write_bytes(os.urandom(1_000_000))
    for name, (pattern, damage, code) in AFTER_POWER_LOSS.items():
        (file,) = place.client.home.glob(pattern)
        whole = file.read_bytes()
        damage(file)
        error = place.create()
        file.write_bytes(whole)
        assert (type(error), error.code) == (Permanent, code), (name, error.message)
        if "server" in code:
            assert "Local Exception" not in error.message, "it says what is wrong with it"


@both
@pytest.mark.parametrize("files", ["config", "[hi][in][ndt]*.*"])
@pytest.mark.parametrize("speaker", [Speaker.SERVER, Speaker.NODE])
def test_a_repositorys_own_files_that_hold_no_sense_are_a_damaged_repository(
    place: Place, files: str, speaker: Speaker
) -> None:
    place.init()
    place.client.run("create", "{repo}::first", str(place.source))
    found = list(place.client.repository.glob(files))
    assert found
    for file in found:
        zeroed(file)
    error = place.create(speaker=speaker)
    assert (type(error), error.code) == (Permanent, "repository_corrupt"), error.message


POOL_ERRORS = {
    errno.ETIMEDOUT: (Transient, "pool_gone"), errno.EHOSTDOWN: (Transient, "pool_gone"),
    errno.EUCLEAN: (Permanent, "repository_corrupt"), errno.ENOLCK: (Transient, "pool_error"),
}  # fmt: skip


@both
@pytest.mark.parametrize("number", POOL_ERRORS, ids=errno.errorcode.get)
def test_a_pool_whose_network_or_file_system_fails_is_told_as_the_pool(place: Place, number: int) -> None:
    """What NFS, CIFS and a broken XFS answer; the borg that meets it is real, its system is not."""
    place.init()
    failing = (
        f"import sys, os, borg.repository as r, borg.archiver as a\ndef put(self, *_, **__): "
        f"raise OSError({number}, os.strerror({number}), self.path + '/data/0/9')\nr.Repository.put = put\n"
        "sys.argv[0] = 'borg'\na.main()"
    )
    served = shlex.join([sys.executable, "-c", failing, "serve"])
    error = place.create(BORG_RSH=shlex.join(["sh", "-c", f"exec {served}"]))
    assert (type(error), error.code) == POOL_ERRORS[number], error.message


@both
def test_limits_of_a_process_are_told_as_those_of_the_machine_that_has_them(place: Place) -> None:
    place.init()
    serve = shlex.join(["sh", "-c", f"exec prlimit --fsize=100000 {NODE} serve"])
    found = {
        "too few open files": place.create(prefix=("prlimit", "--nofile=8")),
        "a largest file": place.create(BORG_RSH=serve),
        "little memory": place.create(prefix=("prlimit", "--as=40000000")),
    }
    codes = {name: error.code for name, error in found.items()}
    assert codes["too few open files"] == "server_system_error", found
    assert codes["a largest file"] == "pool_error", found
    # Where it gives out is chance: a Python may be ended by it before it can say anything.
    assert codes["little memory"] in ("server_memory", "borg_killed"), found
    assert all(isinstance(error, Transient) for error in found.values())

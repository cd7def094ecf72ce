"""Scripts of set-up that change ~/.ssh at the same time, on a server with `flock` and without: no line twice, none lost."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from services.setup.steps.authorize import INSTALL
from services.setup.steps.keypair import MAKE
from services.setup.steps.pin import WRITE
from tests.harness.patience import WAIT

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFleet"
LINE = f"{KEY} fleet"
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOther other"
SHELLS = {"dash": ["dash"], "bash": ["bash", "--posix"], "busybox": ["busybox", "sh"]}
TOOLS = (
    "cat", "chmod", "date", "grep", "ln", "mkdir", "mv", "readlink", "rm", "rmdir", "sleep", "ssh-keygen", "tail", "uname",
)  # fmt: skip
# Whoever has looked writes only when the others have looked too, if nothing keeps them apart.
SLOW = {"grep": 'sleep 0.3; exec {real} "$@"', "ssh-keygen": 'sleep 0.3; exec {real} "$@"'}


@dataclass
class Home:
    """A home on a server with these tools and no others."""

    path: Path
    tools: Path
    shell: list[str]

    @property
    def ssh(self) -> Path:
        return self.path / ".ssh"

    @property
    def keys(self) -> Path:
        return self.ssh / "authorized_keys"

    def start(self, script: str, *args: str) -> subprocess.Popen[str]:
        environment = {"PATH": str(self.tools), "HOME": str(self.path)}
        argv = [shutil.which(self.shell[0]) or "", *self.shell[1:], "-c", script, "sh", *args]
        return subprocess.Popen(
            argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )

    def together(self, *scripts: tuple[str, ...]) -> list[str]:
        """Run scripts at the same time; all must end well. Return what each printed."""
        said: list[str] = []
        for one in [self.start(*script) for script in scripts]:
            out, err = one.communicate(timeout=WAIT)
            assert (one.returncode, err) == (0, "")
            said.append(out)
        return said

    def left(self) -> set[str]:
        return {file.name for file in self.ssh.iterdir()}


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> list[str]:
    return SHELLS[request.param]


Made = Callable[..., Home]


@pytest.fixture
def home(open_directory: Path, shell: list[str]) -> Made:
    def made(*more: str) -> Home:
        tools = open_directory / "tools"
        tools.mkdir()
        for name in (*TOOLS, *more):
            real = shutil.which(name)
            assert real, f"no {name}"
            if name in SLOW:
                (tools / name).write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{SLOW[name].format(real=real)}\n")
                (tools / name).chmod(0o755)
            else:
                (tools / name).symlink_to(real)
        (open_directory / "home").mkdir()
        return Home(open_directory / "home", tools, shell)

    return made


NO_LOCK_IN_THE_FILE_SYSTEM = "#!/bin/sh\necho 'flock: 9: No locks available' >&2\nexit 71\n"


@pytest.mark.parametrize("flock", ["flock", "no flock", "a flock that fails"])
def test_set_ups_at_once_write_each_thing_once_and_lose_nothing(home: Made, flock: str) -> None:
    server = home(*(["flock"] if flock == "flock" else []))
    if flock == "a flock that fails":
        (server.tools / "flock").write_text(NO_LOCK_IN_THE_FILE_SYSTEM)
        (server.tools / "flock").chmod(0o755)
    server.ssh.mkdir()
    server.keys.write_text(OTHER)  # without its end: two that mend it would write an empty line
    # Half a minute is the limit of the product; nine of them on a slow machine may need longer.
    install, make, write = (script.replace("left=30", f"left={9 * WAIT:.0f}") for script in (INSTALL, MAKE, WRITE))
    said = server.together(*[(install, KEY, LINE)] * 4, *[(make,)] * 3, *[(write, "node1 ssh-ed25519 AAAA")] * 2)
    assert server.keys.read_text() == f"{OTHER}\n{LINE}\n"
    assert sorted(said[:4]) == ["added\n", *["present\n"] * 3]
    made = [one.splitlines() for one in said[4:7]]
    assert sorted(one[0] for one in made) == ["made", "present", "present"]
    assert len({one[-1] for one in made}) == 1
    assert sorted(said[7:]) == ["present\n", "written\n"]
    assert server.left() == {"authorized_keys", "borgfleet_ed25519", "borgfleet_ed25519.pub", "borgfleet_known_hosts"}


def test_what_a_killed_set_up_leaves_keeps_no_later_one_waiting(home: Made) -> None:
    server = home()
    (server.tools / "grep").write_text("#!/bin/sh\nexec /bin/sleep 1000\n")
    server.ssh.mkdir()
    server.keys.write_text(f"{OTHER}\n")
    killed = server.start(INSTALL, KEY, LINE)
    until = time.monotonic() + WAIT
    while not (server.ssh / ".borgfleet_lock").is_symlink():
        assert time.monotonic() < until
        time.sleep(0.05)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate(timeout=WAIT)
    assert server.left() == {"authorized_keys", ".borgfleet_lock"}
    (server.tools / "grep").unlink()
    (server.tools / "grep").symlink_to("/usr/bin/grep")
    # It takes the lock away, where one that only waits in vain would go on beside the others.
    never = INSTALL.replace("left=30", "left=-1")
    assert sorted(server.together(*[(never, KEY, LINE)] * 3)) == ["added\n", "present\n", "present\n"]
    assert server.keys.read_text() == f"{OTHER}\n{LINE}\n"
    assert server.left() == {"authorized_keys"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_set_up_that_is_told_to_end_leaves_no_lock(home: Made, number: signal.Signals) -> None:
    server = home()
    (server.tools / "grep").write_text('#!/bin/sh\necho $$ >"$HOME/looking"\nexec /bin/sleep 1000\n')
    server.ssh.mkdir()
    server.keys.write_text("")
    told = server.start(INSTALL, KEY, LINE)
    until = time.monotonic() + WAIT
    while not (server.path / "looking").exists():
        assert time.monotonic() < until
        time.sleep(0.05)
    os.killpg(told.pid, number)
    told.communicate(timeout=WAIT)
    assert server.left() == {"authorized_keys"}
    assert told.returncode != 0


@pytest.mark.parametrize("held_by", ["1.5.another-machine", "nobody", ""])
def test_a_lock_that_nobody_can_tell_the_holder_of_keeps_a_set_up_waiting_and_not_for_ever(
    home: Made, held_by: str
) -> None:
    server = home()
    server.ssh.mkdir()
    if held_by:
        (server.ssh / ".borgfleet_lock").symlink_to(held_by)
    else:
        (server.ssh / ".borgfleet_lock").write_text("no link")
    assert server.together((INSTALL.replace("left=30", "left=2"), KEY, LINE)) == ["added\n"]
    assert server.left() == {"authorized_keys", ".borgfleet_lock"}


def test_a_key_that_is_there_is_found_in_a_home_that_cannot_be_written(home: Made) -> None:
    if os.geteuid() != 0:
        pytest.skip("dropping rights needs root")
    server = home()
    server.ssh.mkdir()
    server.keys.write_text(f"{LINE}\n")
    server.shell = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        shutil.which(server.shell[0]) or "",
        *server.shell[1:],
    ]
    assert server.together((INSTALL, KEY, LINE)) == ["present\n"]

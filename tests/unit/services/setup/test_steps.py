"""Set-up on scripted servers: every package manager, every refusal."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import select, update

from services.setup.handlers import announce_failure, setup_server
from services.setup.ports import PinnedEndpoint, SetupPlan, Work
from services.setup.refusal import ASK, why_refused
from services.setup.steps.authorize import INSTALL, authorize
from services.setup.steps.detect import KEPT, PROBE, detect
from services.setup.steps.install import COMMANDS, VERSION, install
from services.setup.steps.key import WHO, prove_key
from services.setup.steps.keypair import keypair
from services.setup.steps.pin import pin
from services.setup.steps.prove import prove
from shared.borg.environment import Endpoint
from shared.bus.memory import MemoryBus
from shared.db.session import Database
from shared.db.stores.requests import request_setup
from shared.db.stores.secrets import FLEET_KEY, FLEET_PUBLIC_KEY, server_password
from shared.db.tables import Job, JobLog, OutboxRow, Secret, Server
from shared.errors import AppError, NotFound, Permanent, Transient
from shared.events.server import ServerSetup
from shared.runtime.context import Context
from shared.ssh.asyncssh import new_key_pair
from shared.ssh.port import Credentials, Target, fingerprint
from shared.ssh.scripted import Answer, ScriptedServer, ScriptedSsh, _Connection

FLEET_PRIVATE, FLEET_PUBLIC = new_key_pair("fleet")
_, HOST_PUBLIC = new_key_pair("host")
HOST_KEY = " ".join(HOST_PUBLIC.split()[:2])
_, SERVER_PUBLIC = new_key_pair("server")
FACTS = "os_id=debian\nos_name=Debian 12\narchitecture=x86_64\npackage_manager={}\nprivilege={}\n"


def scripted(answer: Callable[[str, tuple[str, ...], str], Answer], **plan: Any) -> tuple[Work, ScriptedServer]:
    server = ScriptedServer(HOST_KEY, private_key=FLEET_PRIVATE, answer=answer)
    connection = _Connection(server)
    values: dict[str, Any] = {
        "server_id": uuid.uuid4(), "name": "s", "host": "h", "port": 22, "username": "admin", "host_key": HOST_KEY,
        "approved_fingerprint": None, "backup_key": None, "fleet_key": FLEET_PRIVATE, "fleet_public_key": FLEET_PUBLIC,
        "password": None, "password_until": None, "endpoints": (PinnedEndpoint(Endpoint("node1", "n", 22, "borg"), HOST_KEY),),
    }  # fmt: skip

    async def register(_key: str) -> bool:
        return True

    login = partial(ScriptedSsh({("h", 22): server}).connect, Target("s", "h", 22, "admin", HOST_KEY))
    by_key = partial(login, Credentials(private_key=FLEET_PRIVATE))
    return Work(SetupPlan(**values | plan), connection, connection, {}, register, by_key), server


@pytest.mark.parametrize("privilege", ["root", "sudo"])
async def test_detect_records_facts(privilege: str) -> None:
    work, _ = scripted(lambda *_: (0, FACTS.format("apk", privilege), ""))
    result = await detect(work)
    assert not result.changed
    assert work.facts["package_manager"] == "apk"


async def test_without_root_or_sudo_the_remedy_is_a_sudoers_line() -> None:
    work, _ = scripted(lambda *_: (0, FACTS.format("apk", "none"), ""))
    with pytest.raises(Permanent) as caught:
        await detect(work)
    assert "admin ALL=(root) NOPASSWD" in caught.value.remedy


SUDO = {
    "": "NOPASSWD: ALL",
    "sudo: a password is required": "sudo -l -U admin",
    "sudo: /etc/sudoers.d/bft is world writable sudo: a password is required": "chmod 0440",
    "sudo: /etc/sudoers.d/x is owned by uid 1000, should be 0": "chown root:root",
    "sudo: sorry, you must have a tty to run sudo": "Defaults:admin !requiretty",
    "/etc/sudoers.d/bft:2:10: syntax error nonsense sudo: a password is required": "visudo -c",
    "sh: 12: sudo: not found": "install sudo", "sh: sudo: command not found": "install sudo",
    'sudo: The "no new privileges" flag is set': "log in as root",
    "sudo: account validation failure, is your account locked?": "chage -l admin",
    "sorry {user} {0}": "NOPASSWD: ALL",
}  # fmt: skip


@pytest.mark.parametrize("said", SUDO)
async def test_what_sudo_says_is_handed_on_and_its_remedy_fits(said: str) -> None:
    work, _ = scripted(lambda *_: (0, f"os_id=debian\nsudo_said={said}\nprivilege=none\n", ""))
    with pytest.raises(Permanent) as caught:
        await detect(work)
    assert caught.value.code == "no_privilege"
    assert said in str(caught.value)
    assert SUDO[said] in caught.value.remedy


async def test_a_server_that_says_more_than_it_was_asked_fills_no_database() -> None:
    many = "".join(f"k{number}={'v' * 200}\n" for number in range(35_000))
    work, _ = scripted(
        lambda *_: (
            0,
            f"{many}os_name=D\x1b[31m\u202e{'x' * 10_000}\n{FACTS.format('apk', 'root')}hostname=\x00\n=\n",
            "",
        )
    )
    await detect(work)
    assert set(work.facts) == {"os_id", "os_name", "architecture", "package_manager", "privilege", "hostname"}
    assert all(len(value) <= 200 and value.isprintable() for value in work.facts.values()), work.facts


async def test_the_script_says_what_is_kept_and_nothing_else() -> None:
    done = subprocess.run(["sh", "-c", PROBE], capture_output=True, text=True, check=True)
    names = {line.partition("=")[0] for line in done.stdout.splitlines()}
    assert names - {"sudo_said"} <= KEPT
    assert {"os_id", "kernel", "hostname", "privilege"} <= names


@pytest.mark.parametrize("manager", list(COMMANDS))
async def test_each_package_manager_installs_borg_once(manager: str) -> None:
    installed = False

    def answer(script: str, _args: tuple[str, ...], _stdin: str) -> Answer:
        nonlocal installed
        if script == COMMANDS[manager]:
            installed = True
            return 0, "", ""
        return (0, "borg 1.4.1\n", "") if installed else (127, "", "borg: not found")

    work, server = scripted(answer)
    work.facts["package_manager"] = manager
    first, second = await install(work), await install(work)
    assert (first.changed, second.changed, first.detail) == (True, False, "borg 1.4.1")
    assert [script for script, _ in server.seen].count(COMMANDS[manager]) == 1
    assert ("borgbackup" in COMMANDS[manager]) or manager == "pacman"


@pytest.mark.parametrize(("version", "warns"), [("1.2.4", True), ("1.2.5", False), ("1.4.5", False)])
async def test_an_old_borg_is_warned_about_and_a_too_old_one_refused(version: str, warns: bool) -> None:
    work, _ = scripted(lambda *_: (0, f"borg {version}\n", ""))
    result = await install(work)
    assert (result.warning is not None) == warns
    old, _ = scripted(lambda *_: (0, "borg 1.1.16\n", ""))
    with pytest.raises(Permanent, match="too old"):
        await install(old)


async def test_an_installation_that_fails_or_cannot_be_is_said() -> None:
    work, _ = scripted(lambda script, *_: (127, "", "") if script == VERSION else (100, "", "E: Unable to fetch"))
    work.facts["package_manager"] = "apt-get"
    with pytest.raises(Transient, match="Unable to fetch"):
        await install(work)
    work.facts["package_manager"] = "emerge"
    with pytest.raises(Permanent, match="no package manager"):
        await install(work)
    lies, _ = scripted(lambda script, *_: (127, "", "") if script == VERSION else (0, "", ""))
    lies.facts["package_manager"] = "apk"
    with pytest.raises(Permanent, match="does not run"):
        await install(lies)


async def test_authorize_keypair_and_pin_report_what_they_changed_and_why_they_failed() -> None:
    for step, said in ((authorize, "added\n"), (keypair, f"made\n{SERVER_PUBLIC}\n"), (pin, "written\n")):
        work, _ = scripted(lambda *_, said=said: (0, said, ""))
        assert (await step(work)).changed
        broken, _ = scripted(lambda *_: (1, "", "Read-only file system"))
        with pytest.raises(Permanent, match="Read-only"):
            await step(broken)
    work, _ = scripted(lambda *_: (0, "present\n", ""))
    assert not (await authorize(work)).changed
    assert not (await pin(work)).changed


def says(message: str, code: str = "", status: int = 2) -> Callable[..., Answer]:
    line = f'{{"type": "log_message", "levelname": "ERROR", "message": "{message}", "msgid": "{code}"}}'
    return lambda script, *_: (0, "/root", "") if "HOME" in script and "exec" not in script else (status, "", line)


async def test_the_way_back_is_proven_by_borgs_own_answer() -> None:
    proven, _ = scripted(says("no repository", "Repository.DoesNotExist"))
    assert (await prove(proven)).detail == "borg answers on node1"
    alone, _ = scripted(says("x"), endpoints=())
    assert (await prove(alone)).warning
    cut, _ = scripted(says("ssh: connect to host 192.0.2.1 port 2222: Connection refused", status=81))
    assert "only the tunnel" in ((await prove(cut)).warning or "")
    with pytest.raises(Permanent) as caught:
        await prove(scripted(says("path", "PathNotAllowed"))[0])
    assert caught.value.code == "path_refused"
    with pytest.raises(Transient):
        await prove(scripted(says("closed", "ConnectionClosed", 81))[0])


@pytest.mark.parametrize(
    ("status", "said", "code"),
    [(1, "Fatal Python error: init_fs_encoding", "borg_broken"), (1, "", "borg_broken"), (100, "", "borg_broken"),
     (1, "borg: /lib/libc.so.6: version `GLIBC_2.36' not found", "borg_broken"), (125, "env: x", "borg_broken"),
     (255, "[1] INTERNAL ERROR: cannot create temporary directory!", "server_tmp"), (0, "", "way_back_unproven"),
     (1, '{"type": "log_message", "levelname": "WARNING", "message": "x"}', "way_back_unproven")],
)  # fmt: skip
async def test_what_never_reached_the_storages_borg_proves_no_way_back(status: int, said: str, code: str) -> None:
    work, _ = scripted(lambda script, *_: (0, "/root", "") if "exec" not in script else (status, "", said))
    with pytest.raises(Permanent) as caught:
        await prove(work)
    assert (caught.value.code, "node1" in str(caught.value)) == (code, True)
    assert caught.value.remedy


async def test_a_refused_key_is_tried_again_while_the_endpoint_learns_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["services.setup.steps.prove"], "_PAUSE", 0)
    with pytest.raises(Permanent) as caught:
        await prove(scripted(says("borg@node1: Permission denied (publickey)", status=81))[0])
    assert caught.value.code == "storage_refused"


# -- the handler ------------------------------------------------------------------------------------------


def answer_all(script: str, _args: tuple[str, ...], _stdin: str) -> Answer:
    if script == PROBE:
        return 0, FACTS.format("apt-get", "root"), ""
    if "borg --version" in script:
        return 0, "borg 1.4.1\n", ""
    if script == WHO:
        return 0, "uid=0\nbackup key=readable\n", ""
    if "ssh-keygen" in script:
        return 0, f"present\n{SERVER_PUBLIC}\n", ""
    return 0, "present\n", ""


async def added(db: Database, **values: Any) -> tuple[Server, Job]:
    async def add(tx: Any) -> tuple[Server, Job]:
        server = Server(name="web1", host="h", port=22, facts={}, **values)
        tx.session.add(server)
        await tx.session.flush()
        for name, value in ((FLEET_KEY, FLEET_PRIVATE), (FLEET_PUBLIC_KEY, FLEET_PUBLIC)):
            await tx.secrets.put(name, value)
        await tx.secrets.put(server_password(server.id), "first")
        return server, await request_setup(tx, server)

    return await db.run(add)


async def run(db: Database, bus: MemoryBus, job: Job, server: ScriptedServer) -> tuple[Context, AppError | None]:
    ctx = Context(db, bus, key="k", lease_seconds=30)
    try:
        await setup_server(ServerSetup(job_id=job.id), ctx, ssh=ScriptedSsh({("h", 22): server}), password_days=1)
    except AppError as error:
        return ctx, error
    return ctx, None


async def row(db: Database, server: Server) -> Server:
    async with db.read() as session:
        return await session.get_one(Server, server.id)


def lets_in() -> ScriptedServer:
    """Return a server that knows the password, and the key as soon as it was put into authorized_keys."""
    server = ScriptedServer(HOST_KEY, password="first")

    def answer(script: str, args: tuple[str, ...], stdin: str) -> Answer:
        if script == INSTALL:
            server.private_key = FLEET_PRIVATE
        return answer_all(script, args, stdin)

    server.answer = answer
    return server


async def test_a_password_is_used_once_and_forgotten(db: Database, bus: MemoryBus) -> None:
    server, job = await added(db, host_key=HOST_KEY)
    _, error = await run(db, bus, job, lets_in())
    assert error is None
    ready = await row(db, server)
    assert (ready.state, ready.backup_key) == ("ready", " ".join(SERVER_PUBLIC.split()[:2]))
    with pytest.raises(NotFound):
        await db.run(lambda tx: tx.secrets.get(server_password(server.id)))
    again, _ = await run(db, bus, job, ScriptedServer(HOST_KEY, password="first", answer=answer_all))
    assert again.job is None  # a second delivery finds no claim


async def test_a_server_with_the_key_of_another_one_is_refused_and_the_other_is_named(
    db: Database, bus: MemoryBus
) -> None:
    """sshd takes the first line with a key: the second server's backups would be refused, or go to the first one's place."""
    key = " ".join(SERVER_PUBLIC.split()[:2])

    async def first(tx: Any) -> None:
        tx.session.add(Server(name="origin", host="o", port=22, facts={}, backup_key=key))

    await db.run(first)
    server, job = await added(db, host_key=HOST_KEY)
    _, error = await run(db, bus, job, lets_in())
    assert isinstance(error, Permanent)
    assert error.code == "key_of_another_server"
    assert "origin" in error.message
    assert ((await row(db, server)).backup_key, (await row(db, server)).ready_at) == (None, None)
    await db.run(
        lambda tx: tx.session.execute(update(Server).where(Server.name == "origin").values(backup_key="other"))
    )
    job = await db.run(lambda tx: request_setup(tx, server))
    server_again = lets_in()
    _, error = await run(db, bus, job, server_again)
    assert error is None
    assert (await row(db, server)).backup_key == key


async def test_a_password_is_kept_where_the_key_does_not_let_us_in_and_until_when_is_said(
    db: Database, bus: MemoryBus
) -> None:
    def tomorrow() -> str:
        return (datetime.now(UTC) + timedelta(days=1)).strftime("the password is kept until %Y-%m-%d")

    server, job = await added(db, host_key=HOST_KEY)
    before = tomorrow()
    ctx, error = await run(db, bus, job, ScriptedServer(HOST_KEY, password="first", answer=answer_all))
    assert error is not None
    assert error.code == "key_not_accepted"
    assert any(day in error.remedy for day in (before, tomorrow())), error.remedy  # midnight may be between
    assert ctx.job is not None
    await db.run(lambda tx: announce_failure(tx, ctx.job, error))
    assert ((await row(db, server)).state, (await row(db, server)).ready_at) == ("failed", None)
    assert await db.run(lambda tx: tx.secrets.get(server_password(server.id))) == "first"


async def test_an_expired_password_is_not_used_any_more(db: Database, bus: MemoryBus) -> None:
    _, job = await added(db, host_key=HOST_KEY)
    old = datetime.now(UTC) - timedelta(days=1, minutes=1)
    await db.run(lambda tx: tx.session.execute(update(Secret).values(created_at=old)))
    _, error = await run(db, bus, job, lets_in())
    assert error is not None
    assert error.code == "login_refused"


@pytest.mark.parametrize(
    ("facts", "said"),
    [("", "does not run a command"), ("uid=1000\nbackup key=readable\n", "not as root"), ("uid=0\n", "cannot be read")],
)
async def test_a_key_that_is_let_in_without_the_power_of_backups_is_not_accepted(facts: str, said: str) -> None:
    work, _ = scripted(lambda *_: (1, facts, "sorry"))
    with pytest.raises(Permanent, match=said) as caught:
        await prove_key(work)
    assert (caught.value.code, caught.value.remedy.endswith("no password is kept for it")) == ("key_not_accepted", True)


async def test_a_connection_that_breaks_in_the_proof_is_no_refusal() -> None:
    work, _ = scripted(lambda *_: (0, "", ""))
    work.by_key = partial(ScriptedSsh({}).connect, Target("s", "h", 22, "admin", HOST_KEY), Credentials())
    with pytest.raises(Transient):
        await prove_key(work)


SSHD = "home=/home/a\nuid=1000\nsshd pubkeyauthentication yes\nsshd authorizedkeysfile .ssh/authorized_keys\nsshd strictmodes yes\n"


@pytest.mark.parametrize(
    ("answer", "causes"),
    [
        ("", []),
        (SSHD, []),
        ("sshd pubkeyauthentication no", ["PubkeyAuthentication no"]),
        ("home=/home/a\nsshd authorizedkeysfile /etc/keys/%u", ["/etc/keys/%u"]),
        ("home=/home/a\nsshd authorizedkeysfile none", ["none"]),
        ("home=/home/a\nsshd authorizedkeysfile /etc/keys/%u %h/.ssh/authorized_keys", []),
        ("home=/home/a\nsshd authorizedkeysfile .ssh/../.ssh/authorized_keys", []),
        ("sshd authenticationmethods publickey,password", ["key alone"]),
        ("sshd authenticationmethods publickey,password publickey", []),
        ("sshd pubkeyacceptedalgorithms rsa-sha2-512,rsa-sha2-256", ["ssh-ed25519"]),
        ("sshd allowusers alice\nsshd allowusers bob\nsshd denygroups all", ["allowusers alice bob", "denygroups all"]),
        (SSHD + "mode drwxrwxr-x 1000 /home/a", ["/home/a can be written"]),
        (SSHD + "mode drwxr-xrwx 1000 /home/a", ["/home/a can be written"]),
        (SSHD + "mode drwxr-xr-x 1001 /home/a", ["belongs to user 1001"]),
        (SSHD + "mode drwxr-xr-x. 0 /home/a", []),
        (SSHD.replace("strictmodes yes", "strictmodes no") + "mode drwxrwxrwx 1001 /home/a", []),
        ('entry from="192.0.2.1",no-pty ssh-ed25519 AAAA x', ['from="192.0.2.1"']),
        ("entry ssh-ed25519 AAAA x", []),
        ("selinux unconfined_u:object_r:default_t:s0 /x", ["SELinux"]),
        ("selinux unconfined_u:object_r:ssh_home_t:s0 /x", []),
        ("sshd\nmode\n=\nentry \nmode x y z", []),
    ],
)  # fmt: skip
def test_why_a_key_is_refused_is_read_from_what_sshd_and_the_modes_say(answer: str, causes: list[str]) -> None:
    found = why_refused(answer, "a", "/home/a")
    assert len(found) == len(causes), found
    assert all(cause in said for cause, said in zip(causes, found, strict=True)), found


def test_root_may_be_shut_out_by_permit_root_login() -> None:
    assert why_refused("sshd permitrootlogin no", "root", "/root") == ["sshd has PermitRootLogin no"]
    assert why_refused("sshd permitrootlogin no", "a", "/home/a") == []
    assert "getent" in ASK


async def test_what_an_earlier_attempt_changed_is_told_at_the_end(db: Database, bus: MemoryBus) -> None:
    _, job = await added(db, host_key=HOST_KEY, ready_at=None)
    line = {"job_id": job.id, "attempt": 0, "seq": 1, "at": datetime.now(UTC), "level": "info", "source": "setup"}

    async def begun(tx: Any) -> None:
        (await tx.session.get_one(Job, job.id)).attempt = 1
        tx.session.add(JobLog(**line | {"attempt": 1}, code="changed:install borg", message="install borg (changed)"))
        tx.session.add(JobLog(**line | {"attempt": 1, "seq": 2}, code="", message="make key pair (unchanged)"))

    await db.run(begun)
    _, error = await run(db, bus, job, ScriptedServer(HOST_KEY, private_key=FLEET_PRIVATE, answer=answer_all))
    assert error is None
    async with db.read() as session:
        result = (await session.get_one(Job, job.id)).result
    assert result["changed"][0] == "install borg"
    assert result["changed"].count("make key pair") == 1


async def test_a_wrong_password_is_refused(db: Database, bus: MemoryBus) -> None:
    _, job = await added(db, host_key=HOST_KEY)
    _, error = await run(db, bus, job, ScriptedServer(HOST_KEY, password="other", answer=answer_all))
    assert error is not None
    assert error.code == "login_refused"


async def test_without_any_password_a_refused_key_is_the_end(db: Database, bus: MemoryBus) -> None:
    server, job = await added(db, host_key=HOST_KEY)
    await db.run(lambda tx: tx.secrets.delete(server_password(server.id)))
    _, error = await run(db, bus, job, ScriptedServer(HOST_KEY, answer=answer_all))
    assert error is not None
    assert error.code == "login_refused"


async def test_host_keys_unknown_approved_wrong_and_changed(db: Database, bus: MemoryBus) -> None:
    server, job = await added(db)
    ctx, error = await run(db, bus, job, ScriptedServer(HOST_KEY, private_key=FLEET_PRIVATE, answer=answer_all))
    assert error is not None
    assert error.code == "host_key_unknown"
    assert (await row(db, server)).host_key_offered == HOST_KEY
    assert ctx.job is not None
    await db.run(lambda tx: announce_failure(tx, ctx.job, error))
    assert (await row(db, server)).state == "host_key"

    async def approve(tx: Any) -> Job:
        found = await tx.session.get_one(Server, server.id)
        found.approved_fingerprint = fingerprint(HOST_KEY)
        return await request_setup(tx, found)

    _, error = await run(
        db, bus, await db.run(approve), ScriptedServer(HOST_KEY, private_key=FLEET_PRIVATE, answer=answer_all)
    )
    assert error is None
    assert (await row(db, server)).host_key == HOST_KEY
    other = " ".join(SERVER_PUBLIC.split()[:2])
    _, error = await run(
        db, bus, await db.run(approve), ScriptedServer(other, private_key=FLEET_PRIVATE, answer=answer_all)
    )
    assert error is not None
    assert error.code == "host_key_changed"
    assert (await row(db, server)).host_key_offered == other


async def test_a_failed_set_up_is_on_the_servers_row_and_a_ready_one_stays_ready(db: Database) -> None:
    server, job = await added(db)
    await db.run(lambda tx: announce_failure(tx, job, Permanent("why", code="server_unreachable")))
    failed = await row(db, server)
    assert (failed.state, failed.state_reason) == ("failed", "why")
    await db.run(lambda tx: announce_failure(tx, job, Permanent("why", code="install_failed")))
    async with db.read() as session:
        subjects = (await session.scalars(select(OutboxRow.subject))).all()
    assert subjects.count("server.unreachable") == 1
    await db.run(lambda tx: announce_failure(tx, Job(type="server_setup", server_id=uuid.uuid4()), Permanent("x")))


async def test_an_outside_request_by_name_makes_one_job_and_an_unknown_name_is_refused(
    db: Database, bus: MemoryBus
) -> None:
    await added(db)
    for _ in range(2):
        ctx = Context(db, bus, key="message-1", lease_seconds=30)
        await setup_server(ServerSetup(server="web1"), ctx, ssh=ScriptedSsh({}), password_days=1)
    async with db.read() as session:
        assert len((await session.scalars(select(Job).where(Job.request_key == "message-1"))).all()) == 1
    for name in ("nobody", None):
        with pytest.raises(Permanent, match="no server"):
            await setup_server(
                ServerSetup(server=name),
                Context(db, bus, key=f"m-{name}", lease_seconds=1),
                ssh=ScriptedSsh({}),
                password_days=1,
            )


async def test_a_server_deleted_meanwhile_is_said(db: Database, bus: MemoryBus) -> None:
    server, job = await added(db)

    async def remove(tx: Any) -> None:
        await tx.session.delete(await tx.session.get_one(Server, server.id))

    await db.run(remove)
    _, error = await run(db, bus, job, ScriptedServer(HOST_KEY))
    assert error is not None
    assert error.code == "server_missing"


def test_a_plan_shows_no_secret() -> None:
    work, _ = scripted(lambda *_: (0, "", ""), password="canary")
    assert "canary" not in repr(work.plan)
    assert "PRIVATE" not in repr(work.plan)
    assert Target("a", "b", 1, "c", "d").sudo is False

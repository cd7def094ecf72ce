"""Each thing that SSH says has one cause; those that a real sshd does not say here are made by hand."""

from __future__ import annotations

import errno

import pytest

from shared.domain.messages.ssh_causes import CAUSES, LEASH, NO_WAY_IN
from shared.errors import Permanent, Transient
from shared.ssh.refusals import not_begun, refusal, status_of, timed_out


@pytest.mark.parametrize(
    ("kind", "error", "found", "code"),
    [
        ("ServiceNotAvailable", Exception("no service"), Permanent, "login_not_served"),
        ("ProtocolError", Exception("Unexpected packet"), Transient, "ssh_failed"),
        ("ProtocolError", Exception("Too many authentication failures"), Permanent, "too_many_attempts"),
        ("PermissionDenied", Exception("Too many authentication failures for root"), Permanent, "too_many_attempts"),
        ("ChannelOpenError", Exception("Administratively prohibited"), Permanent, "session_refused"),
        ("ChannelOpenError", Exception("SSH connection closed"), Transient, "connection_lost"),
        ("ChannelListenError", Exception("Failed"), Permanent, "forwarding_refused"),
        ("ConnectionLost", Exception("Connection lost"), Transient, "server_unreachable"),
        ("KeyExchangeFailed", Exception("something new"), Transient, "ssh_failed"),
        ("MACError", Exception("MAC verification failed"), Transient, "ssh_failed"),
        ("OSError", OSError(errno.EHOSTUNREACH, "x"), Transient, "server_unreachable"),
        ("OSError", ConnectionResetError(errno.ECONNRESET, "x"), Transient, "server_unreachable"),
        ("TimeoutError", TimeoutError(), Transient, "server_unreachable"),
    ],
)
def test_each_sentence_of_ssh_has_its_cause(kind: str, error: Exception, found: type, code: str) -> None:
    refused = refusal("web1", kind, error)
    assert (type(refused), refused.code) == (found, code)
    assert refused.message.startswith("web1: ")
    assert refused.remedy


def test_what_a_server_says_is_clean_and_bounded() -> None:
    refused = refusal("web1", "ProtocolError", Exception("\udcff\x1b" + "x" * 1000))
    assert r"\xff\x1b" in refused.message
    assert len(refused.message) < 400


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (b"motd\nborgfleet-asks-sudo\nsudo: a password is required", "sudo_refused"),
        (b"borgfleet-asks-sudo\nsudo : il faut un terminal", "sudo_refused"),
        (b"borgfleet-asks-sudo\nsh: 1: exec: sudo: not found", "sudo_refused"),
        (b"borgfleet-asks-sudo", "sudo_refused"),
        (b"sudo: is a word of the login's", "no_shell"),
        (b"Password change required but no TTY available.", "password_expired"),
        (b"This service allows sftp connections only.", "commands_forbidden"),
        (b"", "no_shell"),
    ],
)
def test_who_ended_a_command_before_it_began(said: bytes, code: str) -> None:
    for status in (1, None):
        assert not_begun("web1", status, b"", said).code == code


def test_an_sshd_that_lets_nobody_in_is_known_by_its_status() -> None:
    assert not_begun("web1", 254, b"Back at ten.").code == "logins_closed"
    assert not_begun("web1", 254, b"borgfleet-asks-sudo").code == "sudo_refused"


def test_a_deadline_of_ours_says_whether_the_command_ever_began() -> None:
    assert "did not end within 60 seconds" in timed_out("web1", 60, begun=True).message
    assert "did not even begin" in timed_out("web1", 60, begun=False).message


def test_statuses_are_counted_as_shells_do() -> None:
    assert [status_of(code) for code in (0, 71, -9, None)] == [0, 71, 137, None]


def test_every_cause_is_in_the_table_once_with_a_remedy_and_ends_of_ours_are_no_borgs() -> None:
    codes = [cause.code for cause in CAUSES]
    assert len(codes) == len(set(codes))
    assert {cause.code for cause in LEASH.values()} | NO_WAY_IN <= set(codes)
    assert all(cause.remedy and cause.says for cause in CAUSES)
    assert all(193 <= status <= 254 for status in LEASH)  # borg ends with 0 to 127, a signal gives 129 to 192

"""What ssh, a shell, a linker say in borg's place has its cause, whichever of them a server has."""

from __future__ import annotations

import pytest

from shared.borg.output import LogLine
from shared.borg.told import of_the_start, of_the_storage
from shared.domain.messages import borg_causes as causes

STORAGE = {
    "sh: 1: nc: not found": "relay_missing",  # dash
    "sh: 1: exec: nc: not found": "relay_missing",
    "/bin/sh: line 1: nc: command not found": "relay_missing",  # bash
    "bash: line 3: exec: nc: not found": "relay_missing",
    "sh: exec: line 1: nc: not found": "relay_missing",  # busybox
    "sh: nc: not found": "relay_missing",
    "nc: invalid option -- 'U'": "relay_missing",
    "nc: unrecognized option: U": "relay_missing",
    '2026/11/25 01:02:03 socat[7] E unknown device/address "UNIX-CONNECT"': "relay_missing",
    "sh: 1: ssh: not found": "ssh_missing",
    "sh: line 1: ssh: command not found": "ssh_missing",
    "ssh: error while loading shared libraries: libcrypto.so.3: cannot open shared object file": "ssh_broken",
    "ssh: /lib/libc.so.6: version `GLIBC_2.36' not found (required by ssh)": "ssh_broken",
    "Bad owner or permissions on /etc/ssh/ssh_config": "ssh_broken",
    "command-line: line 0: Bad configuration option: nosuch": "ssh_broken",
    "command-line line 0: Bad SSH2 KexAlgorithms 'curve25519-sha256'.": "ssh_broken",
    "/etc/ssh/ssh_config: line 3: Bad configuration option: x": "ssh_broken",
    "OpenSSL version mismatch. Built against 30000020, you have 30100010": "ssh_broken",
    "No ED25519 host key is known for node and you have requested strict checking.": "storage_not_pinned",
    "Host key verification failed.": "storage_host_key",
    "Unable to negotiate with 192.0.2.1 port 22: no matching cipher found. Their offer: a": "storage_no_common_cipher",
    "borg@192.0.2.1: Permission denied (publickey).": "storage_refused",
    'Load key "/root/.ssh/borgfleet_ed25519": invalid format': "storage_refused",
    "This account is currently not available.": "storage_account",
    "ssh: connect to host 192.0.2.1 port 22: Connection refused": "storage_unreachable",
    "Connection closed by 192.0.2.1 port 22": "storage_closed",
    "Bad packet length 1231952896.": "storage_stream_damaged",
    "Corrupted MAC on input.": "storage_stream_damaged",
    "ssh_dispatch_run_fatal: Connection to 192.0.2.1 port 22: Connection corrupted": "storage_stream_damaged",
    "ssh_dispatch_run_fatal: Connection to 192.0.2.1 port 22: message authentication code incorrect": "storage_stream_damaged",
    "Connection timed out during banner exchange": "storage_unreachable",
    "Connection to 192.0.2.1 port 22 timed out": "storage_unreachable",
    "Connection to UNKNOWN port 65535 timed out": "storage_unreachable",
}  # fmt: skip


@pytest.mark.parametrize("said", STORAGE)
def test_each_sentence_has_its_cause_in_whatever_way_borg_passes_it_on(said: str) -> None:
    for level, text in (("info", said), ("info", f"Remote: {said}"), ("error", said)):
        found = of_the_storage([LogLine(level, text), LogLine("info", "Connection to 192.0.2.1 closed.")])
        assert found is not None
        assert (found[0].code, said in found[1]) == (STORAGE[said], True)
    assert of_the_storage([LogLine("warning", said)]) is None  # borg's word on a file


@pytest.mark.parametrize(
    ("what", "line"),
    [("cipher", "Ciphers"), ("MAC", "MACs"), ("key exchange method", "KexAlgorithms"), ("novelty", "novelty"),
     ("host key type", "HostKeyAlgorithms")],
)  # fmt: skip
def test_where_no_algorithm_is_in_common_the_line_to_change_is_named(what: str, line: str) -> None:
    said = f"Unable to negotiate with 192.0.2.1 port 22: no matching {what} found. Their offer: a,b"
    found = of_the_storage([LogLine("info", said)])
    assert found is not None
    assert found[1].startswith(f"{line} of its sshd_config: ")
    cut = of_the_storage([LogLine("info", said.partition(what)[0])])
    assert cut is not None
    assert cut[1].startswith("the line of its sshd_config: ")


def test_what_keeps_a_program_from_starting_is_read_from_its_own_words() -> None:
    def told(text: str) -> str | None:
        found = of_the_start([LogLine("info", text), LogLine("info", "noise")], causes.NODE_TMP, causes.NODE_MEMORY)
        return found[0].code if found else None

    assert told("borg: error while loading shared libraries: libz.so: failed to map segment") == "borg_broken"
    assert told("MemoryError") == "node_memory"
    assert told("ImportError: /x/y.so: failed to map segment from shared object: Cannot allocate memory") is not None
    assert told("RuntimeError: can't start new thread") == "node_memory"
    assert told("[7] INTERNAL ERROR: cannot create temporary directory!") == "node_tmp"
    assert told("something new") is None

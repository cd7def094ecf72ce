from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.borg import commands
from shared.borg.commands import CreateOptions
from shared.errors import Invalid

LOCATION = "ssh://node1/opt/backups/a/b"


def test_create_has_every_option_and_puts_paths_behind_the_double_dash() -> None:
    options = CreateOptions(
        ["/etc", "/--rsh=x"], ["sh:**/*.tmp"], ["- re:x$"], "auto,zstd,10", one_file_system=True, exclude_caches=True,
        upload_limit_kib=100,
    )  # fmt: skip
    argv = commands.create("borg", LOCATION, "name", options)
    assert argv[:2] == ["borg", "create"]
    assert argv[-4:] == ["--", f"{LOCATION}::name", "/etc", "/--rsh=x"]
    for option in ("--log-json", "--json", "--one-file-system", "--exclude-caches", "--upload-ratelimit=100",
                   "--compression=auto,zstd,10", "--exclude=sh:**/*.tmp", "--pattern=- re:x$", "--checkpoint-interval=300"):  # fmt: skip
        assert option in argv


@given(st.text(min_size=1, max_size=50), st.text(max_size=50))
def test_nothing_given_becomes_an_option_of_its_own(exclude: str, pattern: str) -> None:
    try:
        argv = commands.create("borg", LOCATION, "n", CreateOptions(["/x"], [exclude], ["- " + pattern]))
    except Invalid:
        return
    known = ("--log-json", "--json", "--progress", "--lock-wait=", "--checkpoint-interval=", "--compression=",
             "--exclude-caches", "--pattern=- ", "--exclude=", "--")  # fmt: skip
    assert all(word.startswith(known) for word in argv[2:-2])


def test_a_name_with_placeholders_is_taken_literally() -> None:
    assert commands.literal("{now}") == "{{now}}"


def test_what_may_take_long_says_how_far_it_is_so_that_silence_means_that_it_hangs() -> None:
    for argv in (
        commands.info("borg", "/r"), commands.delete("borg", "/r", "a"), commands.compact("borg", "/r", 10),
        commands.check_segments("borg", "/r"), commands.check_archives("borg", "/r"),
        commands.read_archive("borg", "/r", "a"),
    ):  # fmt: skip
        assert "--progress" in argv[: argv.index("--")]


def test_deleting_without_a_name_is_refused_because_borg_would_delete_the_repository() -> None:
    with pytest.raises(Invalid, match="without a name"):
        commands.delete("borg", "/r", "")
    assert commands.delete("borg", "/r", "a")[-1] == "/r::a"


@pytest.mark.parametrize("good", ["none", "lz4", "zstd", "zstd,22", "auto,lzma,6", "zlib,0"])
def test_known_compressions(good: str) -> None:
    assert commands.check_compression(good) == good


@pytest.mark.parametrize("bad", ["", "zstd,23", "gzip", "lz4,1", "zstd --rsh=x", "obfuscate,1,none"])
def test_unknown_compressions(bad: str) -> None:
    with pytest.raises(Invalid):
        commands.check_compression(bad)


@pytest.mark.parametrize("bad", ["", "R /etc", "P re", "+", "- re:(", "-\n", "+ " + "x" * 1000])
def test_bad_pattern_rules(bad: str) -> None:
    with pytest.raises(Invalid):
        commands.check_pattern(bad)


@pytest.mark.parametrize("bad", ["", "re:[", "a\nb", "x" * 1001])
def test_bad_excludes(bad: str) -> None:
    with pytest.raises(Invalid):
        commands.check_exclude(bad)


def test_the_other_commands() -> None:
    assert commands.init("borg", "/r", "repokey-blake2")[-3:] == ["--make-parent-dirs", "--", "/r"]
    assert commands.list_archives("borg", "/r")[-2:] == ["--", "/r"]
    assert commands.info("borg", "/r")[-1] == "/r"
    assert commands.info("borg", "/r", "{a}")[-1] == "/r::{{a}}"
    assert commands.compact("borg", "/r", 10)[1:5] == ["compact", "--log-json", "--progress", "--threshold=10"]
    assert "--repository-only" in commands.check_segments("borg", "/r")
    assert "--max-duration=60" in commands.check_segments("borg", "/r", 60)
    assert {"--repair", "--max-duration=60"} & set(commands.check_segments("borg", "/r")) == set()
    assert commands.check_archives("borg", "/r")[-3:] == ["--archives-only", "--", "/r"]
    assert [*commands.read_archive("borg", "/r", "{a}")[1:3], "/r::{{a}}"] == ["extract", "--dry-run", "/r::{{a}}"]
    assert "--append-only" in commands.serve("/r")

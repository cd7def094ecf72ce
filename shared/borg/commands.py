"""Builds borg's argv. Options are typed fields, never free text: an injected option would be code execution."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Sequence

LOCK_WAIT = 60
CHECKPOINT_SECONDS = 300

_COMPRESSION = re.compile(r"(?:auto,)?(?:none|lz4|zstd(?:,(?:[1-9]|1\d|2[0-2]))?|zlib(?:,\d)?|lzma(?:,\d)?)")
_PATTERN_RULE = re.compile(r"[+\-!] ?(?:(?:fm|sh|re|pp|pf):)?[^\x00-\x1f\x7f]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LONGEST = 1000


@dataclass(frozen=True, slots=True)
class CreateOptions:
    """How to make an archive; the upload limit in KiB a second."""

    sources: Sequence[str]
    excludes: Sequence[str] = ()
    patterns: Sequence[str] = ()
    compression: str = "zstd,3"
    one_file_system: bool = False
    exclude_caches: bool = True
    upload_limit_kib: int | None = None


def create(borg: str, location: str, archive: str, options: CreateOptions) -> list[str]:
    """Return the argv of `borg create`, figures as JSON on stdout, everything else as JSON lines on stderr."""
    argv = [
        borg, "create", "--log-json", "--json", "--progress", f"--lock-wait={LOCK_WAIT}",
        f"--checkpoint-interval={CHECKPOINT_SECONDS}", f"--compression={check_compression(options.compression)}",
    ]  # fmt: skip
    argv += ["--one-file-system"] if options.one_file_system else []
    argv += ["--exclude-caches"] if options.exclude_caches else []
    argv += [f"--upload-ratelimit={options.upload_limit_kib}"] if options.upload_limit_kib else []
    argv += [f"--pattern={check_pattern(rule)}" for rule in options.patterns]
    argv += [f"--exclude={check_exclude(pattern)}" for pattern in options.excludes]
    return [*argv, "--", f"{location}::{literal(archive)}", *options.sources]


def init(borg: str, path: str, encryption: str) -> list[str]:
    """Return the argv that makes a repository and the directories above it."""
    return [borg, "init", "--log-json", f"--encryption={encryption}", "--make-parent-dirs", "--", path]


def list_archives(borg: str, path: str) -> list[str]:
    """Return the argv that lists a repository's archives as JSON; checkpoints are not among them."""
    return [borg, "list", "--log-json", "--json", f"--lock-wait={LOCK_WAIT}", "--", path]


def list_files(borg: str, path: str, archive: str) -> list[str]:
    """Return the argv that lists an archive's entries, `<type> <size> <path>` and a NUL each."""
    target = f"{path}::{literal(archive)}"
    entry = "--format={type} {size} {path}{NUL}"
    return [borg, "list", "--log-json", entry, f"--lock-wait={LOCK_WAIT}", "--", target]


def info(borg: str, path: str, archive: str | None = None) -> list[str]:
    """Return the argv for the figures of a repository, or of one archive, as JSON."""
    target = path if archive is None else f"{path}::{literal(archive)}"
    return [borg, "info", "--log-json", "--progress", "--json", f"--lock-wait={LOCK_WAIT}", "--", target]


def delete(borg: str, path: str, archive: str) -> list[str]:
    """Return the argv that deletes one archive; an empty name is refused: borg would delete the repository."""
    if not archive:
        message = "an archive without a name cannot be deleted by name"
        raise Invalid(message, code="empty_archive_name", remedy="delete the backup by its id")
    # Forced: an archive that lacks content is deleted too, else it would end each prune of its repository.
    options = ("--force", "--log-json", "--progress", f"--lock-wait={LOCK_WAIT}")
    return [borg, "delete", *options, "--", f"{path}::{literal(archive)}"]


def compact(borg: str, path: str, threshold: int) -> list[str]:
    """Return the argv that frees what deleted archives held, in segments of which so many percent are free."""
    return [
        borg,
        "compact",
        "--log-json",
        "--progress",
        f"--threshold={threshold}",
        f"--lock-wait={LOCK_WAIT}",
        "--",
        path,
    ]


def check_segments(borg: str, path: str, seconds: int | None = None) -> list[str]:
    """Return the argv that checks the segments: all with the index, or for so long, from where it ended last time."""
    limit = [] if seconds is None else [f"--max-duration={seconds}"]
    return [*_check(borg), "--repository-only", *limit, "--", path]


def check_archives(borg: str, path: str) -> list[str]:
    """Return the argv that looks whether all that the archives need is there."""
    return [*_check(borg), "--archives-only", "--", path]


def read_archive(borg: str, path: str, archive: str) -> list[str]:
    """Return the argv that reads all data of an archive as a restore would, and writes nothing."""
    target = f"{path}::{literal(archive)}"
    return [borg, "extract", "--dry-run", "--log-json", "--progress", f"--lock-wait={LOCK_WAIT}", "--", target]


def _check(borg: str) -> list[str]:
    return [borg, "check", "--log-json", "--info", "--progress", f"--lock-wait={LOCK_WAIT}"]


def serve(path: str) -> list[str]:
    """Return what borg's main is told behind the fence: to serve exactly one repository, append-only."""
    return ["serve", "--append-only", "--umask=077", "--restrict-to-repository", path]


def literal(name: str) -> str:
    """Return a name in which borg sees no placeholder."""
    return name.replace("{", "{{").replace("}", "}}")


def check_compression(value: str) -> str:
    """Return a compression that borg knows; Invalid otherwise."""
    if not _COMPRESSION.fullmatch(value):
        message = f"unknown compression {value!r}"
        raise Invalid(message, code="bad_compression", remedy="none, lz4, zstd[,1-22], zlib[,0-9] or lzma[,0-9]")
    return value


def check_exclude(value: str) -> str:
    """Return an exclude pattern of one line; Invalid otherwise."""
    if not value or len(value) > _LONGEST or _CONTROL.search(value):
        message = f"not an exclude pattern: {value[:50]!r}"
        raise Invalid(message, code="bad_exclude", remedy="one line such as sh:/home/*/.cache or pp:/var/tmp")
    return _check_regex(value, value)


def check_pattern(value: str) -> str:
    """Return an include or exclude rule, `+`, `-` or `!` and a pattern; Invalid otherwise."""
    if len(value) > _LONGEST or not _PATTERN_RULE.fullmatch(value):
        message = f"not a pattern rule: {value[:50]!r}"
        raise Invalid(message, code="bad_pattern", remedy="'+', '-' or '!', then a pattern: '- sh:/home/*/.cache'")
    return _check_regex(value, value[1:].lstrip())


def _check_regex(value: str, pattern: str) -> str:
    if pattern.startswith("re:"):
        try:
            with warnings.catch_warnings(action="ignore"):  # what may mean another thing one day is right today
                re.compile(pattern[3:])
        except (re.error, RecursionError, OverflowError) as error:
            message = f"not a regular expression: {pattern[:80]!r}: {error}"
            raise Invalid(message, code="bad_pattern", remedy="correct the expression after 're:'") from error
    return value

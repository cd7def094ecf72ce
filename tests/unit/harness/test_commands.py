"""A machine on which a test's own preparation fails: what its command said is shown."""

from __future__ import annotations

import pytest

from tests.harness.commands import CommandFailedError, said


def test_a_command_that_fails_tells_its_status_and_both_outputs() -> None:
    with pytest.raises(CommandFailedError) as failed:
        said(["sh", "-c", "echo no room; echo for tables >&2; exit 3"])
    told = str(failed.value)
    assert all(part in told for part in (": 3\n", "no room", "for tables")), told


def test_a_command_that_works_returns_what_it_said_and_takes_what_it_is_given() -> None:
    assert said(["cat"], given="SELECT 1") == "SELECT 1"

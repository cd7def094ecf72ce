from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from shared.domain.archive import archive_name, made_by, superseded
from shared.domain.ids import new_id


def test_an_archives_name_carries_its_job_and_its_checkpoint_is_not_taken_for_it() -> None:
    job, other = new_id(), new_id()
    name = archive_name("web1-system", job, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    assert name == f"web1-system-2026-01-02T030405Z-{job.hex}"
    assert made_by(name, job)
    assert not made_by(name, other)
    assert not made_by(f"{name}.checkpoint", job)


def test_an_archive_from_the_future_takes_no_checkpoint_with_it() -> None:
    """One run with the clock a year ahead, and every later checkpoint of its job was deleted, and its data with it."""
    now = datetime(2026, 6, 1, tzinfo=UTC)

    def named(at: datetime, job: str = "web1-system") -> str:
        return archive_name(job, new_id(), at)

    old, young, other = (
        f"{named(now - timedelta(days=9))}.checkpoint",
        f"{named(now - timedelta(hours=1))}.checkpoint.1",
        f"{named(now - timedelta(days=9), 'db1')}.checkpoint",
    )
    genuine, ahead = named(now - timedelta(days=2)), named(now + timedelta(days=365))
    assert superseded([old, young, other], [genuine, ahead], now) == [old]
    assert superseded([old, young, other], [ahead], now) == []
    assert superseded([old, young], [named(now + timedelta(minutes=1))], now) == [old, young]
    assert superseded([old, young], [ahead], now + timedelta(days=366)) == [old, young]
    assert superseded(["no-name-of-ours.checkpoint", genuine], [genuine], now) == []


def test_a_hostile_job_name_makes_no_archive_name() -> None:
    with pytest.raises(ValueError, match="letters"):
        archive_name("{now}", new_id(), datetime.now(UTC))

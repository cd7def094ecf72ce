from __future__ import annotations

from datetime import UTC, datetime

import pytest

from shared.domain.archive import archive_name, made_by
from shared.domain.ids import new_id


def test_an_archives_name_carries_its_job_and_its_checkpoint_is_not_taken_for_it() -> None:
    job, other = new_id(), new_id()
    name = archive_name("web1-system", job, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    assert name == f"web1-system-2026-01-02T030405Z-{job.hex}"
    assert made_by(name, job)
    assert not made_by(name, other)
    assert not made_by(f"{name}.checkpoint", job)


def test_a_hostile_job_name_makes_no_archive_name() -> None:
    with pytest.raises(ValueError, match="letters"):
        archive_name("{now}", new_id(), datetime.now(UTC))

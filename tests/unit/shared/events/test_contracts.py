from __future__ import annotations

import uuid

import pytest
from pydantic import ValidationError

from shared.events.backup import BackupRequested
from shared.events.streams import COMMANDS, EVENTS, FACTS, STREAMS, command_subjects


def test_every_event_has_a_subject_of_its_own_and_a_stream_that_takes_it() -> None:
    subjects = [event.subject for event in EVENTS]
    assert len(set(subjects)) == len(subjects)
    taken = {subject for stream in STREAMS for subject in stream.subjects}
    assert {fact.subject for fact in FACTS} <= taken
    assert {command.subject for command in COMMANDS} <= taken
    assert "progress.*" in taken


def test_a_job_bound_to_a_node_travels_on_a_subject_that_overlaps_no_other() -> None:
    assert set(command_subjects()) == {
        "backup.requested", "backup.requested.*", "archive.delete", "archive.delete.*", "archive.index",
        "archive.index.*", "archive.restore", "archive.restore.*", "repository.prune", "repository.prune.*",
        "repository.compact", "repository.compact.*", "repository.check", "repository.check.*", "repository.verify",
        "repository.verify.*", "repository.recover", "repository.recover.*", "restore.undo", "server.setup",
        "stats.collect", "self.backup", "self.backup.*", "restore.test", "restore.test.*", "repository.import",
        "repository.import.*", "repository.manage", "repository.manage.*",
    }  # fmt: skip


def test_an_event_is_frozen_ignores_what_it_does_not_know_and_names_its_type() -> None:
    event = BackupRequested.model_validate_json('{"backup_job": "web1-system", "later_field": 1}')
    assert event.backup_job == "web1-system"
    assert event.type_name() == "backup.requested.v1"
    assert isinstance(event.event_id, uuid.UUID)
    with pytest.raises(ValidationError):
        event.backup_job = "other"  # type: ignore[misc] - what is tried here

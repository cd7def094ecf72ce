"""What people read is stored as an entry of the catalogue: a new column or answer for a sentence of ours is found here.

A sentence that is stored as words alone stays in English for good. Each text column, each field of an answer that tells
why, and each file that makes errors of bare words is in one of the closed lists below.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

import services.api.app  # noqa: F401 - all answers are defined by importing it
from services.api.kernel.schemas import Out, Telling
from shared.db.tables import Base
from shared.errors import AppError
from tests.architecture.test_messages import calls

ENTRIES = {
    "dead_letters.reason": "message", "dead_letters.remedy": "message", "jobs.reason": "message",
    "jobs.remedy": "message", "missed_runs.reason": "message", "server_status.reason": "message",
    "servers.state_reason": "state_message", "repositories.frozen_reason": "frozen_for",
}  # fmt: skip
"""A sentence of ours -> the column beside it that holds its entry."""
BY_PEOPLE = {
    "alerts.acknowledged_note", "alert_changes.note", "archives.accepted_reason", "archives.held_reason",
    "approvals.note", "approvals.reason", "maintenance_windows.reason", "pauses.reason", "repositories.restored_accepted_reason",
    "repositories.unfrozen_reason", "repositories.managed_reason", "repositories.retention_confirmed_reason",
}  # fmt: skip
"""What a person wrote."""
QUOTED = {
    "access_refusals.said": "what a server's sshd said",
    "job_log.message": "what borg, hooks and Borgfleet said while the job ran, for whoever looks into it",
}
"""Words of others, quoted as such."""
WORDS_ALONE = {
    "archives.damage": "what a check or borg said of the archive, several findings in one text",
    "notifications.error": "why a message was not delivered, with the words of the channel's server",
    "repositories.archives_damage": "what borg's check said of the archives, several findings in one text",
    "repositories.segments_damage": "what was found in the segments, several findings in one text",
    "repositories.unfinished_damage": "the same of a check that goes on later",
    "storage_pools.problem": "why a node cannot use a pool; its code stands beside",
}
"""English alone, marked as English where it is shown. None is added here."""
ANSWERS = {
    "AlertChangeOut.note", "AlertDetail.acknowledged_note", "AlertOut.acknowledged_note", "ApprovalAsked.note",
    "ApprovalAsked.reason", "ApprovalOut.note", "ApprovalOut.reason", "BackupOut.accepted_reason",
    "BackupOut.damage", "BackupOut.held_reason", "LogLineOut.message", "NotificationOut.error", "PauseOut.reason",
    "PoolOut.problem", "RepositoryOut.damage", "RepositoryOut.frozen_reason", "RepositoryOut.restored_accepted_reason",
    "RepositoryOut.unfrozen_reason", "RepositoryOut.managed_reason", "RepositoryOut.retention_confirmed_reason", "ServerOut.state_reason", "WindowOut.reason",
}  # fmt: skip
"""Fields of answers that show those columns; every other one stands in an answer with its `message`."""
ERRORS_OF_WORDS = {
    "services/backup/create": 4, "services/backup/inventory": 5, "services/backup/maintenance": 7,
    "services/backup/node": 13, "services/backup/plan.py": 7, "services/backup/requests.py": 2,
    "services/backup/restore": 22, "services/backup/window.py": 2, "services/backup/work.py": 1,
    "services/stats/alerts": 3, "services/stats/collect": 2, "services/stats/handlers.py": 3,
    "shared/borg": 19, "shared/db": 5, "shared/ssh": 1,
}  # fmt: skip
"""Where errors are still made of bare words, or of causes whose code is found while running -> how many at most."""
_WHY = re.compile(r"(^|_)(reason|problem|damage|error|remedy|note|said|message|detail|why|text|warning)$")


def test_a_sentence_is_stored_with_its_entry_or_is_not_ours() -> None:
    found = {
        f"{table.name}.{column.name}"
        for table in Base.metadata.sorted_tables
        for column in table.columns
        if _WHY.search(column.name) and column.type.python_type is str
    }
    known = ENTRIES.keys() | BY_PEOPLE | QUOTED.keys() | WORDS_ALONE.keys()
    assert found - known == set(), "store an entry beside it (shared.domain.messages.stored)"
    assert known - found == set(), "it is gone: take it out of the list"
    for name, beside in ENTRIES.items():
        assert beside in Base.metadata.tables[name.partition(".")[0]].columns, f"{name} has no entry beside it"


def _answers(kind: type[Out] = Out) -> Iterator[type[Out]]:
    for one in kind.__subclasses__():
        yield one
        yield from _answers(one)


def test_an_answer_that_tells_why_tells_it_as_an_entry_too() -> None:
    found = {
        f"{one.__name__}.{name}"
        for one in _answers()
        for name, field in one.model_fields.items()
        if not issubclass(one, Telling) and _WHY.search(name) and "str" in str(field.annotation)
        if one.__module__.startswith("services.")
    }
    assert found - ANSWERS == set(), "derive it from Telling, and give it the entry"
    assert ANSWERS - found == set(), "it is gone: take it out of the list"


def test_no_more_errors_are_made_of_bare_words() -> None:
    made = Counter(
        next((place for place in ERRORS_OF_WORDS if str(module.file).startswith(place)), str(module.file))
        for module, call, what in calls()
        if isinstance(what, type) and issubclass(what, AppError) and any(one.arg == "code" for one in call.keywords)
    )
    assert {place: count for place, count in made.items() if count > ERRORS_OF_WORDS.get(place, 0)} == {}

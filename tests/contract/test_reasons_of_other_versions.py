"""Why a backup is doubtful is shown whichever version wrote it down: in its own words where the entry is not known."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select

from services.api.features.backups.schemas import ReasonOut
from shared.db.session import Database
from shared.db.tables.storage import Archive
from shared.domain.backup_state import doubt
from shared.domain.messages.source_reasons import SOURCE_EXCLUDED
from tests.contract.test_good_archives import place

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
OLDER = {
    "code": "source_empty",
    "weight": "doubt",
    "text": "The source /srv is empty. Mount it, or accept this backup.",
}
NEWER = OLDER | {"code": "of_2030", "text": "The moon is full.", "message": {"key": "of_2030", "params": {"moon": 1}}}
TODAY = doubt(SOURCE_EXCLUDED(path="/srv", rule="sh:**/é\u202e*", held=None))


async def test_reasons_of_an_older_this_and_a_newer_version_are_shown(db: Database) -> None:
    rows: list[dict[str, Any]] = [OLDER, NEWER, TODAY.to_json()]

    async def add(tx: Any) -> None:
        tx.session.add(Archive(name="a", borg_id="1", started_at=NOW, ended_at=NOW, reasons=rows, **await place(tx)))

    await db.run(add)
    async with db.read() as session:
        stored = (await session.scalars(select(Archive.reasons))).one()
    older, newer, today = [ReasonOut.model_validate(one) for one in stored]
    assert (older.code, older.text, older.message) == ("source_empty", OLDER["text"], None)
    assert (newer.code, newer.text, newer.message) == ("of_2030", "The moon is full.", None)
    assert today.message is not None
    assert (today.code, today.message.key) == ("source_excluded", "source_excluded")
    assert today.message.params == {"path": "/srv", "rule": "sh:**/é\\u202e*", "held": None}
    assert today.text.startswith("The source /srv is left out by the rule sh:**/é")
    assert today.text.endswith("or accept this backup if that is right.")

"""What people are told of a restore test: why it failed, what it warns of, its figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from services.backup.restore.tar import shown
from shared.domain.messages.proofs import SOURCE_DIFFERS, TEST_DAMAGED, TEST_FAILED, TEST_NOTHING
from shared.domain.proofs import ProofState, full_restore_seconds
from shared.errors import Permanent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from services.backup.drills.plan import DrillPlan
    from services.backup.drills.run import Outcome
    from shared.domain.message import Said

_SHOWN, _LISTED = 5, 200


def error_of(outcome: Outcome) -> Permanent | None:
    """Return why the job fails, if it does."""
    tested = outcome.tested
    if tested.state is ProofState.DAMAGED:
        hurt = [one for one in outcome.archives if one.tested.damaged]
        files = first(path for one in hurt for path in one.damaged) or hurt[0].reason
        names = ", ".join(one.archive.name for one in hurt[:_SHOWN])
        return Permanent(TEST_DAMAGED(count=tested.damaged, chosen=tested.chosen, archives=names, files=files))
    if tested.state is ProofState.FAILED:
        wrong = first(path for one in outcome.archives for path in (*one.missing, *one.differing)) or None
        return Permanent(
            TEST_FAILED(
                read=tested.read, chosen=tested.chosen, missing=tested.missing or None,
                differing=tested.differing or None, unread=tested.unread or None, files=wrong,
            )
        )  # fmt: skip
    return None


def warnings_of(plan: DrillPlan, outcome: Outcome) -> list[Said]:
    """Return what is to be warned of."""
    tested = outcome.tested
    if tested.state is ProofState.NOTHING:
        return [TEST_NOTHING(repository=plan.repository.label)]
    if tested.source_differing:
        files = first(path for _, path in outcome.source.differing)
        return [SOURCE_DIFFERS(count=tested.source_differing, files=files)]
    return []


def result_of(plan: DrillPlan, outcome: Outcome) -> dict[str, Any]:
    """Return what is told of the run: figures, and the first paths of each kind."""
    tested = outcome.tested
    size = outcome.archives[0].archive.original_size if outcome.archives else 0
    lists = {
        name: [shown(path) for one in outcome.archives for path in getattr(one, name)][:_LISTED]
        for name in ("damaged", "missing", "differing")
    }
    return {
        "proof": tested.state.value, "kind": plan.asked.kind,
        "archives": [one.archive.name for one in outcome.archives],
        "chosen": tested.chosen, "files": tested.read, "original_size": tested.bytes, "hashed": tested.hashed,
        "unread": tested.unread, "source": {
            "compared": tested.source_compared, "problem": outcome.source.problem,
            "differing": [shown(path) for _, path in outcome.source.differing][:_LISTED],
        },
        "seconds": round(tested.seconds, 3), "full_restore_seconds": full_restore_seconds(tested, size),
        "listed_by_borg": outcome.listed, **lists,
    }  # fmt: skip


def first(paths: Iterable[bytes]) -> str:
    """Return the first of these paths in words."""
    return ", ".join(f"/{shown(path)}" for path, _ in zip(paths, range(_SHOWN), strict=False))

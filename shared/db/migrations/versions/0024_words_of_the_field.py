"""words of the field."""

from __future__ import annotations

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

_RENAMED = (
    ("repositories", "whole_at", "verified_complete_at"),
    ("repositories", "whole_segment", "verified_complete_segment"),
    ("archives", "leaving", "deleting"),
    ("archives", "lost", "missing"),
    ("notification_channels", "shown_as", "label"),
)
_WAITING = "UPDATE jobs SET waiting_for = '{}' WHERE waiting_for = '{}'"


def upgrade() -> None:
    """Apply."""
    for table, before, after in _RENAMED:
        op.execute(f"ALTER TABLE {table} RENAME COLUMN {before} TO {after}")  # both databases, indexes and all
    op.execute(_WAITING.format("a free slot", "its turn"))


def downgrade() -> None:
    """Take back."""
    op.execute(_WAITING.format("its turn", "a free slot"))
    for table, before, after in _RENAMED:
        op.execute(f"ALTER TABLE {table} RENAME COLUMN {after} TO {before}")

"""messages as entry and parameters beside their sentences."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

_COLUMNS = (
    ("jobs", "message"),
    ("jobs", "warning_messages"),
    ("missed_runs", "message"),
    ("dead_letters", "message"),
    ("servers", "state_message"),
    ("server_status", "message"),
)


def upgrade() -> None:
    """Apply."""
    for table, name in _COLUMNS:
        op.add_column(table, sa.Column(name, sa.JSON(), nullable=True))


def downgrade() -> None:
    """Take back."""
    for table, name in reversed(_COLUMNS):
        op.drop_column(table, name)

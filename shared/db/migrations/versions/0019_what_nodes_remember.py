"""what nodes remember."""

from __future__ import annotations

from alembic import op
import sqlalchemy as sa

import shared.db.tables.base

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    number = sa.Column("journal_number", sa.BigInteger(), server_default="0", nullable=False)
    op.add_column("repositories", number)
    op.add_column("repositories", sa.Column("restored_at", shared.db.tables.base.UtcDateTime(), nullable=True))


def downgrade() -> None:
    """Take back."""
    op.drop_column("repositories", "restored_at")
    op.drop_column("repositories", "journal_number")

"""index of ended jobs."""

from __future__ import annotations

from alembic import op

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_index("ix_jobs_finished_at_created_at_id", "jobs", ["finished_at", "created_at", "id"])


def downgrade() -> None:
    """Take back."""
    op.drop_index("ix_jobs_finished_at_created_at_id", "jobs")

"""indexes for long lists."""

from __future__ import annotations

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_index("ix_jobs_type_created_at_id", "jobs", ["type", "created_at", "id"])
    op.create_index("ix_jobs_repository_id_created_at", "jobs", ["repository_id", "created_at"])
    op.create_index("ix_archives_repository_id_created_at_id", "archives", ["repository_id", "created_at", "id"])


def downgrade() -> None:
    """Take back."""
    op.drop_index("ix_archives_repository_id_created_at_id", "archives")
    op.drop_index("ix_jobs_repository_id_created_at", "jobs")
    op.drop_index("ix_jobs_type_created_at_id", "jobs")

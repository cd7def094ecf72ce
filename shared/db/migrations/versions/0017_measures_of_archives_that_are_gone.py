"""measures of archives that are gone."""

from __future__ import annotations

from alembic import op
import sqlalchemy as sa

import shared.db.tables.base

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "past_measures",
        sa.Column("archive_id", sa.Uuid(), nullable=False),
        sa.Column("backup_job_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", shared.db.tables.base.UtcDateTime(), nullable=False),
        sa.Column("accepted_at", shared.db.tables.base.UtcDateTime(), nullable=True),
        sa.Column("files", sa.BigInteger(), nullable=False),
        sa.Column("original_size", sa.BigInteger(), nullable=False),
        sa.Column("evidence", sa.JSON(none_as_null=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["backup_job_id"], ["backup_jobs.id"],
            name=op.f("fk_past_measures_backup_job_id_backup_jobs"), ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("archive_id", name=op.f("pk_past_measures")),
    )
    op.create_index("ix_past_measures_backup_job_id_created_at", "past_measures", ["backup_job_id", "created_at"])


def downgrade() -> None:
    """Take back."""
    op.drop_table("past_measures")

"""evidence of runs."""

from __future__ import annotations

from alembic import op
import sqlalchemy as sa

import shared.db.tables.base

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "run_evidence",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("backup_job_id", sa.Uuid(), nullable=False),
        sa.Column("hook_owed", sa.Boolean(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("updated_at", shared.db.tables.base.UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_run_evidence_job_id_jobs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_run_evidence")),
    )
    op.create_index("ix_run_evidence_backup_job_id_hook_owed", "run_evidence", ["backup_job_id", "hook_owed"])
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.add_column(sa.Column("run", sa.Integer(), nullable=False, server_default="0"))
    with op.batch_alter_table("archives", schema=None) as batch_op:
        batch_op.add_column(sa.Column("evidence", sa.JSON(), nullable=True))


def downgrade() -> None:
    """Take back."""
    with op.batch_alter_table("archives", schema=None) as batch_op:
        batch_op.drop_column("evidence")
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.drop_column("run")
    op.drop_table("run_evidence")

"""four eyes, and what the audit log's own verification found."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from shared.db.tables.base import UtcDateTime, binary_text, long_text

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "four_eyes",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("cooling_seconds", sa.Integer(), nullable=False),
        sa.Column("expiry_seconds", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_four_eyes")),
    )
    op.create_table(
        "approvals",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", binary_text(40), nullable=False),
        sa.Column("fields", sa.JSON(), nullable=False),
        sa.Column("noun", binary_text(63), nullable=False),
        sa.Column("target_id", binary_text(64), nullable=False),
        sa.Column("target_name", binary_text(700), nullable=False),
        sa.Column("target_version", sa.Integer(), nullable=True),
        sa.Column("server_id", sa.Uuid(), nullable=True),
        sa.Column("reason", long_text(), nullable=False),
        sa.Column("open_key", binary_text(64), nullable=True),
        sa.Column("request_key", binary_text(200), nullable=True),
        sa.Column("asked_by", binary_text(60), nullable=False),
        sa.Column("requested_by", binary_text(100), nullable=False),
        sa.Column("requested_by_id", sa.Uuid(), nullable=True),
        sa.Column("requested_at", UtcDateTime(), nullable=False),
        sa.Column("state", binary_text(12), nullable=False),
        sa.Column("decided_by", binary_text(100), nullable=False),
        sa.Column("decided_by_id", sa.Uuid(), nullable=True),
        sa.Column("decided_at", UtcDateTime(), nullable=True),
        sa.Column("note", long_text(), nullable=False),
        sa.Column("run_at", UtcDateTime(), nullable=False),
        sa.Column("done_at", UtcDateTime(), nullable=True),
        sa.Column("code", binary_text(63), nullable=False),
        sa.Column("message", sa.JSON(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_approvals")),
        sa.UniqueConstraint("open_key", name=op.f("uq_approvals_open_key")),
        sa.UniqueConstraint("request_key", name=op.f("uq_approvals_request_key")),
    )
    op.create_index("ix_approvals_state_run_at", "approvals", ["state", "run_at"])
    op.create_index("ix_approvals_requested_at_id", "approvals", ["requested_at", "id"])
    op.create_table(
        "audit_checks",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("after", sa.Integer(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.Column("seals", sa.Integer(), nullable=False),
        sa.Column("broken_what", binary_text(30), nullable=False),
        sa.Column("broken_seal", sa.Integer(), nullable=True),
        sa.Column("broken_entry", sa.Uuid(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_checks")),
    )
    with op.batch_alter_table("audit_seals") as batch_op:
        batch_op.add_column(sa.Column("pruned_at", UtcDateTime(), nullable=True))
        batch_op.add_column(sa.Column("pruned_key_id", binary_text(16), nullable=False, server_default=""))
        batch_op.add_column(sa.Column("pruned_mac", binary_text(64), nullable=False, server_default=""))
    op.execute("INSERT INTO four_eyes (id, enabled, cooling_seconds, expiry_seconds, version) VALUES (1, 0, 3600, 604800, 1)")
    op.execute("INSERT INTO audit_checks (id, after, seals, broken_what) VALUES (1, 0, 0, '')")


def downgrade() -> None:
    """Take back."""
    with op.batch_alter_table("audit_seals") as batch_op:
        batch_op.drop_column("pruned_mac")
        batch_op.drop_column("pruned_key_id")
        batch_op.drop_column("pruned_at")
    op.drop_table("audit_checks")
    op.drop_table("approvals")
    op.drop_table("four_eyes")

"""where runs began, and up to where maintenance compacted."""

from __future__ import annotations

from alembic import op
import sqlalchemy as sa

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table("repositories", schema=None) as batch_op:
        batch_op.add_column(sa.Column("session_job", sa.Uuid(), nullable=True))
        batch_op.add_column(sa.Column("session_began", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("compacted_segment", sa.BigInteger(), nullable=True))
    with op.batch_alter_table("archives", schema=None) as batch_op:
        batch_op.add_column(sa.Column("began_segment", sa.BigInteger(), nullable=True))
    # Nobody kept what older versions compacted: all that is there may have gaps of theirs.
    op.execute("UPDATE repositories SET compacted_segment = proven_transaction")


def downgrade() -> None:
    """Take back."""
    with op.batch_alter_table("archives", schema=None) as batch_op:
        batch_op.drop_column("began_segment")
    with op.batch_alter_table("repositories", schema=None) as batch_op:
        batch_op.drop_column("compacted_segment")
        batch_op.drop_column("session_began")
        batch_op.drop_column("session_job")

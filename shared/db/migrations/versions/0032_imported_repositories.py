"""imported repositories."""

from __future__ import annotations

from alembic import op
import sqlalchemy as sa

from shared.db.tables.base import UtcDateTime, binary_text, long_text

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None

_WORDS = ("managed_by", "retention_confirmed_by")
_REASONS = ("managed_reason", "retention_confirmed_reason")
_TIMES = ("imported_at", "managed_at", "retention_confirmed_at")


def upgrade() -> None:
    """Apply. The defaults are for versions before this one, which write rows without them."""
    with op.batch_alter_table("repositories", schema=None) as batch_op:
        batch_op.add_column(sa.Column("mode", binary_text(20), nullable=False, server_default="managed"))
        batch_op.add_column(sa.Column("looked_transaction", sa.BigInteger(), nullable=True))
        for name in _TIMES:
            batch_op.add_column(sa.Column(name, UtcDateTime(), nullable=True))
        for name in _WORDS:
            batch_op.add_column(sa.Column(name, binary_text(63), nullable=False, server_default=""))
        for name in _REASONS:
            batch_op.add_column(sa.Column(name, long_text(), nullable=False, server_default=""))
    with op.batch_alter_table("archives", schema=None) as batch_op:
        batch_op.add_column(sa.Column("imported", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    """Take back."""
    with op.batch_alter_table("archives", schema=None) as batch_op:
        batch_op.drop_column("imported")
    with op.batch_alter_table("repositories", schema=None) as batch_op:
        for name in (*_REASONS, *_WORDS, *_TIMES, "looked_transaction", "mode"):
            batch_op.drop_column(name)

"""proof of what was written to a repository."""

from __future__ import annotations

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

import shared.db.tables.base

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_NUMBERS = ("proven_transaction", "rewritten_after", "verified_segment", "manifest_transaction")


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table('repositories', schema=None) as batch_op:
        batch_op.add_column(sa.Column('frozen_for', sa.JSON(), nullable=False, server_default='[]'))
        batch_op.add_column(sa.Column('session', sa.String(length=10).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=10), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=10), 'mysql'), nullable=False, server_default=''))
        for name in _NUMBERS:
            batch_op.add_column(sa.Column(name, sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column('manifest_kept_at', shared.db.tables.base.UtcDateTime(), nullable=True))

    with op.batch_alter_table('archives', schema=None) as batch_op:
        batch_op.add_column(sa.Column('segment', sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column('proven_at', shared.db.tables.base.UtcDateTime(), nullable=True))


def downgrade() -> None:
    """Take back."""
    with op.batch_alter_table('archives', schema=None) as batch_op:
        batch_op.drop_column('proven_at')
        batch_op.drop_column('segment')

    with op.batch_alter_table('repositories', schema=None) as batch_op:
        batch_op.drop_column('manifest_kept_at')
        for name in _NUMBERS:
            batch_op.drop_column(name)
        batch_op.drop_column('session')
        batch_op.drop_column('frozen_for')

"""trusted and accepted archives."""

from __future__ import annotations

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

import shared.db.tables.base

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table('archives', schema=None) as batch_op:
        batch_op.add_column(sa.Column('trusted', sa.Boolean(), nullable=False, server_default=sa.false()))
        batch_op.add_column(sa.Column('reasons', sa.JSON(), nullable=False, server_default='[]'))
        batch_op.add_column(sa.Column('accepted_at', shared.db.tables.base.UtcDateTime(), nullable=True))
        batch_op.add_column(sa.Column('accepted_by', sa.String(length=63).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=63), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=63), 'mysql'), nullable=False, server_default=''))
        batch_op.add_column(sa.Column('accepted_reason', sa.Text().with_variant(mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mariadb').with_variant(mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mysql'), nullable=False, server_default=''))

    # What was green before is taken as it was told; what was yellow waits for a person's word.
    archives = sa.table("archives", sa.column("trusted", sa.Boolean), sa.column("state", sa.String))
    op.execute(archives.update().where(archives.c.state == "succeeded").values(trusted=sa.true()))


def downgrade() -> None:
    """Take back."""
    with op.batch_alter_table('archives', schema=None) as batch_op:
        batch_op.drop_column('accepted_reason')
        batch_op.drop_column('accepted_by')
        batch_op.drop_column('accepted_at')
        batch_op.drop_column('reasons')
        batch_op.drop_column('trusted')

"""retention."""

from __future__ import annotations

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

import shared.db.tables.base

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table('archives', schema=None) as batch_op:
        batch_op.add_column(sa.Column('leaving', sa.Boolean(), nullable=False, server_default=sa.false()))
        batch_op.add_column(sa.Column('lost', sa.Boolean(), nullable=False, server_default=sa.false()))

    with op.batch_alter_table('repositories', schema=None) as batch_op:
        batch_op.add_column(sa.Column('retention', sa.JSON(), nullable=True))
        batch_op.add_column(sa.Column('prune_after_backup', sa.Boolean(), nullable=False, server_default=sa.true()))
        batch_op.add_column(sa.Column('whole_at', shared.db.tables.base.UtcDateTime(), nullable=True))
        batch_op.add_column(sa.Column('whole_segment', sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column('frozen_reason', sa.Text().with_variant(mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mariadb').with_variant(mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mysql'), nullable=False, server_default=''))
        batch_op.add_column(sa.Column('frozen_at', shared.db.tables.base.UtcDateTime(), nullable=True))
        batch_op.add_column(sa.Column('unfrozen_by', sa.String(length=63).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=63), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=63), 'mysql'), nullable=False, server_default=''))
        batch_op.add_column(sa.Column('unfrozen_reason', sa.Text().with_variant(mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mariadb').with_variant(mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mysql'), nullable=False, server_default=''))
        batch_op.add_column(sa.Column('unfrozen_at', shared.db.tables.base.UtcDateTime(), nullable=True))
        batch_op.add_column(sa.Column('pruned_at', shared.db.tables.base.UtcDateTime(), nullable=True))
        batch_op.add_column(sa.Column('compacted_at', shared.db.tables.base.UtcDateTime(), nullable=True))



def downgrade() -> None:
    """Take back."""
    with op.batch_alter_table('repositories', schema=None) as batch_op:
        batch_op.drop_column('compacted_at')
        batch_op.drop_column('pruned_at')
        batch_op.drop_column('unfrozen_at')
        batch_op.drop_column('unfrozen_reason')
        batch_op.drop_column('unfrozen_by')
        batch_op.drop_column('frozen_at')
        batch_op.drop_column('frozen_reason')
        batch_op.drop_column('whole_segment')
        batch_op.drop_column('whole_at')
        batch_op.drop_column('prune_after_backup')
        batch_op.drop_column('retention')

    with op.batch_alter_table('archives', schema=None) as batch_op:
        batch_op.drop_column('lost')
        batch_op.drop_column('leaving')

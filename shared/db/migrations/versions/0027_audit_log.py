"""audit log."""

from __future__ import annotations

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

import shared.db.tables.base

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""

    op.create_table('audit_entries',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('at', shared.db.tables.base.UtcDateTime(), nullable=False),
    sa.Column('actor_kind', sa.String(length=10).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=10), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=10), 'mysql'), nullable=False),
    sa.Column('actor_id', sa.Uuid(), nullable=True),
    sa.Column('actor_name', sa.String(length=100).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=100), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=100), 'mysql'), nullable=False),
    sa.Column('token_id', sa.Uuid(), nullable=True),
    sa.Column('address', sa.String(length=64).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=64), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=64), 'mysql'), nullable=False),
    sa.Column('request_id', sa.String(length=64).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=64), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=64), 'mysql'), nullable=False),
    sa.Column('action', sa.String(length=63).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=63), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=63), 'mysql'), nullable=False),
    sa.Column('noun', sa.String(length=63).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=63), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=63), 'mysql'), nullable=False),
    sa.Column('target_id', sa.String(length=64).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=64), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=64), 'mysql'), nullable=False),
    sa.Column('target_name', sa.String(length=700).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=700), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=700), 'mysql'), nullable=False),
    sa.Column('server_id', sa.Uuid(), nullable=True),
    sa.Column('before', sa.Text().with_variant(mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mariadb').with_variant(mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mysql'), nullable=True),
    sa.Column('after', sa.Text().with_variant(mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mariadb').with_variant(mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mysql'), nullable=True),
    sa.Column('outcome', sa.String(length=10).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=10), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=10), 'mysql'), nullable=False),
    sa.Column('code', sa.String(length=63).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=63), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=63), 'mysql'), nullable=False),
    sa.Column('key_id', sa.String(length=16).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=16), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=16), 'mysql'), nullable=False),
    sa.Column('mac', sa.String(length=64).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=64), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=64), 'mysql'), nullable=False),
    sa.Column('seal', sa.Integer(), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_audit_entries'))
    )
    with op.batch_alter_table('audit_entries', schema=None) as batch_op:
        batch_op.create_index('ix_audit_entries_action_at_id', ['action', 'at', 'id'], unique=False)
        batch_op.create_index('ix_audit_entries_actor_name_at_id', ['actor_name', 'at', 'id'], unique=False)
        batch_op.create_index('ix_audit_entries_at_id', ['at', 'id'], unique=False)
        batch_op.create_index('ix_audit_entries_seal_at_id', ['seal', 'at', 'id'], unique=False)
        batch_op.create_index('ix_audit_entries_server_id_at_id', ['server_id', 'at', 'id'], unique=False)
        batch_op.create_index('ix_audit_entries_target_id_at_id', ['target_id', 'at', 'id'], unique=False)

    op.create_table('audit_seals',
    sa.Column('seq', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('count', sa.Integer(), nullable=False),
    sa.Column('root', sa.String(length=64).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=64), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=64), 'mysql'), nullable=False),
    sa.Column('prev', sa.String(length=64).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=64), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=64), 'mysql'), nullable=False),
    sa.Column('at', shared.db.tables.base.UtcDateTime(), nullable=False),
    sa.Column('key_id', sa.String(length=16).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=16), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=16), 'mysql'), nullable=False),
    sa.Column('mac', sa.String(length=64).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=64), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=64), 'mysql'), nullable=False),
    sa.PrimaryKeyConstraint('seq', name=op.f('pk_audit_seals'))
    )



def downgrade() -> None:
    """Take back."""

    op.drop_table('audit_seals')
    with op.batch_alter_table('audit_entries', schema=None) as batch_op:
        batch_op.drop_index('ix_audit_entries_target_id_at_id')
        batch_op.drop_index('ix_audit_entries_server_id_at_id')
        batch_op.drop_index('ix_audit_entries_seal_at_id')
        batch_op.drop_index('ix_audit_entries_at_id')
        batch_op.drop_index('ix_audit_entries_actor_name_at_id')
        batch_op.drop_index('ix_audit_entries_action_at_id')

    op.drop_table('audit_entries')


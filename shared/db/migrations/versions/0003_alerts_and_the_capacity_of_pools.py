"""alerts and the capacity of pools."""

from __future__ import annotations

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

import shared.db.tables.base

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""

    op.create_table('alert_rules',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('kind', sa.String(length=40).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=40), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=40), 'mysql'), nullable=False),
    sa.Column('server', sa.String(length=63).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=63), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=63), 'mysql'), nullable=False),
    sa.Column('warning', sa.Double(), nullable=True),
    sa.Column('critical', sa.Double(), nullable=True),
    sa.Column('for_seconds', sa.Double(), nullable=False),
    sa.Column('hysteresis', sa.Double(), nullable=False),
    sa.Column('enabled', sa.Boolean(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_alert_rules')),
    sa.UniqueConstraint('kind', 'server', name=op.f('uq_alert_rules_kind_server'))
    )
    op.create_table('alerts',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('open_key', sa.String(length=700).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=700), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=700), 'mysql'), nullable=True),
    sa.Column('kind', sa.String(length=40).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=40), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=40), 'mysql'), nullable=False),
    sa.Column('subject', sa.String(length=600).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=600), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=600), 'mysql'), nullable=False),
    sa.Column('server', sa.String(length=63).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=63), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=63), 'mysql'), nullable=True),
    sa.Column('state', sa.String(length=12).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=12), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=12), 'mysql'), nullable=False),
    sa.Column('level', sa.String(length=8).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=8), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=8), 'mysql'), nullable=False),
    sa.Column('value', sa.Double(), nullable=False),
    sa.Column('threshold', sa.Double(), nullable=True),
    sa.Column('began_at', shared.db.tables.base.UtcDateTime(), nullable=False),
    sa.Column('raised_at', shared.db.tables.base.UtcDateTime(), nullable=True),
    sa.Column('acknowledged_until', shared.db.tables.base.UtcDateTime(), nullable=True),
    sa.Column('acknowledged_note', sa.Text().with_variant(mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mariadb').with_variant(mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mysql'), nullable=False),
    sa.Column('resolved_at', shared.db.tables.base.UtcDateTime(), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_alerts')),
    sa.UniqueConstraint('open_key', name=op.f('uq_alerts_open_key'))
    )
    with op.batch_alter_table('alerts', schema=None) as batch_op:
        batch_op.create_index('ix_alerts_began_at_id', ['began_at', 'id'], unique=False)

    op.create_table('maintenance_windows',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('server', sa.String(length=63).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=63), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=63), 'mysql'), nullable=False),
    sa.Column('starts_at', shared.db.tables.base.UtcDateTime(), nullable=False),
    sa.Column('ends_at', shared.db.tables.base.UtcDateTime(), nullable=False),
    sa.Column('reason', sa.Text().with_variant(mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mariadb').with_variant(mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mysql'), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_maintenance_windows'))
    )
    op.create_table('alert_changes',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('alert_id', sa.Uuid(), nullable=False),
    sa.Column('at', shared.db.tables.base.UtcDateTime(), nullable=False),
    sa.Column('what', sa.String(length=20).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=20), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=20), 'mysql'), nullable=False),
    sa.Column('level', sa.String(length=8).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=8), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=8), 'mysql'), nullable=False),
    sa.Column('value', sa.Double(), nullable=False),
    sa.Column('note', sa.Text().with_variant(mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mariadb').with_variant(mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mysql'), nullable=False),
    sa.ForeignKeyConstraint(['alert_id'], ['alerts.id'], name=op.f('fk_alert_changes_alert_id_alerts'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_alert_changes'))
    )
    with op.batch_alter_table('alert_changes', schema=None) as batch_op:
        batch_op.create_index('ix_alert_changes_alert_id_at', ['alert_id', 'at'], unique=False)

    with op.batch_alter_table('backup_jobs', schema=None) as batch_op:
        batch_op.add_column(sa.Column('rpo_seconds', sa.Integer(), nullable=True))

    with op.batch_alter_table('storage_pools', schema=None) as batch_op:
        batch_op.add_column(sa.Column('size_bytes', sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column('free_bytes', sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column('problem', sa.Text().with_variant(mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mariadb').with_variant(mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mysql'), nullable=False, server_default=''))
        batch_op.add_column(sa.Column('measured_at', shared.db.tables.base.UtcDateTime(), nullable=True))




def downgrade() -> None:
    """Take back."""

    with op.batch_alter_table('storage_pools', schema=None) as batch_op:
        batch_op.drop_column('measured_at')
        batch_op.drop_column('problem')
        batch_op.drop_column('free_bytes')
        batch_op.drop_column('size_bytes')

    with op.batch_alter_table('backup_jobs', schema=None) as batch_op:
        batch_op.drop_column('rpo_seconds')

    op.drop_table('alert_changes')
    op.drop_table('maintenance_windows')
    op.drop_table('alerts')
    op.drop_table('alert_rules')


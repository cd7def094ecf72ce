"""notifications, tags, presence of services, dead letters."""

from __future__ import annotations

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

import shared.db.tables.base

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table('dead_letters',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('message_key', sa.String(length=200).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=200), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=200), 'mysql'), nullable=False),
    sa.Column('subject', sa.String(length=200).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=200), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=200), 'mysql'), nullable=False),
    sa.Column('code', sa.String(length=60).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=60), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=60), 'mysql'), nullable=False),
    sa.Column('reason', sa.Text().with_variant(mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mariadb').with_variant(mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mysql'), nullable=False),
    sa.Column('remedy', sa.Text().with_variant(mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mariadb').with_variant(mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mysql'), nullable=False),
    sa.Column('deliveries', sa.Integer(), nullable=False),
    sa.Column('at', shared.db.tables.base.UtcDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_dead_letters')),
    sa.UniqueConstraint('message_key', name=op.f('uq_dead_letters_message_key'))
    )
    with op.batch_alter_table('dead_letters', schema=None) as batch_op:
        batch_op.create_index('ix_dead_letters_at_id', ['at', 'id'], unique=False)

    op.create_table('notification_channels',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('name', sa.String(length=63).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=63), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=63), 'mysql'), nullable=False),
    sa.Column('kind', sa.String(length=10).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=10), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=10), 'mysql'), nullable=False),
    sa.Column('shown_as', sa.String(length=300).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=300), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=300), 'mysql'), nullable=False),
    sa.Column('enabled', sa.Boolean(), nullable=False),
    sa.Column('least_level', sa.String(length=8).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=8), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=8), 'mysql'), nullable=False),
    sa.Column('kinds', sa.JSON(), nullable=False),
    sa.Column('tags', sa.JSON(), nullable=False),
    sa.Column('hours', sa.JSON(), nullable=True),
    sa.Column('digest_seconds', sa.Integer(), nullable=False),
    sa.Column('recovered', sa.Boolean(), nullable=False),
    sa.Column('created_at', shared.db.tables.base.UtcDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_notification_channels')),
    sa.UniqueConstraint('name', name=op.f('uq_notification_channels_name'))
    )
    op.create_table('service_instances',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('service', sa.String(length=40).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=40), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=40), 'mysql'), nullable=False),
    sa.Column('node', sa.String(length=63).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=63), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=63), 'mysql'), nullable=False),
    sa.Column('version', sa.String(length=40).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=40), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=40), 'mysql'), nullable=False),
    sa.Column('started_at', shared.db.tables.base.UtcDateTime(), nullable=False),
    sa.Column('seen_at', shared.db.tables.base.UtcDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_service_instances'))
    )
    op.create_table('notifications',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('channel_id', sa.Uuid(), nullable=False),
    sa.Column('change_id', sa.Uuid(), nullable=False),
    sa.Column('alert_id', sa.Uuid(), nullable=True),
    sa.Column('what', sa.String(length=20).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=20), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=20), 'mysql'), nullable=False),
    sa.Column('kind', sa.String(length=40).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=40), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=40), 'mysql'), nullable=False),
    sa.Column('about', sa.String(length=600).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=600), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=600), 'mysql'), nullable=False),
    sa.Column('server', sa.String(length=63).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=63), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=63), 'mysql'), nullable=True),
    sa.Column('level', sa.String(length=8).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=8), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=8), 'mysql'), nullable=False),
    sa.Column('value', sa.Double(), nullable=True),
    sa.Column('threshold', sa.Double(), nullable=True),
    sa.Column('state', sa.String(length=10).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=10), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=10), 'mysql'), nullable=False),
    sa.Column('attempts', sa.Integer(), nullable=False),
    sa.Column('due_at', shared.db.tables.base.UtcDateTime(), nullable=False),
    sa.Column('sent_at', shared.db.tables.base.UtcDateTime(), nullable=True),
    sa.Column('error', sa.Text().with_variant(mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mariadb').with_variant(mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mysql'), nullable=False),
    sa.Column('happened_at', shared.db.tables.base.UtcDateTime(), nullable=False),
    sa.Column('created_at', shared.db.tables.base.UtcDateTime(), nullable=False),
    sa.ForeignKeyConstraint(['channel_id'], ['notification_channels.id'], name=op.f('fk_notifications_channel_id_notification_channels'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_notifications')),
    sa.UniqueConstraint('channel_id', 'change_id', name=op.f('uq_notifications_channel_id_change_id'))
    )
    with op.batch_alter_table('notifications', schema=None) as batch_op:
        batch_op.create_index('ix_notifications_created_at_id', ['created_at', 'id'], unique=False)
        batch_op.create_index('ix_notifications_state_due_at', ['state', 'due_at'], unique=False)

    with op.batch_alter_table('alert_changes', schema=None) as batch_op:
        batch_op.add_column(sa.Column('who', sa.String(length=63).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=63), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=63), 'mysql'), nullable=False, server_default=''))

    with op.batch_alter_table('alert_rules', schema=None) as batch_op:
        batch_op.add_column(sa.Column('tag', sa.String(length=63).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=63), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=63), 'mysql'), nullable=False, server_default=''))
        batch_op.drop_constraint(batch_op.f('uq_alert_rules_kind_server'), type_='unique')
        batch_op.create_unique_constraint(batch_op.f('uq_alert_rules_kind_server_tag'), ['kind', 'server', 'tag'])

    with op.batch_alter_table('alerts', schema=None) as batch_op:
        batch_op.add_column(sa.Column('acknowledged_by', sa.String(length=63).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=63), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=63), 'mysql'), nullable=False, server_default=''))

    with op.batch_alter_table('maintenance_windows', schema=None) as batch_op:
        batch_op.add_column(sa.Column('tag', sa.String(length=63).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=63), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=63), 'mysql'), nullable=False, server_default=''))

    with op.batch_alter_table('repositories', schema=None) as batch_op:
        batch_op.add_column(sa.Column('quota_bytes', sa.BigInteger(), nullable=True))

    with op.batch_alter_table('servers', schema=None) as batch_op:
        batch_op.add_column(sa.Column('tags', sa.JSON(), nullable=False, server_default='[]'))


def downgrade() -> None:
    """Take back."""
    with op.batch_alter_table('servers', schema=None) as batch_op:
        batch_op.drop_column('tags')

    with op.batch_alter_table('repositories', schema=None) as batch_op:
        batch_op.drop_column('quota_bytes')

    with op.batch_alter_table('maintenance_windows', schema=None) as batch_op:
        batch_op.drop_column('tag')

    with op.batch_alter_table('alerts', schema=None) as batch_op:
        batch_op.drop_column('acknowledged_by')

    op.execute("DELETE FROM alert_rules WHERE tag != ''")
    with op.batch_alter_table('alert_rules', schema=None) as batch_op:
        batch_op.drop_constraint(batch_op.f('uq_alert_rules_kind_server_tag'), type_='unique')
        batch_op.create_unique_constraint(batch_op.f('uq_alert_rules_kind_server'), ['kind', 'server'])
        batch_op.drop_column('tag')

    with op.batch_alter_table('alert_changes', schema=None) as batch_op:
        batch_op.drop_column('who')

    op.drop_table('notifications')
    op.drop_table('service_instances')
    op.drop_table('notification_channels')
    op.drop_table('dead_letters')

"""statistics of servers."""

from __future__ import annotations

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

import shared.db.tables.base

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""

    op.create_table('server_mounts',
    sa.Column('server_id', sa.Uuid(), nullable=False),
    sa.Column('collected_at', shared.db.tables.base.UtcDateTime(), nullable=False),
    sa.Column('position', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('mount_point', sa.String(length=1024).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=1024), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=1024), 'mysql'), nullable=False),
    sa.Column('device', sa.String(length=200).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=200), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=200), 'mysql'), nullable=False),
    sa.Column('fs_type', sa.String(length=200).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=200), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=200), 'mysql'), nullable=True),
    sa.Column('total_bytes', sa.BigInteger(), nullable=False),
    sa.Column('used_bytes', sa.BigInteger(), nullable=False),
    sa.Column('free_bytes', sa.BigInteger(), nullable=False),
    sa.Column('percent', sa.Double(), nullable=True),
    sa.Column('inodes_total', sa.BigInteger(), nullable=True),
    sa.Column('inodes_used', sa.BigInteger(), nullable=True),
    sa.Column('inodes_percent', sa.Double(), nullable=True),
    sa.ForeignKeyConstraint(['server_id'], ['servers.id'], name=op.f('fk_server_mounts_server_id_servers'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('server_id', 'collected_at', 'position', name=op.f('pk_server_mounts'))
    )
    with op.batch_alter_table('server_mounts', schema=None) as batch_op:
        batch_op.create_index('ix_server_mounts_collected_at', ['collected_at'], unique=False)

    op.create_table('server_rollups',
    sa.Column('server_id', sa.Uuid(), nullable=False),
    sa.Column('step', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('bucket', sa.BigInteger(), autoincrement=False, nullable=False),
    sa.Column('samples', sa.Integer(), nullable=False),
    sa.Column('cpu_min', sa.Double(), nullable=True),
    sa.Column('cpu_mean', sa.Double(), nullable=True),
    sa.Column('cpu_max', sa.Double(), nullable=True),
    sa.Column('memory_min', sa.Double(), nullable=True),
    sa.Column('memory_mean', sa.Double(), nullable=True),
    sa.Column('memory_max', sa.Double(), nullable=True),
    sa.Column('swap_min', sa.Double(), nullable=True),
    sa.Column('swap_mean', sa.Double(), nullable=True),
    sa.Column('swap_max', sa.Double(), nullable=True),
    sa.Column('disk_min', sa.Double(), nullable=True),
    sa.Column('disk_mean', sa.Double(), nullable=True),
    sa.Column('disk_max', sa.Double(), nullable=True),
    sa.Column('load_min', sa.Double(), nullable=True),
    sa.Column('load_mean', sa.Double(), nullable=True),
    sa.Column('load_max', sa.Double(), nullable=True),
    sa.Column('received_min', sa.Double(), nullable=True),
    sa.Column('received_mean', sa.Double(), nullable=True),
    sa.Column('received_max', sa.Double(), nullable=True),
    sa.Column('sent_min', sa.Double(), nullable=True),
    sa.Column('sent_mean', sa.Double(), nullable=True),
    sa.Column('sent_max', sa.Double(), nullable=True),
    sa.ForeignKeyConstraint(['server_id'], ['servers.id'], name=op.f('fk_server_rollups_server_id_servers'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('server_id', 'step', 'bucket', name=op.f('pk_server_rollups'))
    )
    with op.batch_alter_table('server_rollups', schema=None) as batch_op:
        batch_op.create_index('ix_server_rollups_step_bucket', ['step', 'bucket'], unique=False)

    op.create_table('server_stats',
    sa.Column('server_id', sa.Uuid(), nullable=False),
    sa.Column('collected_at', shared.db.tables.base.UtcDateTime(), nullable=False),
    sa.Column('bucket', sa.BigInteger(), nullable=False),
    sa.Column('os_distribution', sa.String(length=200).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=200), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=200), 'mysql'), nullable=True),
    sa.Column('os_version', sa.String(length=200).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=200), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=200), 'mysql'), nullable=True),
    sa.Column('kernel_version', sa.String(length=200).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=200), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=200), 'mysql'), nullable=True),
    sa.Column('hostname', sa.String(length=200).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=200), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=200), 'mysql'), nullable=True),
    sa.Column('architecture', sa.String(length=200).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=200), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=200), 'mysql'), nullable=True),
    sa.Column('cpu_cores', sa.Integer(), nullable=True),
    sa.Column('cpu_model', sa.String(length=200).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=200), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=200), 'mysql'), nullable=True),
    sa.Column('cpu_load_1', sa.Double(), nullable=True),
    sa.Column('cpu_load_5', sa.Double(), nullable=True),
    sa.Column('cpu_load_15', sa.Double(), nullable=True),
    sa.Column('cpu_usage_percent', sa.Double(), nullable=True),
    sa.Column('memory_total_mb', sa.BigInteger(), nullable=True),
    sa.Column('memory_used_mb', sa.BigInteger(), nullable=True),
    sa.Column('memory_free_mb', sa.BigInteger(), nullable=True),
    sa.Column('memory_available_mb', sa.BigInteger(), nullable=True),
    sa.Column('memory_percent', sa.Double(), nullable=True),
    sa.Column('swap_total_mb', sa.BigInteger(), nullable=True),
    sa.Column('swap_used_mb', sa.BigInteger(), nullable=True),
    sa.Column('swap_percent', sa.Double(), nullable=True),
    sa.Column('disk_total_gb', sa.Double(), nullable=True),
    sa.Column('disk_used_gb', sa.Double(), nullable=True),
    sa.Column('disk_free_gb', sa.Double(), nullable=True),
    sa.Column('disk_percent', sa.Double(), nullable=True),
    sa.Column('disk_mount_point', sa.String(length=200).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=200), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=200), 'mysql'), nullable=True),
    sa.Column('uptime_seconds', sa.BigInteger(), nullable=True),
    sa.Column('uptime_human', sa.String(length=50).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=50), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=50), 'mysql'), nullable=True),
    sa.Column('boot_time', shared.db.tables.base.UtcDateTime(), nullable=True),
    sa.Column('ip_address', sa.String(length=200).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=200), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=200), 'mysql'), nullable=True),
    sa.Column('load_per_core', sa.Double(), nullable=True),
    sa.Column('inodes_percent', sa.Double(), nullable=True),
    sa.Column('network_received_bytes', sa.BigInteger(), nullable=True),
    sa.Column('network_sent_bytes', sa.BigInteger(), nullable=True),
    sa.Column('network_received_rate', sa.Double(), nullable=True),
    sa.Column('network_sent_rate', sa.Double(), nullable=True),
    sa.Column('disk_read_bytes', sa.BigInteger(), nullable=True),
    sa.Column('disk_written_bytes', sa.BigInteger(), nullable=True),
    sa.Column('disk_read_rate', sa.Double(), nullable=True),
    sa.Column('disk_written_rate', sa.Double(), nullable=True),
    sa.Column('pressure_cpu', sa.Double(), nullable=True),
    sa.Column('pressure_memory', sa.Double(), nullable=True),
    sa.Column('pressure_io', sa.Double(), nullable=True),
    sa.Column('temperature_celsius', sa.Double(), nullable=True),
    sa.Column('reboot_pending', sa.Boolean(), nullable=True),
    sa.Column('failed_units', sa.Integer(), nullable=True),
    sa.Column('clock_offset_seconds', sa.Double(), nullable=True),
    sa.ForeignKeyConstraint(['server_id'], ['servers.id'], name=op.f('fk_server_stats_server_id_servers'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('server_id', 'collected_at', name=op.f('pk_server_stats'))
    )
    with op.batch_alter_table('server_stats', schema=None) as batch_op:
        batch_op.create_index('ix_server_stats_bucket', ['bucket'], unique=False)
        batch_op.create_index('ix_server_stats_collected_at', ['collected_at'], unique=False)

    op.create_table('server_status',
    sa.Column('server_id', sa.Uuid(), nullable=False),
    sa.Column('up', sa.Boolean(), nullable=False),
    sa.Column('code', sa.String(length=60).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=60), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=60), 'mysql'), nullable=False),
    sa.Column('reason', sa.Text().with_variant(mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mariadb').with_variant(mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mysql'), nullable=False),
    sa.Column('changed_at', shared.db.tables.base.UtcDateTime(), nullable=False),
    sa.Column('checked_at', shared.db.tables.base.UtcDateTime(), nullable=False),
    sa.Column('failures', sa.Integer(), nullable=False),
    sa.Column('retry_at', shared.db.tables.base.UtcDateTime(), nullable=True),
    sa.Column('sample', sa.JSON(), nullable=True),
    sa.ForeignKeyConstraint(['server_id'], ['servers.id'], name=op.f('fk_server_status_server_id_servers'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('server_id', name=op.f('pk_server_status'))
    )
    with op.batch_alter_table('jobs', schema=None) as batch_op:
        batch_op.add_column(sa.Column('params', sa.JSON(), nullable=False, server_default='{}'))




def downgrade() -> None:
    """Take back."""

    with op.batch_alter_table('jobs', schema=None) as batch_op:
        batch_op.drop_column('params')

    op.drop_table('server_status')
    op.drop_table('server_stats')
    op.drop_table('server_rollups')
    op.drop_table('server_mounts')


"""initial schema."""

from __future__ import annotations

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

import shared.db.tables.base

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table('api_tokens',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('name', sa.String(length=63).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=63), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=63), 'mysql'), nullable=False),
    sa.Column('digest', sa.String(length=64).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=64), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=64), 'mysql'), nullable=False),
    sa.Column('created_at', shared.db.tables.base.UtcDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_api_tokens')),
    sa.UniqueConstraint('digest', name=op.f('uq_api_tokens_digest')),
    sa.UniqueConstraint('name', name=op.f('uq_api_tokens_name'))
    )
    op.create_table('backup_nodes',
    sa.Column('name', sa.String(length=63).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=63), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=63), 'mysql'), nullable=False),
    sa.Column('endpoint_host', sa.String(length=254).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=254), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=254), 'mysql'), nullable=False),
    sa.Column('endpoint_port', sa.Integer(), nullable=False),
    sa.Column('endpoint_user', sa.String(length=32).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=32), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=32), 'mysql'), nullable=False),
    sa.Column('endpoint_host_key', sa.String(length=1024).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=1024), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=1024), 'mysql'), nullable=True),
    sa.Column('seen_at', shared.db.tables.base.UtcDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('name', name=op.f('pk_backup_nodes'))
    )
    op.create_table('jobs',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('type', sa.String(length=30).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=30), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=30), 'mysql'), nullable=False),
    sa.Column('title', sa.String(length=200).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=200), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=200), 'mysql'), nullable=False),
    sa.Column('state', sa.String(length=12).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=12), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=12), 'mysql'), nullable=False),
    sa.Column('node', sa.String(length=63).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=63), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=63), 'mysql'), nullable=True),
    sa.Column('server_id', sa.Uuid(), nullable=True),
    sa.Column('repository_id', sa.Uuid(), nullable=True),
    sa.Column('backup_job_id', sa.Uuid(), nullable=True),
    sa.Column('archive_id', sa.Uuid(), nullable=True),
    sa.Column('request_key', sa.String(length=200).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=200), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=200), 'mysql'), nullable=True),
    sa.Column('correlation_id', sa.Uuid(), nullable=False),
    sa.Column('attempt', sa.Integer(), nullable=False),
    sa.Column('failures', sa.Integer(), nullable=False),
    sa.Column('lease', sa.String(length=64).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=64), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=64), 'mysql'), nullable=True),
    sa.Column('lease_until', shared.db.tables.base.UtcDateTime(), nullable=True),
    sa.Column('cancel_requested', sa.Boolean(), nullable=False),
    sa.Column('waiting_for', sa.String(length=200).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=200), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=200), 'mysql'), nullable=True),
    sa.Column('not_before', shared.db.tables.base.UtcDateTime(), nullable=True),
    sa.Column('code', sa.String(length=60).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=60), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=60), 'mysql'), nullable=True),
    sa.Column('reason', sa.Text().with_variant(mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mariadb').with_variant(mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mysql'), nullable=True),
    sa.Column('remedy', sa.Text().with_variant(mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mariadb').with_variant(mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mysql'), nullable=True),
    sa.Column('warnings', sa.JSON(), nullable=False),
    sa.Column('result', sa.JSON(), nullable=False),
    sa.Column('progress', sa.JSON(), nullable=True),
    sa.Column('created_at', shared.db.tables.base.UtcDateTime(), nullable=False),
    sa.Column('sent_at', shared.db.tables.base.UtcDateTime(), nullable=True),
    sa.Column('started_at', shared.db.tables.base.UtcDateTime(), nullable=True),
    sa.Column('finished_at', shared.db.tables.base.UtcDateTime(), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_jobs')),
    sa.UniqueConstraint('request_key', name=op.f('uq_jobs_request_key'))
    )
    with op.batch_alter_table('jobs', schema=None) as batch_op:
        batch_op.create_index('ix_jobs_archive_id', ['archive_id'], unique=False)
        batch_op.create_index('ix_jobs_backup_job_id_created_at', ['backup_job_id', 'created_at'], unique=False)
        batch_op.create_index('ix_jobs_created_at_id', ['created_at', 'id'], unique=False)
        batch_op.create_index('ix_jobs_server_id_created_at', ['server_id', 'created_at'], unique=False)
        batch_op.create_index('ix_jobs_state_created_at', ['state', 'created_at'], unique=False)
        batch_op.create_index('ix_jobs_state_lease_until', ['state', 'lease_until'], unique=False)

    op.create_table('leases',
    sa.Column('name', sa.String(length=100).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=100), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=100), 'mysql'), nullable=False),
    sa.Column('holder', sa.String(length=64).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=64), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=64), 'mysql'), nullable=False),
    sa.Column('epoch', sa.BigInteger(), nullable=False),
    sa.Column('until', shared.db.tables.base.UtcDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('name', name=op.f('pk_leases'))
    )
    op.create_table('outbox',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('subject', sa.String(length=200).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=200), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=200), 'mysql'), nullable=False),
    sa.Column('event_type', sa.String(length=80).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=80), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=80), 'mysql'), nullable=False),
    sa.Column('payload', sa.Text().with_variant(mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mariadb').with_variant(mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mysql'), nullable=False),
    sa.Column('created_at', shared.db.tables.base.UtcDateTime(), nullable=False),
    sa.Column('sent_at', shared.db.tables.base.UtcDateTime(), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_outbox'))
    )
    with op.batch_alter_table('outbox', schema=None) as batch_op:
        batch_op.create_index('ix_outbox_sent_at_created_at', ['sent_at', 'created_at'], unique=False)

    op.create_table('secrets',
    sa.Column('name', sa.String(length=100).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=100), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=100), 'mysql'), nullable=False),
    sa.Column('key_id', sa.String(length=16).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=16), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=16), 'mysql'), nullable=False),
    sa.Column('wrapped_key', sa.LargeBinary(), nullable=False),
    sa.Column('sealed', sa.LargeBinary(), nullable=False),
    sa.Column('created_at', shared.db.tables.base.UtcDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('name', name=op.f('pk_secrets'))
    )
    op.create_table('servers',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('name', sa.String(length=63).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=63), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=63), 'mysql'), nullable=False),
    sa.Column('host', sa.String(length=254).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=254), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=254), 'mysql'), nullable=False),
    sa.Column('port', sa.Integer(), nullable=False),
    sa.Column('username', sa.String(length=32).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=32), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=32), 'mysql'), nullable=False),
    sa.Column('state', sa.String(length=20).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=20), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=20), 'mysql'), nullable=False),
    sa.Column('state_reason', sa.Text().with_variant(mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mariadb').with_variant(mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mysql'), nullable=False),
    sa.Column('host_key', sa.Text().with_variant(mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mariadb').with_variant(mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mysql'), nullable=True),
    sa.Column('host_key_offered', sa.Text().with_variant(mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mariadb').with_variant(mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mysql'), nullable=True),
    sa.Column('approved_fingerprint', sa.String(length=100).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=100), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=100), 'mysql'), nullable=True),
    sa.Column('backup_key', sa.Text().with_variant(mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mariadb').with_variant(mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mysql'), nullable=True),
    sa.Column('facts', sa.JSON(), nullable=False),
    sa.Column('created_at', shared.db.tables.base.UtcDateTime(), nullable=False),
    sa.Column('ready_at', shared.db.tables.base.UtcDateTime(), nullable=True),
    sa.Column('last_seen_at', shared.db.tables.base.UtcDateTime(), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_servers')),
    sa.UniqueConstraint('name', name=op.f('uq_servers_name'))
    )
    op.create_table('storage_pools',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('name', sa.String(length=63).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=63), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=63), 'mysql'), nullable=False),
    sa.Column('node', sa.String(length=63).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=63), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=63), 'mysql'), nullable=False),
    sa.Column('path', sa.String(length=1024).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=1024), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=1024), 'mysql'), nullable=False),
    sa.Column('created_at', shared.db.tables.base.UtcDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_storage_pools')),
    sa.UniqueConstraint('name', name=op.f('uq_storage_pools_name'))
    )
    op.create_table('job_log',
    sa.Column('job_id', sa.Uuid(), nullable=False),
    sa.Column('attempt', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('seq', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('at', shared.db.tables.base.UtcDateTime(), nullable=False),
    sa.Column('level', sa.String(length=10).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=10), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=10), 'mysql'), nullable=False),
    sa.Column('source', sa.String(length=20).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=20), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=20), 'mysql'), nullable=False),
    sa.Column('code', sa.String(length=60).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=60), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=60), 'mysql'), nullable=False),
    sa.Column('message', sa.Text().with_variant(mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mariadb').with_variant(mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mysql'), nullable=False),
    sa.ForeignKeyConstraint(['job_id'], ['jobs.id'], name=op.f('fk_job_log_job_id_jobs'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('job_id', 'attempt', 'seq', name=op.f('pk_job_log'))
    )
    op.create_table('repositories',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('name', sa.String(length=63).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=63), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=63), 'mysql'), nullable=False),
    sa.Column('server_id', sa.Uuid(), nullable=False),
    sa.Column('pool_id', sa.Uuid(), nullable=False),
    sa.Column('path', sa.String(length=700).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=700), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=700), 'mysql'), nullable=False),
    sa.Column('encryption', sa.String(length=30).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=30), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=30), 'mysql'), nullable=False),
    sa.Column('borg_id', sa.String(length=64).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=64), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=64), 'mysql'), nullable=True),
    sa.Column('archive_count', sa.Integer(), nullable=False),
    sa.Column('original_size', sa.BigInteger(), nullable=True),
    sa.Column('compressed_size', sa.BigInteger(), nullable=True),
    sa.Column('deduplicated_size', sa.BigInteger(), nullable=True),
    sa.Column('refreshed_at', shared.db.tables.base.UtcDateTime(), nullable=True),
    sa.Column('created_at', shared.db.tables.base.UtcDateTime(), nullable=False),
    sa.ForeignKeyConstraint(['pool_id'], ['storage_pools.id'], name=op.f('fk_repositories_pool_id_storage_pools')),
    sa.ForeignKeyConstraint(['server_id'], ['servers.id'], name=op.f('fk_repositories_server_id_servers')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_repositories')),
    sa.UniqueConstraint('path', name=op.f('uq_repositories_path')),
    sa.UniqueConstraint('server_id', 'name', name=op.f('uq_repositories_server_id_name'))
    )
    op.create_table('archives',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('repository_id', sa.Uuid(), nullable=False),
    sa.Column('server_id', sa.Uuid(), nullable=False),
    sa.Column('backup_job_id', sa.Uuid(), nullable=True),
    sa.Column('job_id', sa.Uuid(), nullable=True),
    sa.Column('name', sa.String(length=700).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=700), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=700), 'mysql'), nullable=False),
    sa.Column('borg_id', sa.String(length=64).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=64), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=64), 'mysql'), nullable=True),
    sa.Column('state', sa.String(length=20).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=20), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=20), 'mysql'), nullable=False),
    sa.Column('started_at', shared.db.tables.base.UtcDateTime(), nullable=False),
    sa.Column('ended_at', shared.db.tables.base.UtcDateTime(), nullable=False),
    sa.Column('duration', sa.Double(), nullable=False),
    sa.Column('files', sa.BigInteger(), nullable=False),
    sa.Column('original_size', sa.BigInteger(), nullable=False),
    sa.Column('compressed_size', sa.BigInteger(), nullable=False),
    sa.Column('deduplicated_size', sa.BigInteger(), nullable=False),
    sa.Column('held_reason', sa.String(length=200).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=200), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=200), 'mysql'), nullable=True),
    sa.Column('held_until', shared.db.tables.base.UtcDateTime(), nullable=True),
    sa.Column('created_at', shared.db.tables.base.UtcDateTime(), nullable=False),
    sa.ForeignKeyConstraint(['repository_id'], ['repositories.id'], name=op.f('fk_archives_repository_id_repositories')),
    sa.ForeignKeyConstraint(['server_id'], ['servers.id'], name=op.f('fk_archives_server_id_servers')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_archives')),
    sa.UniqueConstraint('repository_id', 'borg_id', name=op.f('uq_archives_repository_id_borg_id'))
    )
    with op.batch_alter_table('archives', schema=None) as batch_op:
        batch_op.create_index('ix_archives_backup_job_id_created_at', ['backup_job_id', 'created_at'], unique=False)
        batch_op.create_index('ix_archives_created_at_id', ['created_at', 'id'], unique=False)
        batch_op.create_index('ix_archives_server_id_created_at', ['server_id', 'created_at'], unique=False)

    op.create_table('backup_jobs',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('name', sa.String(length=63).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=63), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=63), 'mysql'), nullable=False),
    sa.Column('server_id', sa.Uuid(), nullable=False),
    sa.Column('repository_id', sa.Uuid(), nullable=False),
    sa.Column('enabled', sa.Boolean(), nullable=False),
    sa.Column('sources', sa.JSON(), nullable=False),
    sa.Column('excludes', sa.JSON(), nullable=False),
    sa.Column('patterns', sa.JSON(), nullable=False),
    sa.Column('compression', sa.String(length=30).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=30), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=30), 'mysql'), nullable=False),
    sa.Column('one_file_system', sa.Boolean(), nullable=False),
    sa.Column('exclude_caches', sa.Boolean(), nullable=False),
    sa.Column('upload_limit_kib', sa.Integer(), nullable=True),
    sa.Column('transport', sa.String(length=10).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=10), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=10), 'mysql'), nullable=False),
    sa.Column('pre_hook', sa.Text().with_variant(mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mariadb').with_variant(mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mysql'), nullable=True),
    sa.Column('post_hook', sa.Text().with_variant(mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mariadb').with_variant(mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mysql'), nullable=True),
    sa.Column('hook_seconds', sa.Integer(), nullable=False),
    sa.Column('time_limit_seconds', sa.Integer(), nullable=True),
    sa.Column('created_at', shared.db.tables.base.UtcDateTime(), nullable=False),
    sa.ForeignKeyConstraint(['repository_id'], ['repositories.id'], name=op.f('fk_backup_jobs_repository_id_repositories')),
    sa.ForeignKeyConstraint(['server_id'], ['servers.id'], name=op.f('fk_backup_jobs_server_id_servers')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_backup_jobs')),
    sa.UniqueConstraint('name', name=op.f('uq_backup_jobs_name'))
    )


def downgrade() -> None:
    """Take back: each table goes with its indexes."""
    op.drop_table('backup_jobs')
    op.drop_table('archives')
    op.drop_table('repositories')
    op.drop_table('job_log')
    op.drop_table('storage_pools')
    op.drop_table('servers')
    op.drop_table('secrets')
    op.drop_table('outbox')
    op.drop_table('leases')
    op.drop_table('jobs')
    op.drop_table('backup_nodes')
    op.drop_table('api_tokens')

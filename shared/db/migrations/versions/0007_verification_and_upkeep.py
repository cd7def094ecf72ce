"""verification and upkeep."""

from __future__ import annotations

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

import shared.db.tables.base

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    limits = op.create_table(
        "run_limits",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("fleet", sa.Integer(), nullable=True),
        sa.Column("per_server", sa.Integer(), nullable=True),
        sa.Column("per_pool", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run_limits")),
    )
    op.bulk_insert(limits, [{"id": 1, "fleet": 50, "per_server": 2, "per_pool": 20}])
    with op.batch_alter_table('archives', schema=None) as batch_op:
        batch_op.add_column(sa.Column('verified_at', shared.db.tables.base.UtcDateTime(), nullable=True))
        batch_op.add_column(sa.Column('damage', sa.Text().with_variant(mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mariadb').with_variant(mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mysql'), nullable=False, server_default=''))

    with op.batch_alter_table('backup_jobs', schema=None) as batch_op:
        batch_op.add_column(sa.Column('retention', sa.JSON(), nullable=True))
        batch_op.add_column(sa.Column('priority', sa.Integer(), nullable=False, server_default='0'))
        batch_op.add_column(sa.Column('max_failures', sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column('retry_seconds', sa.Integer(), nullable=True))

    with op.batch_alter_table('jobs', schema=None) as batch_op:
        batch_op.add_column(sa.Column('priority', sa.Integer(), nullable=False, server_default='0'))
        batch_op.create_index('ix_jobs_state_sent_at', ['state', 'sent_at'], unique=False)

    with op.batch_alter_table('missed_runs', schema=None) as batch_op:
        batch_op.add_column(sa.Column('repository_id', sa.Uuid(), nullable=True))
        batch_op.add_column(sa.Column('task', sa.String(length=30).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=30), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=30), 'mysql'), nullable=False, server_default='backup_create'))
        batch_op.alter_column('backup_job_id',
               existing_type=sa.Uuid(),
               nullable=True)
        batch_op.create_foreign_key(batch_op.f('fk_missed_runs_repository_id_repositories'), 'repositories', ['repository_id'], ['id'], ondelete='CASCADE')

    with op.batch_alter_table('repositories', schema=None) as batch_op:
        batch_op.add_column(sa.Column('compact_threshold_percent', sa.Integer(), nullable=False, server_default='10'))
        batch_op.add_column(sa.Column('checked_at', shared.db.tables.base.UtcDateTime(), nullable=True))
        batch_op.add_column(sa.Column('segments_damage', sa.Text().with_variant(mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mariadb').with_variant(mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mysql'), nullable=False, server_default=''))
        batch_op.add_column(sa.Column('archives_damage', sa.Text().with_variant(mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mariadb').with_variant(mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mysql'), nullable=False, server_default=''))
        batch_op.add_column(sa.Column('unfinished_damage', sa.Text().with_variant(mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mariadb').with_variant(mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mysql'), nullable=False, server_default=''))

    with op.batch_alter_table('schedules', schema=None) as batch_op:
        batch_op.add_column(sa.Column('repository_id', sa.Uuid(), nullable=True))
        batch_op.add_column(sa.Column('task', sa.String(length=30).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=30), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=30), 'mysql'), nullable=False, server_default='backup_create'))
        batch_op.add_column(sa.Column('params', sa.JSON(), nullable=True))
        batch_op.add_column(sa.Column('blackout', sa.JSON(), nullable=True))
        batch_op.alter_column('backup_job_id',
               existing_type=sa.Uuid(),
               nullable=True)
        batch_op.create_foreign_key(batch_op.f('fk_schedules_repository_id_repositories'), 'repositories', ['repository_id'], ['id'], ondelete='CASCADE')

    with op.batch_alter_table('servers', schema=None) as batch_op:
        batch_op.add_column(sa.Column('max_runs', sa.Integer(), nullable=True))

    with op.batch_alter_table('storage_pools', schema=None) as batch_op:
        batch_op.add_column(sa.Column('max_runs', sa.Integer(), nullable=True))



def downgrade() -> None:
    """Take back."""
    op.drop_table("run_limits")
    op.execute("DELETE FROM schedules WHERE backup_job_id IS NULL")
    op.execute("DELETE FROM missed_runs WHERE backup_job_id IS NULL")
    with op.batch_alter_table('storage_pools', schema=None) as batch_op:
        batch_op.drop_column('max_runs')

    with op.batch_alter_table('servers', schema=None) as batch_op:
        batch_op.drop_column('max_runs')

    with op.batch_alter_table('schedules', schema=None) as batch_op:
        batch_op.drop_constraint(batch_op.f('fk_schedules_repository_id_repositories'), type_='foreignkey')
        batch_op.alter_column('backup_job_id',
               existing_type=sa.Uuid(),
               nullable=False)
        batch_op.drop_column('blackout')
        batch_op.drop_column('params')
        batch_op.drop_column('task')
        batch_op.drop_column('repository_id')

    with op.batch_alter_table('repositories', schema=None) as batch_op:
        batch_op.drop_column('unfinished_damage')
        batch_op.drop_column('archives_damage')
        batch_op.drop_column('segments_damage')
        batch_op.drop_column('checked_at')
        batch_op.drop_column('compact_threshold_percent')

    with op.batch_alter_table('missed_runs', schema=None) as batch_op:
        batch_op.drop_constraint(batch_op.f('fk_missed_runs_repository_id_repositories'), type_='foreignkey')
        batch_op.alter_column('backup_job_id',
               existing_type=sa.Uuid(),
               nullable=False)
        batch_op.drop_column('task')
        batch_op.drop_column('repository_id')

    with op.batch_alter_table('jobs', schema=None) as batch_op:
        batch_op.drop_index('ix_jobs_state_sent_at')
        batch_op.drop_column('priority')

    with op.batch_alter_table('backup_jobs', schema=None) as batch_op:
        batch_op.drop_column('retry_seconds')
        batch_op.drop_column('max_failures')
        batch_op.drop_column('retention')
        batch_op.drop_column('priority')

    with op.batch_alter_table('archives', schema=None) as batch_op:
        batch_op.drop_column('damage')
        batch_op.drop_column('verified_at')


"""schedules."""

from __future__ import annotations

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

import shared.db.tables.base

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table('pauses',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('server', sa.String(length=63).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=63), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=63), 'mysql'), nullable=False),
    sa.Column('until', shared.db.tables.base.UtcDateTime(), nullable=True),
    sa.Column('reason', sa.Text().with_variant(mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mariadb').with_variant(mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mysql'), nullable=False),
    sa.Column('who', sa.String(length=63).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=63), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=63), 'mysql'), nullable=False),
    sa.Column('created_at', shared.db.tables.base.UtcDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_pauses')),
    sa.UniqueConstraint('server', name=op.f('uq_pauses_server'))
    )
    op.create_table('missed_runs',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('schedule_id', sa.Uuid(), nullable=False),
    sa.Column('backup_job_id', sa.Uuid(), nullable=False),
    sa.Column('due_at', shared.db.tables.base.UtcDateTime(), nullable=False),
    sa.Column('code', sa.String(length=30).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=30), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=30), 'mysql'), nullable=False),
    sa.Column('reason', sa.Text().with_variant(mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mariadb').with_variant(mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mysql'), nullable=False),
    sa.Column('at', shared.db.tables.base.UtcDateTime(), nullable=False),
    sa.ForeignKeyConstraint(['backup_job_id'], ['backup_jobs.id'], name=op.f('fk_missed_runs_backup_job_id_backup_jobs'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_missed_runs')),
    sa.UniqueConstraint('schedule_id', 'due_at', name=op.f('uq_missed_runs_schedule_id_due_at'))
    )
    with op.batch_alter_table('missed_runs', schema=None) as batch_op:
        batch_op.create_index('ix_missed_runs_backup_job_id_due_at', ['backup_job_id', 'due_at'], unique=False)
        batch_op.create_index('ix_missed_runs_due_at_id', ['due_at', 'id'], unique=False)

    op.create_table('schedules',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('backup_job_id', sa.Uuid(), nullable=False),
    sa.Column('spec', sa.JSON(), nullable=False),
    sa.Column('jitter_seconds', sa.Integer(), nullable=False),
    sa.Column('catch_up', sa.Boolean(), nullable=False),
    sa.Column('overlap', sa.String(length=8).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=8), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=8), 'mysql'), nullable=False),
    sa.Column('window', sa.JSON(), nullable=True),
    sa.Column('stop_at_end', sa.Boolean(), nullable=False),
    sa.Column('period_seconds', sa.Integer(), nullable=False),
    sa.Column('due_at', shared.db.tables.base.UtcDateTime(), nullable=False),
    sa.Column('next_run_at', shared.db.tables.base.UtcDateTime(), nullable=False),
    sa.Column('created_at', shared.db.tables.base.UtcDateTime(), nullable=False),
    sa.ForeignKeyConstraint(['backup_job_id'], ['backup_jobs.id'], name=op.f('fk_schedules_backup_job_id_backup_jobs'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_schedules'))
    )
    with op.batch_alter_table('schedules', schema=None) as batch_op:
        batch_op.create_index('ix_schedules_next_run_at', ['next_run_at'], unique=False)


def downgrade() -> None:
    """Take back."""
    op.drop_table('schedules')
    op.drop_table('missed_runs')
    op.drop_table('pauses')

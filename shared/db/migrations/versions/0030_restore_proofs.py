"""restore proofs."""

from __future__ import annotations

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

import shared.db.tables.base

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""

    op.create_table('restore_proofs',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('job_id', sa.Uuid(), nullable=True),
    sa.Column('archive_id', sa.Uuid(), nullable=True),
    sa.Column('repository_id', sa.Uuid(), nullable=False),
    sa.Column('server_id', sa.Uuid(), nullable=False),
    sa.Column('backup_job_id', sa.Uuid(), nullable=True),
    sa.Column('kind', sa.String(length=20).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=20), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=20), 'mysql'), nullable=False),
    sa.Column('state', sa.String(length=20).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=20), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=20), 'mysql'), nullable=False),
    sa.Column('archives', sa.Integer(), nullable=False),
    sa.Column('chosen', sa.BigInteger(), nullable=False),
    sa.Column('files', sa.BigInteger(), nullable=False),
    sa.Column('bytes', sa.BigInteger(), nullable=False),
    sa.Column('hashed', sa.BigInteger(), nullable=False),
    sa.Column('source_compared', sa.BigInteger(), nullable=False),
    sa.Column('source_differing', sa.BigInteger(), nullable=False),
    sa.Column('damaged', sa.BigInteger(), nullable=False),
    sa.Column('missing', sa.BigInteger(), nullable=False),
    sa.Column('differing', sa.BigInteger(), nullable=False),
    sa.Column('unread', sa.BigInteger(), nullable=False),
    sa.Column('seconds', sa.Double(), nullable=False),
    sa.Column('full_restore_seconds', sa.Double(), nullable=True),
    sa.Column('started_at', shared.db.tables.base.UtcDateTime(), nullable=False),
    sa.Column('ended_at', shared.db.tables.base.UtcDateTime(), nullable=False),
    sa.ForeignKeyConstraint(['repository_id'], ['repositories.id'], name=op.f('fk_restore_proofs_repository_id_repositories'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['server_id'], ['servers.id'], name=op.f('fk_restore_proofs_server_id_servers'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_restore_proofs'))
    )
    with op.batch_alter_table('restore_proofs', schema=None) as batch_op:
        batch_op.create_index('ix_restore_proofs_backup_job_id_ended_at', ['backup_job_id', 'ended_at'], unique=False)
        batch_op.create_index('ix_restore_proofs_ended_at_id', ['ended_at', 'id'], unique=False)
        batch_op.create_index('ix_restore_proofs_repository_id_ended_at', ['repository_id', 'ended_at'], unique=False)
        batch_op.create_index('ix_restore_proofs_server_id_ended_at', ['server_id', 'ended_at'], unique=False)



def downgrade() -> None:
    """Take back."""

    op.drop_table('restore_proofs')

"""download tickets."""

from __future__ import annotations

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

import shared.db.tables.base

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""

    op.create_table('download_tickets',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('digest', sa.String(length=64).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=64), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=64), 'mysql'), nullable=False),
    sa.Column('principal', sa.String(length=60).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=60), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=60), 'mysql'), nullable=False),
    sa.Column('archive_id', sa.Uuid(), nullable=False),
    sa.Column('format', sa.String(length=10).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=10), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=10), 'mysql'), nullable=False),
    sa.Column('name', sa.String(length=255).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=255), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=255), 'mysql'), nullable=False),
    sa.Column('items', sa.JSON(), nullable=False),
    sa.Column('size', sa.BigInteger(), nullable=True),
    sa.Column('created_at', shared.db.tables.base.UtcDateTime(), nullable=False),
    sa.Column('expires_at', shared.db.tables.base.UtcDateTime(), nullable=False),
    sa.Column('used_at', shared.db.tables.base.UtcDateTime(), nullable=True),
    sa.Column('used_by', sa.String(length=32).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=32), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=32), 'mysql'), nullable=False),
    sa.ForeignKeyConstraint(['archive_id'], ['archives.id'], name=op.f('fk_download_tickets_archive_id_archives'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_download_tickets')),
    sa.UniqueConstraint('digest', name=op.f('uq_download_tickets_digest'))
    )
    with op.batch_alter_table('download_tickets', schema=None) as batch_op:
        batch_op.create_index('ix_download_tickets_archive_id', ['archive_id'], unique=False)
        batch_op.create_index('ix_download_tickets_expires_at', ['expires_at'], unique=False)



def downgrade() -> None:
    """Take back."""

    op.drop_table('download_tickets')


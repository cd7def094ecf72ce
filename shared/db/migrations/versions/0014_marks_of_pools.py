"""marks of pools."""

from __future__ import annotations

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

import shared.db.tables.base

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table("storage_pools", schema=None) as batch_op:
        batch_op.add_column(sa.Column("marked_at", shared.db.tables.base.UtcDateTime(), nullable=True))
        batch_op.add_column(
            sa.Column(
                "problem_code",
                sa.String(length=60)
                .with_variant(mysql.VARCHAR(charset="utf8mb4", collation="utf8mb4_bin", length=60), "mariadb")
                .with_variant(mysql.VARCHAR(charset="utf8mb4", collation="utf8mb4_bin", length=60), "mysql"),
                nullable=False,
                server_default="",
            )
        )


def downgrade() -> None:
    """Take back."""
    with op.batch_alter_table("storage_pools", schema=None) as batch_op:
        batch_op.drop_column("problem_code")
        batch_op.drop_column("marked_at")

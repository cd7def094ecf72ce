"""refused access."""

from __future__ import annotations

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

import shared.db.tables.base

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def _binary(length: int) -> sa.types.TypeEngine[str]:
    text = mysql.VARCHAR(charset="utf8mb4", collation="utf8mb4_bin", length=length)
    return sa.String(length=length).with_variant(text, "mariadb").with_variant(text, "mysql")


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "access_refusals",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("server_id", sa.Uuid(), nullable=False),
        sa.Column("repository", _binary(130), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("said", shared.db.tables.base.long_text(), nullable=False),
        sa.Column("last_at", shared.db.tables.base.UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["server_id"], ["servers.id"], name=op.f("fk_access_refusals_server_id_servers"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_access_refusals")),
    )
    op.create_index("ix_access_refusals_server_id", "access_refusals", ["server_id"])


def downgrade() -> None:
    """Take back."""
    op.drop_table("access_refusals")

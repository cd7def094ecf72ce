"""accepted restores."""

from __future__ import annotations

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

import shared.db.tables.base

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("repositories", sa.Column("restored_accepted_at", shared.db.tables.base.UtcDateTime(), nullable=True))
    binary = {"charset": "utf8mb4", "collation": "utf8mb4_bin"}
    by = sa.String(63).with_variant(mysql.VARCHAR(63, **binary), "mariadb").with_variant(mysql.VARCHAR(63, **binary), "mysql")
    why = sa.Text().with_variant(mysql.MEDIUMTEXT(**binary), "mariadb").with_variant(mysql.MEDIUMTEXT(**binary), "mysql")
    op.add_column("repositories", sa.Column("restored_accepted_by", by, nullable=False, server_default=""))
    op.add_column("repositories", sa.Column("restored_accepted_reason", why, nullable=False, server_default=""))


def downgrade() -> None:
    """Take back."""
    for name in ("restored_accepted_reason", "restored_accepted_by", "restored_accepted_at"):
        op.drop_column("repositories", name)

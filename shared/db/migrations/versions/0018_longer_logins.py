"""longer logins."""

from __future__ import annotations

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def _binary(length: int) -> sa.types.TypeEngine[str]:
    text = mysql.VARCHAR(charset="utf8mb4", collation="utf8mb4_bin", length=length)
    return sa.String(length=length).with_variant(text, "mariadb").with_variant(text, "mysql")


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table("servers", schema=None) as batch_op:
        batch_op.alter_column("username", existing_type=_binary(32), type_=_binary(256), existing_nullable=False)


def downgrade() -> None:
    """Take back; MariaDB refuses it where a server's login is longer, so that none is cut."""
    with op.batch_alter_table("servers", schema=None) as batch_op:
        batch_op.alter_column("username", existing_type=_binary(256), type_=_binary(32), existing_nullable=False)

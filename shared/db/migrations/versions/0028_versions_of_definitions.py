"""versions of definitions."""

from __future__ import annotations

from alembic import op
import sqlalchemy as sa

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

_TABLES = (
    "alert_rules", "backup_jobs", "maintenance_windows", "notification_channels", "pauses", "repositories",
    "run_limits", "servers", "storage_pools",
)


def upgrade() -> None:
    """Apply. The default is for versions before this one, which write rows without it."""
    for table in _TABLES:
        with op.batch_alter_table(table, schema=None) as batch_op:
            batch_op.add_column(sa.Column('version', sa.Integer(), nullable=False, server_default='1'))


def downgrade() -> None:
    """Take back."""
    for table in reversed(_TABLES):
        with op.batch_alter_table(table, schema=None) as batch_op:
            batch_op.drop_column('version')

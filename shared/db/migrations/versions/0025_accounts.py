"""accounts: users, grants, sessions, links, throttles; whose an API token is, what it may, and until when."""

from __future__ import annotations

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

import shared.db.tables.base

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table('throttles',
    sa.Column('key', sa.String(length=120).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=120), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=120), 'mysql'), nullable=False),
    sa.Column('failures', sa.Integer(), nullable=False),
    sa.Column('blocked_until', shared.db.tables.base.UtcDateTime(), nullable=False),
    sa.Column('last_at', shared.db.tables.base.UtcDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('key', name=op.f('pk_throttles'))
    )
    with op.batch_alter_table('throttles', schema=None) as batch_op:
        batch_op.create_index('ix_throttles_last_at', ['last_at'], unique=False)

    op.create_table('users',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('name', sa.String(length=63).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=63), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=63), 'mysql'), nullable=False),
    sa.Column('display_name', sa.String(length=200).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=200), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=200), 'mysql'), nullable=False),
    sa.Column('email', sa.String(length=254).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=254), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=254), 'mysql'), nullable=False),
    sa.Column('kind', sa.String(length=10).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=10), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=10), 'mysql'), nullable=False),
    sa.Column('password_hash', sa.String(length=200).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=200), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=200), 'mysql'), nullable=True),
    sa.Column('state', sa.String(length=10).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=10), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=10), 'mysql'), nullable=False),
    sa.Column('locale', sa.String(length=10).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=10), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=10), 'mysql'), nullable=False),
    sa.Column('zone', sa.String(length=64).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=64), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=64), 'mysql'), nullable=False),
    sa.Column('totp_enabled', sa.Boolean(), nullable=False),
    sa.Column('totp_last_step', sa.BigInteger(), nullable=True),
    sa.Column('password_changed_at', shared.db.tables.base.UtcDateTime(), nullable=True),
    sa.Column('last_login_at', shared.db.tables.base.UtcDateTime(), nullable=True),
    sa.Column('version', sa.Integer(), nullable=False),
    sa.Column('created_at', shared.db.tables.base.UtcDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_users')),
    sa.UniqueConstraint('name', name=op.f('uq_users_name'))
    )
    op.create_table('grants',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('user_id', sa.Uuid(), nullable=False),
    sa.Column('role', sa.String(length=20).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=20), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=20), 'mysql'), nullable=False),
    sa.Column('tag_id', sa.Uuid(), nullable=True),
    sa.Column('granted_by', sa.String(length=100).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=100), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=100), 'mysql'), nullable=False),
    sa.Column('created_at', shared.db.tables.base.UtcDateTime(), nullable=False),
    sa.ForeignKeyConstraint(['tag_id'], ['tags.id'], name=op.f('fk_grants_tag_id_tags')),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_grants_user_id_users'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_grants')),
    sa.UniqueConstraint('user_id', 'role', 'tag_id', name=op.f('uq_grants_user_id_role_tag_id'))
    )
    with op.batch_alter_table('grants', schema=None) as batch_op:
        batch_op.create_index('ix_grants_tag_id', ['tag_id'], unique=False)

    op.create_table('login_flows',
    sa.Column('digest', sa.String(length=64).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=64), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=64), 'mysql'), nullable=False),
    sa.Column('user_id', sa.Uuid(), nullable=False),
    sa.Column('methods', sa.String(length=60).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=60), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=60), 'mysql'), nullable=False),
    sa.Column('created_at', shared.db.tables.base.UtcDateTime(), nullable=False),
    sa.Column('expires_at', shared.db.tables.base.UtcDateTime(), nullable=False),
    sa.Column('failures', sa.Integer(), nullable=False),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_login_flows_user_id_users'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('digest', name=op.f('pk_login_flows'))
    )
    with op.batch_alter_table('login_flows', schema=None) as batch_op:
        batch_op.create_index('ix_login_flows_user_id', ['user_id'], unique=False)

    op.create_table('one_time_links',
    sa.Column('digest', sa.String(length=64).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=64), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=64), 'mysql'), nullable=False),
    sa.Column('kind', sa.String(length=10).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=10), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=10), 'mysql'), nullable=False),
    sa.Column('user_id', sa.Uuid(), nullable=True),
    sa.Column('created_at', shared.db.tables.base.UtcDateTime(), nullable=False),
    sa.Column('expires_at', shared.db.tables.base.UtcDateTime(), nullable=False),
    sa.Column('used_at', shared.db.tables.base.UtcDateTime(), nullable=True),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_one_time_links_user_id_users'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('digest', name=op.f('pk_one_time_links'))
    )
    with op.batch_alter_table('one_time_links', schema=None) as batch_op:
        batch_op.create_index('ix_one_time_links_user_id', ['user_id'], unique=False)

    op.create_table('recovery_codes',
    sa.Column('user_id', sa.Uuid(), nullable=False),
    sa.Column('digest', sa.String(length=64).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=64), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=64), 'mysql'), nullable=False),
    sa.Column('used_at', shared.db.tables.base.UtcDateTime(), nullable=True),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_recovery_codes_user_id_users'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('user_id', 'digest', name=op.f('pk_recovery_codes'))
    )
    op.create_table('sessions',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('digest', sa.String(length=64).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=64), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=64), 'mysql'), nullable=False),
    sa.Column('user_id', sa.Uuid(), nullable=False),
    sa.Column('created_at', shared.db.tables.base.UtcDateTime(), nullable=False),
    sa.Column('seen_at', shared.db.tables.base.UtcDateTime(), nullable=False),
    sa.Column('expires_at', shared.db.tables.base.UtcDateTime(), nullable=False),
    sa.Column('address', sa.String(length=64).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=64), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=64), 'mysql'), nullable=False),
    sa.Column('agent', sa.String(length=200).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=200), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=200), 'mysql'), nullable=False),
    sa.Column('methods', sa.String(length=60).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=60), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=60), 'mysql'), nullable=False),
    sa.Column('strong_at', shared.db.tables.base.UtcDateTime(), nullable=False),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_sessions_user_id_users'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_sessions')),
    sa.UniqueConstraint('digest', name=op.f('uq_sessions_digest'))
    )
    with op.batch_alter_table('sessions', schema=None) as batch_op:
        batch_op.create_index('ix_sessions_expires_at', ['expires_at'], unique=False)
        batch_op.create_index('ix_sessions_user_id', ['user_id'], unique=False)

    with op.batch_alter_table('api_tokens', schema=None) as batch_op:
        batch_op.add_column(sa.Column('user_id', sa.Uuid(), nullable=True))
        batch_op.add_column(sa.Column('prefix', sa.String(length=12).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=12), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=12), 'mysql'), nullable=True))
        batch_op.add_column(sa.Column('permissions', sa.JSON(none_as_null=True), nullable=True))
        batch_op.add_column(sa.Column('tag_ids', sa.JSON(none_as_null=True), nullable=True))
        batch_op.add_column(sa.Column('expires_at', shared.db.tables.base.UtcDateTime(), nullable=True))
        batch_op.add_column(sa.Column('last_used_at', shared.db.tables.base.UtcDateTime(), nullable=True))
        batch_op.add_column(sa.Column('last_used_from', sa.String(length=64).with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=64), 'mariadb').with_variant(mysql.VARCHAR(charset='utf8mb4', collation='utf8mb4_bin', length=64), 'mysql'), nullable=True))
        batch_op.add_column(sa.Column('revoked_at', shared.db.tables.base.UtcDateTime(), nullable=True))
        batch_op.create_index('ix_api_tokens_user_id', ['user_id'], unique=False)
        batch_op.create_unique_constraint(batch_op.f('uq_api_tokens_prefix'), ['prefix'])
        batch_op.create_foreign_key(batch_op.f('fk_api_tokens_user_id_users'), 'users', ['user_id'], ['id'], ondelete='CASCADE')



def downgrade() -> None:
    """Take back."""
    with op.batch_alter_table('api_tokens', schema=None) as batch_op:
        batch_op.drop_constraint(batch_op.f('fk_api_tokens_user_id_users'), type_='foreignkey')
        batch_op.drop_constraint(batch_op.f('uq_api_tokens_prefix'), type_='unique')
        batch_op.drop_index('ix_api_tokens_user_id')
        batch_op.drop_column('revoked_at')
        batch_op.drop_column('last_used_from')
        batch_op.drop_column('last_used_at')
        batch_op.drop_column('expires_at')
        batch_op.drop_column('tag_ids')
        batch_op.drop_column('permissions')
        batch_op.drop_column('prefix')
        batch_op.drop_column('user_id')

    op.drop_table('sessions')
    op.drop_table('recovery_codes')
    op.drop_table('one_time_links')
    op.drop_table('login_flows')
    op.drop_table('grants')
    op.drop_table('users')
    op.drop_table('throttles')

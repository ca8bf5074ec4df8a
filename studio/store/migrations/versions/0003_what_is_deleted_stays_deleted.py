"""What is deleted stays deleted: its number is not given again, and what is left of its files is known"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    for table in ("datasets", "runs"):
        with op.batch_alter_table(table, recreate="always", table_kwargs={"sqlite_autoincrement": True}):
            pass
    op.create_table(
        "deletions",
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("path", name=op.f("pk_deletions")),
    )


def downgrade() -> None:
    op.drop_table("deletions")
    for table in ("runs", "datasets"):
        with op.batch_alter_table(table, recreate="always"):
            pass

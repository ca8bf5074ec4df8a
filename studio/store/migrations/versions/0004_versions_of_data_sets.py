"""Versions of data sets"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("datasets", sa.Column("upload_id", sa.String(), nullable=True))
    op.create_index(op.f("ix_datasets_upload_id"), "datasets", ["upload_id"])
    op.add_column("datasets", sa.Column("changed", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("runs", sa.Column("dataset_version", sa.Integer(), nullable=False, server_default="1"))


def downgrade() -> None:
    with op.batch_alter_table("runs") as batch:
        batch.drop_column("dataset_version")
    op.drop_index(op.f("ix_datasets_upload_id"), "datasets")
    with op.batch_alter_table("datasets") as batch:
        batch.drop_column("changed")
        batch.drop_column("upload_id")

"""Runs that go on after an interruption"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("runs", sa.Column("queued_at", sa.Double(), nullable=True))
    op.add_column("runs", sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("runs", sa.Column("died_at_step", sa.Integer(), nullable=True))
    op.add_column("runs", sa.Column("activity", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("runs", sa.Column("adjustments", sa.JSON(), nullable=False, server_default="{}"))
    op.add_column("runs", sa.Column("parent_id", sa.Integer(), nullable=True))
    op.execute("UPDATE runs SET queued_at = created_at")
    op.create_table(
        "checkpoints",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_checkpoints_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_checkpoints")),
    )
    op.create_index(op.f("ix_checkpoints_run_id"), "checkpoints", ["run_id"])


def downgrade() -> None:
    op.drop_table("checkpoints")
    with op.batch_alter_table("runs") as batch:
        for column in ("parent_id", "adjustments", "activity", "died_at_step", "attempts", "queued_at"):
            batch.drop_column(column)

"""Tokens predicted right"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("metrics", sa.Column("token_accuracy", sa.Double(), nullable=True))
    op.add_column("metrics", sa.Column("validation_accuracy", sa.Double(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("metrics") as batch:
        batch.drop_column("validation_accuracy")
        batch.drop_column("token_accuracy")

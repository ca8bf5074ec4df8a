"""Alembic's entry: runs the migrations over the connection that `studio.store.db` opened."""

from alembic import context

from studio.store.tables import Table

context.configure(
    connection=context.config.attributes["connection"], target_metadata=Table.metadata, render_as_batch=True
)
with context.begin_transaction():
    context.run_migrations()

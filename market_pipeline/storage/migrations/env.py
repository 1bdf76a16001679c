"""What Alembic runs: the revisions, inside the transaction that `schema.migrate` holds."""

from alembic import context

from market_pipeline.storage.schema import VERSION_TABLE
from market_pipeline.storage.bookkeeping import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    compare_type=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()

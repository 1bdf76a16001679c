"""What Alembic runs: the revisions, inside the transaction that `schema.migrate` holds."""

from alembic import context

from market_pipeline.storage.bookkeeping import metadata
from market_pipeline.storage.migrations.views import views_kept
from market_pipeline.storage.postgresql_schema import current_schema
from market_pipeline.storage.schema import VERSION_TABLE

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    # Otherwise Alembic takes the version of another schema of the search path for this one's.
    version_table_schema=current_schema(connection),
    compare_type=True,
    render_as_batch=True,
)
with context.begin_transaction(), views_kept(connection):
    context.run_migrations()

"""Run the revisions inside the transaction of `schema.migrate`; Alembic loads this file."""

from alembic import context

import market_pipeline.storage.schema.alert_tables  # noqa: F401  # registers the tables of operations, too
from market_pipeline.storage.migrations.views import views_checked
from market_pipeline.storage.schema.migrate import VERSION_TABLE, current_schema
from market_pipeline.storage.schema.tables import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    # Otherwise Alembic reads the version of another schema of the search path.
    version_table_schema=current_schema(connection),
    compare_type=True,
    render_as_batch=True,
)
with context.begin_transaction(), views_checked(connection):
    context.run_migrations()

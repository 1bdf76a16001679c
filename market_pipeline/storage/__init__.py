"""The database: tables, engine, bulk reading and writing, migrations, and the queries that the
checks and the overview ask. SQLite and PostgreSQL alike. No Dagster and no HTTP here."""

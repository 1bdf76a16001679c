"""The Dagster side: what runs, when, and what the UI shows. No HTTP, no SQL, no private parts of Dagster."""

"""The `market-pipeline` command: start everything on a laptop, play the demo, migrate the database."""

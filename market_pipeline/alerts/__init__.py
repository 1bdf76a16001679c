"""Messages to the people on call: what is told, when, and to whom. Imports no Dagster."""

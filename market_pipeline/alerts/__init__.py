"""Messages to the people on call: what is sent, when, and to which receivers. Imports no Dagster."""

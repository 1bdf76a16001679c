"""The only access to Dagster's instance and to its non-public parts."""

"""The one door to Dagster's instance and to the parts of Dagster that are not public."""

"""What the runs, schedules and sensors of Dagster write to the log."""

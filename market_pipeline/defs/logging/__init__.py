"""The log lines of runs, schedules and sensors."""

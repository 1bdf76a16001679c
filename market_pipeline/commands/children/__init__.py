"""Processes that a command starts: ended together with it, their output relayed as log lines."""

"""What a person at a terminal sees of a command that runs until it is stopped."""

"""The `market-pipeline` command: `main` declares what can be typed, other modules execute one command each."""

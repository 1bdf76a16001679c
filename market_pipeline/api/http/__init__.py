"""HTTP as every endpoint speaks it: problems, caching, cursors, negotiation, tracing."""

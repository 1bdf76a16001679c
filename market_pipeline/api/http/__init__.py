"""HTTP as every endpoint uses it: problems, responses, cursors, negotiation, parameters, tracing."""

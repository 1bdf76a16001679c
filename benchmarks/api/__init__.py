"""The HTTP API: how many requests it answers, how long they take, and beside what.

The server is a process of its own, as `market-pipeline serve` starts it; the requests come from this
process through connections that stay open.
"""

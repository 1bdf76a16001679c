"""The processes that commands start, and what they write."""

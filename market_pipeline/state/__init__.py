"""The state of the whole chain, from the schedule to the newest score: its facts, and what they mean.

`/readyz`, `/metrics`, the page and `market-pipeline doctor` say the same, because all of them ask here.
"""

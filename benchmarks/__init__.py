"""`python -m benchmarks`: what the pipeline costs, as ratios measured side by side in one run.

Absolute figures move with the machine; a ratio of two things measured in turn does not. Each row
names its bar; a missed bar is shown as missed and changes nothing else.
"""

"""`python -m faults`: the promises of the pipeline under real faults: killed processes, full disks, hostile answers.

Each section is a module with `figures(options)`; it prints what it measured beside what is promised. The command ends
with 1 if a promise does not hold. docs/reliability.md has the results.
"""

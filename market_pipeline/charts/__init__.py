"""Charts of prices: the expected band, flagged quotes, market events.

No detection, no SQL, no Dagster: rows come in as arguments (`pipeline/chart_rows.py` reads them). Matplotlib and Pillow
are imported inside the functions, so that deciding whether to draw does not pay for them. Matplotlib is used through
its object interface: pyplot keeps global state, which a long-lived server must not accumulate.
"""

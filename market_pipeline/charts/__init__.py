"""Pictures of prices: the expected band, what was flagged, market events.

No detection, no SQL, no Dagster. Matplotlib and Pillow are imported inside the functions, so that
whoever only decides whether to draw does not pay for them, and Matplotlib is used through its object
interface: pyplot keeps global state, which a long-lived server must not grow.
"""

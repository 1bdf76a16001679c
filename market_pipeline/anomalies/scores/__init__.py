"""Scores of every quote: volatility, hours, large moves, the market, and how rare each is. NumPy only."""

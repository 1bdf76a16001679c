"""Scores of every quote: volatility filter, large moves, the market, and how rare each score is."""

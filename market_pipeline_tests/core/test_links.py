from datetime import date

from market_pipeline.core.links import symbol_page


def test_the_page_of_a_symbol_and_of_its_day() -> None:
    assert symbol_page("https://prices.example.org/api", "BTC") == "https://prices.example.org/api/symbols/BTC"
    assert symbol_page("http://127.0.0.1:8000", "A/B", date(2026, 11, 22)) == (
        "http://127.0.0.1:8000/symbols/A%2FB?day=2026-11-22"
    )

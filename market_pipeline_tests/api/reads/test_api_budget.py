"""The budget over HTTP is the one that every process keeps to."""

from datetime import datetime

from market_pipeline.budget.status import budget_status, status_sentence
from market_pipeline.core.clock import iso
from market_pipeline.settings import load_settings


def test_the_budget_is_told_as_it_is(client_over, database):
    given = {
        "coingecko_plan": "demo", "coingecko_api_key": "CG-canary-key", "coingecko_monthly_credits": 500,
        "coingecko_requests_per_minute": 7,
    }
    answer = client_over(database, **given).get("/budget")
    assert answer.status_code == 200
    document = answer.json()
    settings = load_settings(None, database_url=database.url.render_as_string(hide_password=False), **given)
    status = budget_status(settings, database)
    expected = {
        name: iso(value) if isinstance(value, datetime) else value for name, value in vars(status).items()
    }
    assert document.keys() == {*expected, "in_words"}
    assert {**document, "now": None, "in_words": None} == {**expected, "now": None, "in_words": None}
    assert document["left_this_minute"] == 7
    assert (document["monthly_credits"], document["credits_left"]) == (500, 500)
    assert document["in_words"] == status_sentence(status)
    assert "canary" not in answer.text


def test_a_plan_without_a_cap_has_no_credits_left(client):
    document = client.get("/budget").json()
    assert document["monthly_credits"] is document["credits_left"] is document["cool_down_until"] is None
    assert document["cool_down_reason"] == ""

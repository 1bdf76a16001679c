"""Answers of a careless server that repeat the key it was sent."""

from market_pipeline.simulator.messages import HTML_TYPE, Answer, json_answer


def redirect(key: str) -> Answer:
    """302 to an address that nobody serves, with the key in it as a careless server would have it."""
    target = f"http://127.0.0.1:9/moved?key={key}"
    body = f'<html><body>You are being <a href="{target}">redirected</a>.</body></html>'
    return Answer(302, body.encode(), HTML_TYPE, {"Location": target, "X-Key": key})


def echo(key: str) -> Answer:
    """401 that repeats the key."""
    body = {"status": {"error_code": 10002, "error_message": f"The API key {key} is unknown"}}
    answer = json_answer(body, 401)
    return Answer(answer.status, answer.body, answer.content_type, {"X-Key": key})

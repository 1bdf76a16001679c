"""One trace id for each request, the caller's where it is valid."""

import uuid

from market_pipeline.api.http.tracing import trace_id_of

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_the_trace_id_of_a_caller_is_in_the_answer(client):
    for headers in ({"traceparent": PARENT}, {"X-Request-ID": "4bf92f3577b34da6a3ce929d0e0e4736"}):
        assert client.get("/healthz", headers=headers).headers["X-Request-ID"] == "4bf92f3577b34da6a3ce929d0e0e4736"


def test_an_invalid_id_of_a_caller_is_replaced_by_a_new_one():
    for headers in ({}, {"traceparent": PARENT.replace("4bf92f3577b34da6a3ce929d0e0e4736", "0" * 32)},
                    {"x-request-id": "a\nb" * 9}, {"x-request-id": "short"}, {"traceparent": "ff" + PARENT[2:]},
                    {"traceparent": f"{PARENT}-more"}):
        assert uuid.UUID(trace_id_of(headers)).version == 4


def test_a_later_version_of_a_traceparent_may_have_more():
    assert trace_id_of({"traceparent": f"01{PARENT[2:]}-more"}) == "4bf92f3577b34da6a3ce929d0e0e4736"


def test_what_is_not_there_is_a_problem_document(client):
    answer = client.get("/nowhere")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert document["type"].endswith("not-found") and document["status"] == 404
    assert document["trace_id"] == answer.headers["X-Request-ID"]

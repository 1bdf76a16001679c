"""Every endpoint held to its OpenAPI document by schemathesis: valid and invalid requests made up by the
hundred, in process and over a socket, on both databases; no answer that the document does not tell."""

import pytest
import schemathesis
from schemathesis.engine import events, from_schema

from market_pipeline.api.app import create_app
from market_pipeline_tests.api.conftest import served

# So many requests of each kind are made up for an endpoint, beside those that cover its document's borders.
EXAMPLES = 25
TOKEN = "a-token-of-the-tests"


@pytest.fixture(params=["in process", "over a socket"])
def document(request, service_of, some_history):
    """The OpenAPI document of an API over a database with some history; over the socket it wants a token."""
    if request.param == "in process":
        yield schemathesis.openapi.from_asgi("/openapi.json", create_app(service_of(api_without_token=True)))
    else:
        with served(create_app(service_of(api_token=TOKEN))) as address:
            schema = schemathesis.openapi.from_url(f"{address}/openapi.json")
            schema.config.update(headers={"Authorization": f"Bearer {TOKEN}"})
            yield schema


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # Those of the tester itself are not ours.
def test_every_answer_is_as_the_document_says(document):
    document.config.generation.update(max_examples=EXAMPLES, deterministic=True, database="none")
    tried, wrong = set(), []
    for event in from_schema(document).execute():
        if isinstance(event, events.ScenarioFinished):
            tried.update(_asked(event.recorder))
            wrong += _failed(event.recorder)
        elif isinstance(event, (events.NonFatalError, events.FatalError)):
            wrong.append(str(event))
    assert wrong == []
    assert tried == {operation.ok().label for operation in document.get_all_operations()}


def _asked(recorder):
    return {node.value.operation.label for node in recorder.cases.values()}


def _failed(recorder):
    """What was asked, and what is wrong with the answer."""
    return [
        f"{check.name}: {recorder.cases[case].value.as_curl_command()}\n{check.failure_info.failure}"
        for case, checks in recorder.checks.items()
        for check in checks
        if check.failure_info is not None
    ]

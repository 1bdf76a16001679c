"""Receivers through Apprise: real HTTP and SMTP on loopback, and no secret in any log, name or error."""

import email
import logging
import time
from collections.abc import Iterator
from email.message import Message
from typing import Any

import pytest

from market_pipeline.alerts.receivers import Receiver, ReceiverError, receivers_of
from market_pipeline.commands.ports import free_port
from market_pipeline.logs.redaction import secret_parts, secrets_of
from market_pipeline.settings import load_settings
from market_pipeline.storage.queries.alert_outbox import AlertMessage, Transition
from market_pipeline_tests.alerts.receiving import PickyReceiver, serving
from market_pipeline_tests.canaries import PASSWORD, PASSWORD_IN_URL, heard

TOKEN = "Kanarienvogel-hook-1"


def message(transition: Transition = "opened") -> AlertMessage:
    return AlertMessage("episode", transition, "tick-failed", "critical", "Title", "Body.")


@pytest.fixture
def server() -> Iterator[PickyReceiver]:
    with serving() as running:
        yield running


def test_a_failure_is_a_reason_without_secrets_and_nothing_of_them_is_logged(
    server: PickyReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    root = f"127.0.0.1:{server.server_port}"
    accepted = Receiver(f"json://me:{PASSWORD_IN_URL}@{root}/{TOKEN}?+X-Token={TOKEN}")
    assert accepted.send("Title", "Body <b>& more", message()) is None
    assert [(one["title"], one["message"]) for one in server.messages] == [("Title", "Body <b>& more")]
    closed = Receiver(f"json://me:{PASSWORD_IN_URL}@127.0.0.1:9/{TOKEN}")
    server.status = 302
    refused = Receiver(f"json://{root}/{TOKEN}")
    reasons = {one.name: one.send("Title", "Body.", message()) for one in (closed, refused)}
    assert all(reasons.values()), "a redirect is not followed: it would take the token elsewhere"
    assert heard("name and reason", repr(reasons)) == [] and PASSWORD not in repr(reasons)
    assert [place for record in caplog.records for place in heard("log", repr(vars(record)))] == []


def test_a_receiver_that_never_answers_is_given_up_after_seconds() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        receiver = Receiver(f"json://127.0.0.1:{silent.getsockname()[1]}/?cto=0.2&rto=0.2")
        begun = time.monotonic()
        assert receiver.send("Title", "Body.", message())
        assert time.monotonic() - begun < 5


def test_urls_that_cannot_be_used_are_named_by_their_number() -> None:
    with pytest.raises(ReceiverError) as error:
        receivers_of(["json://127.0.0.1/x", f"slack://{TOKEN}", f"nonsense://{TOKEN}"])
    text = str(error.value)
    assert "number 2 of 3: Apprise cannot use the slack:// URL" in text and "number 3 of 3" in text
    assert heard("error", text) == []


def test_an_email_arrives() -> None:
    from aiosmtpd.controller import Controller

    class Inbox:
        def __init__(self) -> None:
            self.mails: list[Message] = []

        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
            self.mails.append(email.message_from_bytes(envelope.content))
            return "250 OK"

    inbox = Inbox()
    port = free_port()
    controller = Controller(inbox, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        url = f"mailto://127.0.0.1:{port}/?from=market@example.org&to=oncall@example.org&mode=insecure"
        assert Receiver(url).send("CRITICAL: Ticks fail", "Body.\nid 1234", message()) is None
    finally:
        controller.stop()
    [mail] = inbox.mails
    assert (mail["Subject"], mail["To"]) == ("CRITICAL: Ticks fail", "oncall@example.org")
    assert "id 1234" in str(mail)


@pytest.mark.parametrize(("url", "secret", "plain"), [
    ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ", ["T1JJ3T3L2", "TIiajkdnlazkcOXrIdevi7FQ"], []),
    ("tgram://123456789:abcdefg_hijklmnop/12315544/", ["abcdefg_hijklmnop", "123456789"], []),
    ("mailtos://me%40example.org:pa%2Fss1word@smtp.example.org", ["pa%2Fss1word", "pa/ss1word"], ["smtp.example.org"]),
    ("ntfys://ntfy.sh/secret-topic?token=tk_0123456789", ["secret-topic", "tk_0123456789"], ["ntfy.sh"]),
    ("jsons://hooks.example.org/services/0a1b2c3d", ["0a1b2c3d"], ["services", "hooks.example.org"]),
    ("json://127.0.0.1:8712/", [], ["127.0.0.1:8712/"]),
])
def test_the_parts_of_a_url_that_may_be_secrets(url: str, secret: list[str], plain: list[str]) -> None:
    found = secret_parts(url)
    assert found >= set(secret) and not found & set(plain)


def test_the_urls_of_the_settings_are_secrets() -> None:
    settings = load_settings(
        None, alert_urls=f"json://host.org/{TOKEN},slack://a/b/c  tgram://x:y/1,2", alert_heartbeat_url="https://h.org/uuid-1"
    )
    assert settings.alert_receivers == [f"json://host.org/{TOKEN}", "slack://a/b/c", "tgram://x:y/1,2"]
    assert {TOKEN, "uuid-1"} <= set(secrets_of(settings)) and heard("settings", repr(settings)) == []

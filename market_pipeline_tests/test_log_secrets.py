"""Secrets that sing, put into log lines in every way: nothing of them reaches any handler or output."""

import io
import json
import logging
import traceback
from collections.abc import Iterator

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from market_pipeline.logs import bound, configure_logging, get_logger, log_to_stderr, root_handler
from market_pipeline.settings import load_settings
from market_pipeline_tests.canaries import KEY, PASSWORD, PASSWORD_IN_URL, heard
from market_pipeline_tests.logging_state import restored

TOKEN = "Kanarienvogel-token-0123456789"
ODD = 'Kanarienvogel"\\\'\n<&>%41 Ä'

logger = get_logger("market_pipeline.canaries")


class Listening(logging.Handler):
    """A handler that is not ours: it keeps all that a record holds when it comes, and formats it as usual."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []
        self.setFormatter(logging.Formatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        kept = {name: value for name, value in vars(record).items() if name != "exc_info"}
        self.told.append(repr(kept) + self.format(record))


@pytest.fixture(params=["json", "console"])
def silent(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Iterator[Listening]:
    """In the end nothing is heard in what our handler wrote and in what another one got."""
    listening = Listening()
    with restored():
        logging.getLogger("market_pipeline").addHandler(listening)
        settings = load_settings(
            None, database_url=f"postgresql://me:{PASSWORD_IN_URL}@host/x", coingecko_plan="pro", coingecko_api_key=KEY,
            api_token=TOKEN, log_format=request.param, log_level="DEBUG",
        )
        configure_logging(settings)
        log_to_stderr("DEBUG", request.param, [ODD])
        yield listening
        written = capsys.readouterr().err
    assert written, "nothing was logged, so nothing was looked at"
    if request.param == "json":
        assert all(json.loads(line) for line in written.splitlines())
    assert heard("stderr", written) == [] and "[hidden]" in written
    assert [place for told in listening.told for place in heard("handler", told)] == []


ALL = [KEY, PASSWORD, PASSWORD_IN_URL, TOKEN, ODD]


@pytest.mark.parametrize("secret", ALL)
def test_in_messages_arguments_and_extras(silent: Listening, secret: str) -> None:
    logger.info("plain " + secret)
    logger.info("argument %s and %r", secret, {"a": [secret]})
    logger.info("cut %.3s", secret)
    logger.info({"message": secret})
    deep = {"a": [{"b": (secret,)}], secret: 1}
    logger.info("extras", extra={"text": secret, "deep": deep, "bytes": secret.encode()})
    logger.info("object", extra={"error": ValueError(secret), "url": f"http://u:{secret}@h/?x_cg_pro_api_key={secret}"})
    with bound(symbol=secret, nested={"a": secret}):
        logger.info("bound")
    logger.info("json %s", json.dumps({"password": secret}))
    assert len(silent.told) == 8


@pytest.mark.parametrize("secret", ALL)
def test_in_exceptions_their_causes_notes_and_stacks(silent: Listening, secret: str) -> None:
    def chained() -> None:
        try:
            raise KeyError(secret)
        except KeyError as error:
            try:
                raise ConnectionError(f"to postgresql://me:{secret}@host failed") from error
            except ConnectionError:
                raise RuntimeError(f"while handling {secret!r}")  # noqa: B904  # the context is what is tested

    try:
        chained()
    except RuntimeError as error:
        if hasattr(error, "add_note"):
            error.add_note(f"a note of {secret}")
        logger.exception("failed with %s", error)
        logger.error("again", exc_info=error, stack_info=True)
        logger.error("text", extra={"trace": traceback.format_exc(), "headers": {"Authorization": f"Bearer {secret}"}})
    text_of_it = "".join(silent.told)
    assert "KeyError" in text_of_it and "during handling" in text_of_it.lower() and "RuntimeError" in text_of_it


def test_in_the_lines_of_libraries(silent: Listening) -> None:
    """They have no filter; our formatter hides what they say."""
    library = logging.getLogger("library")
    library.warning("connecting to %s with %s", f"postgresql://me:{PASSWORD}@h", {"x-cg-pro-api-key": KEY})
    try:
        raise ValueError(ODD)
    except ValueError:
        library.exception("failed", extra={"token": TOKEN}, stack_info=True)
    record = logging.LogRecord("library", logging.ERROR, "", 0, "%d", (PASSWORD,), None)
    handler = root_handler()
    assert handler is not None
    handler.handle(record)


def test_in_an_error_of_the_driver(silent: Listening) -> None:
    """What a database refuses, it quotes."""
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        try:
            connection.execute(text("SELECT * FROM nowhere WHERE a = :a"), {"a": PASSWORD})
        except Exception as error:
            logger.error("The database failed: %s", error, exc_info=error)
    engine.dispose()
    logger.error("at %s", make_url(f"postgresql://me:{PASSWORD_IN_URL}@host/x").render_as_string(hide_password=False))


def test_a_line_without_a_secret_keeps_every_word(silent: Listening) -> None:
    message = "GET /coins/bitcoin/market_chart/range: status 200 in 117 ms (attempt 1)"
    logger.info(message, extra={"endpoint": "/coins/bitcoin"})
    logger.info("and [hidden] stays: %s", KEY)
    assert message in silent.told[0]


def test_secrets_of_an_earlier_configuration_stay_hidden(capsys: pytest.CaptureFixture[str]) -> None:
    with restored():
        log_to_stderr("INFO", "json", [KEY])
        log_to_stderr("INFO", "json", [PASSWORD])
        logger.info("%s %s", KEY, PASSWORD)
    assert json.loads(capsys.readouterr().err)["message"] == "[hidden] [hidden]"


@pytest.mark.parametrize("secret", ["", "a", "1", "ab", "INFO"])
def test_a_secret_that_is_no_secret_blots_nothing_out(capsys: pytest.CaptureFixture[str], secret: str) -> None:
    with restored():
        log_to_stderr("INFO", "json", [secret])
        logger.info("abc 1 a ab aINFOb", extra={"a": 1, "symbol": "ab", "url": "http://h"})
    line = json.loads(capsys.readouterr().err)
    assert (line["message"], line["a"], line["symbol"], line["level"]) == ("abc 1 a ab aINFOb", 1, "ab", "INFO")


@pytest.mark.parametrize("secret", ["timestamp", "message", "market_pipeline", "level"])
def test_a_secret_that_is_a_word_of_every_line_takes_no_field_away(
    capsys: pytest.CaptureFixture[str], secret: str
) -> None:
    with restored():
        log_to_stderr("INFO", "json", [secret])
        logger.info("the %s", secret)
    line = json.loads(capsys.readouterr().err)
    assert list(line) == ["timestamp", "level", "logger", "message"]
    assert (line["logger"], line["message"]) == ("market_pipeline.canaries", "the [hidden]")


def test_other_handlers_get_the_record_before_it_is_dropped_anywhere() -> None:
    """The filter is the logger's own, so a handler anywhere above sees what it left."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    with restored():
        log_to_stderr("INFO", "json", [PASSWORD])
        logging.getLogger("market_pipeline").addHandler(handler)
        get_logger("market_pipeline.a.b.c").warning("deep %s", PASSWORD)
    assert stream.getvalue() == "deep [hidden]\n"

"""Receivers of alerts, reached through Apprise, which is imported when the first one is made.

Apprise logs whole URLs at DEBUG, and tokens in them at other levels: its log is cut off, and only the reason for a
failure is taken from it, masked.
"""

import logging
import warnings
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from market_pipeline.logs.redaction import Masker, secret_parts
from market_pipeline.storage.queries.alert_outbox import AlertMessage

# One message to one receiver, with all retries of the connection.
_SEND_SECONDS = 30.0
_LONGEST_REASON = 300


class ReceiverError(ValueError):
    """A URL cannot be used; the message names it without its secrets."""


class Receiver:
    """One receiver; `name` identifies it without its secrets, e.g. `slack-1a2b3c4d`."""

    def __init__(self, url: str) -> None:
        _cut_off_logs()
        import apprise

        self.name = receiver_name(url)
        self._masker = Masker(secret_parts(url))
        with warnings.catch_warnings():
            # The first one loads the plugins of all services, some of which import what Python deprecates.
            warnings.simplefilter("ignore")
            service = apprise.Apprise.instantiate(url, asset=_asset())
        if service is None:
            kind = url.partition("://")[0]
            raise ReceiverError(f"Apprise cannot use the {kind}:// URL: its form is wrong, or it names no such service")
        if "overflow=" not in url:
            service.overflow_mode = apprise.OverflowMode.TRUNCATE
        self._services = apprise.Apprise(asset=_asset())
        self._services.add(service)

    def send(self, title: str, body: str, about: AlertMessage) -> str | None:
        """Send one message; return None once it is accepted, else why not, without secrets. Never raises."""
        import apprise

        kind = apprise.NotifyType.SUCCESS if about.transition == "recovered" else _notify_type(about)
        plain = apprise.NotifyFormat.TEXT
        try:
            result = self._services.notify(body=body, title=title, notify_type=kind, body_format=plain)
        except Exception as error:  # a plugin of any service may raise anything
            return self._masker.text(f"{type(error).__name__}: {error}")[:_LONGEST_REASON]
        return None if result else self._masker.text(_reason(result))[:_LONGEST_REASON]


def receivers_of(urls: Sequence[str]) -> list[Receiver]:
    """Make the receivers of these URLs; ReceiverError names all that cannot be used."""
    receivers, wrong = [], []
    for number, url in enumerate(urls, 1):
        try:
            receivers.append(Receiver(url))
        except ReceiverError as error:
            wrong.append(f"ALERT_URLS, number {number} of {len(urls)}: {error}")
    if wrong:
        raise ReceiverError("; ".join(wrong) + ". https://github.com/caronc/apprise/wiki has the form of each service")
    return receivers


def receiver_name(url: str) -> str:
    """Return a name for the receiver at `url` that does not show its secrets."""
    return f"{url.partition('://')[0].lower()}-{sha256(url.encode()).hexdigest()[:8]}"


def _asset() -> Any:
    import apprise

    return apprise.AppriseAsset(
        app_id="market_pipeline", app_desc="market_pipeline", app_url="",
        # No files of its own, no pictures from the network, and no redirect: it would carry the token elsewhere.
        storage_mode="memory", pgp_autogen=False, pem_autogen=False, image_url_mask=False, image_url_logo="",
        http_redirects=False, async_mode=False, service_timeout=_SEND_SECONDS, secure_logging=True,
    )


def _cut_off_logs() -> None:
    # At DEBUG it logs the path of each request.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.WARNING)
    log = logging.getLogger("apprise")
    log.propagate = False
    log.setLevel(logging.WARNING)
    if not log.handlers:
        log.addHandler(logging.NullHandler())


def _notify_type(about: AlertMessage) -> Any:
    import apprise

    types = {"critical": apprise.NotifyType.FAILURE, "alert": apprise.NotifyType.WARNING}
    return types.get(about.level, apprise.NotifyType.INFO)


def _reason(result: Any) -> str:
    logs = [entry.message for service in result for attempt in service.attempts for entry in attempt.logs]
    return logs[-1] if logs else "it was not accepted"

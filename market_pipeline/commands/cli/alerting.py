"""Commands over alerts: try, list, silence."""

import click

from market_pipeline.commands.cli.parameters import demo_option, examples


@click.command(epilog=examples("alerts", "alerts --demo"))
@demo_option
def alerts() -> int:
    """List open and recent alerts, receivers and snoozes."""
    from market_pipeline.commands.alerts import show

    return show()


@click.command(
    epilog=examples(
        "snooze BTC large_move --for 2h",
        "snooze '*' credits-low --for 3d",
        "snooze BTC '*' --off",
    )
)
@click.argument("symbol")
@click.argument("kind")
@click.option("--for", "length", metavar="TIME", help="How long: 30m, 2h, 3d.")
@click.option("--off", is_flag=True, help="End it now.")
@demo_option
def snooze(symbol: str, kind: str, length: str | None, off: bool) -> int:
    """Send no alerts about a symbol and kind for a time.

    SYMBOL is one that is collected, KIND that of an anomaly or condition, as `alerts` lists them; '*' is any. What
    still lasts when the time is over is reported then.
    """
    from market_pipeline.commands.alerts import KINDS, parse_length
    from market_pipeline.commands.alerts import snooze as execute

    if (length is None) != off:
        raise click.UsageError("write either --for with a length of time, or --off")
    if kind not in ("*", *KINDS):
        raise click.BadParameter(f"{kind!r} is not a kind; those are {', '.join(KINDS)}, or '*' for all")
    return execute(symbol.upper(), kind, None if length is None else parse_length(length))


@click.command("alert-test", epilog=examples("alert-test"))
@demo_option
def alert_test() -> int:
    """Send a test message to each receiver in ALERT_URLS.

    The exit code is 1 if one does not accept it.
    """
    from market_pipeline.commands.alerts import test

    return test()


ALERTING: tuple[click.Command, ...] = (alerts, snooze, alert_test)

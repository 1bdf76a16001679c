"""What the budget says when somebody has to wait or goes away empty-handed."""

from market_pipeline.budget.credits import Shortage
from market_pipeline.budget.rules import SECOND, Account, Limits, State, ahead
from market_pipeline.core.clock import from_microseconds


def why_wait(state: State, account: Account, limits: Limits, now: int, name: str, live: bool) -> str:
    """The reason for which the caller with this ticket, or one who comes now, has to wait."""
    if state.cool_down_until > now:
        return f"nobody may ask before {_time(state.cool_down_until)} ({state.cool_down_reason})"
    waiting = ahead(state, name, live)
    queue = f" and {waiting} wait ahead" if waiting else ""
    return f"{limits.requests_per_minute} requests a minute are the limit of {account.name}{queue}"


def too_long(state: State, why: str, now: int, turn: int, waited: float, max_wait: float) -> str:
    """The verdict where the turn would come too late for one who `waited` so many seconds already.

    `why` is as `why_wait` says it. A pause is the server's: no setting of ours ends it.
    """
    already = f" after {waited:.0f} s of waiting" if waited >= 1 else ""
    remedy = "" if state.cool_down_until > now else (
        ", or allow more with COINGECKO_REQUESTS_PER_MINUTE if the plan does"
    )
    return (
        f"its turn would come in {(turn - now) / SECOND:.0f} s{already}, at {_time(turn)}, and "
        f"{max_wait:.0f} s is the longest wait: {why}. Try again then{remedy}."
    )


def no_credits(short: Shortage, account: Account) -> str:
    """The verdict where the credits of the month do not suffice."""
    kept = f"; {short.reserved:,} are kept for the live requests of the rest of the month"
    return (
        f"{short.used:,} of the {short.cap:,} credits of this month of {account.name} are used, "
        f"{short.left:,} are left{kept if short.reserved else ''}. They renew on "
        f"{short.renews_at:%Y-%m-%d} 00:00 UTC; COINGECKO_MONTHLY_CREDITS sets the cap."
    )


def _time(moment: int) -> str:
    return f"{from_microseconds(moment):%Y-%m-%d %H:%M:%S} UTC"

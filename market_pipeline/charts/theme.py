"""The colours of a picture, for a light and for a dark page. Both have an opaque background of their own."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Theme:
    """Colours as Matplotlib takes them; `kinds` is the colour of each kind of anomaly.

    The kinds follow the palette of Okabe and Ito ("Color Universal Design", 2008), which readers with
    any of the common forms of colour blindness can tell apart, made darker or lighter until each stands
    out from the paper; shapes tell them apart as well.
    """

    paper: str
    ink: str
    faint: str
    grid: str
    line: str
    one_sigma: str
    three_sigma: str
    silence: str
    event: str
    event_ink: str
    kinds: Mapping[str, str]


LIGHT = Theme(
    paper="#ffffff",
    ink="#1c2530",
    faint="#5a6673",
    grid="#e3e7ec",
    line="#20323f",
    one_sigma="#b9d0e6",
    three_sigma="#e2ecf6",
    silence="#a3acb5",
    event="#fcebc6",
    event_ink="#7a4b00",
    kinds={
        "user_threshold": "#a86500",
        "jump": "#d1400c",
        "large_move": "#b0307f",
        "idiosyncratic": "#0068b5",
        "bad_tick": "#1c2530",
        "stale_feed": "#00805c",
        "gap_move": "#2a8fc4",
    },
)

DARK = Theme(
    paper="#14191f",
    ink="#e8ecf0",
    faint="#9aa7b4",
    grid="#2a323b",
    line="#f1f5f8",
    one_sigma="#35597d",
    three_sigma="#20344a",
    silence="#5f6b77",
    event="#4f3c12",
    event_ink="#f5cd7b",
    kinds={
        "user_threshold": "#f0b429",
        "jump": "#ff6b3d",
        "large_move": "#ee86c0",
        "idiosyncratic": "#4da6ff",
        "bad_tick": "#ffffff",
        "stale_feed": "#2fd0a0",
        "gap_move": "#8fdcff",
    },
)

THEMES: Mapping[str, Theme] = {"light": LIGHT, "dark": DARK}

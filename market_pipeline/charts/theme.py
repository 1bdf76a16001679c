"""The colours of a picture, for a light and for a dark page. Both have an opaque background of their own."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Theme:
    """Colours as Matplotlib takes them; `kinds` is the colour of each kind of anomaly.

    The colours of kinds are far enough apart for readers who lack any one kind of cone (as simulated by
    Machado, Oliveira and Fernandes, "A physiologically-based model for simulation of color vision
    deficiency", 2009), and each stands out from the paper; shapes tell the kinds apart as well.
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
        "user_threshold": "#b77409",
        "jump": "#97100a",
        "large_move": "#b93fdd",
        "idiosyncratic": "#1530e8",
        "bad_tick": "#1c2530",
        "stale_feed": "#1b6a50",
        "gap_move": "#1390a6",
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
        "user_threshold": "#eeca1a",
        "jump": "#ff6b3d",
        "large_move": "#d475a9",
        "idiosyncratic": "#4da6ff",
        "bad_tick": "#ffffff",
        "stale_feed": "#17df79",
        "gap_move": "#8cdbfe",
    },
)

THEMES: Mapping[str, Theme] = {"light": LIGHT, "dark": DARK}

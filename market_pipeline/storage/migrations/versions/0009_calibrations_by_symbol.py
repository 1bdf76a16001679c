"""Store the calibrations of the detectors by symbol, so that installations that share a database have their own.

Each document is split: what it says of a coin goes with the hours and the tails of all coins.
"""

import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op

from market_pipeline.core.symbols import KNOWN_COINS, UNKNOWN_COIN
from market_pipeline.storage.schema.types import Name, UtcTimestamp

revision = "0009"
down_revision = "0008"

_BEFORE = "detector_calibrations_before"
_ROWS_AT_ONCE = 10
# What a tail of all coins is called.
_ALL = "*"


def upgrade() -> None:
    config = op.get_context().config
    configured = config.attributes["coins"] if config else {}
    ids = {**KNOWN_COINS, **configured, **_ids_of_prices(configured)}
    before = _set_aside()
    table = _create(
        "What is usual: hour factors and score tails, one row per as-of time and coin; never changed once stored.",
        "The calibration of the coin as JSON, with the hours and the tails of all coins.",
        [
            sa.Column("symbol", Name(20), nullable=False, comment="Upper-case symbol, e.g. BTC."),
            sa.Column(
                "coin_id", Name(100), nullable=False,
                comment="CoinGecko's id of the coin that was asked for, e.g. bitcoin.",
            ),
        ],
    )
    connection = op.get_bind()
    for rows in connection.execute(sa.select(before)).mappings().partitions(_ROWS_AT_ONCE):
        for row in rows:
            parts = _split(json.loads(row["document"]), list(ids))
            connection.execute(
                table.insert(),
                [
                    {**row, "symbol": symbol, "coin_id": ids.get(symbol, UNKNOWN_COIN), "document": json.dumps(part)}
                    for symbol, part in parts.items()
                ],
            )
    op.drop_table(_BEFORE)


def downgrade() -> None:
    """Join the documents of a time again; of several coins of a symbol the last one's stays."""
    before = _set_aside("symbol", "coin_id")
    table = _create(
        "What is usual: hour factors and score tails, one row per as-of time; never changed once stored.",
        "The calibration as JSON.",
        [],
    )
    connection = op.get_bind()
    joined: dict[tuple[Any, str], dict[str, Any]] = {}
    for row in connection.execute(sa.select(before).order_by(before.c.symbol)).mappings():
        part = json.loads(row["document"])
        first = joined.setdefault((row["as_of"], row["detector_version"]), {**row, "document": part})["document"]
        first["coins"] |= part["coins"]
        first["tails"] |= {key: tail for key, tail in part["tails"].items() if _coin_of(key) != _ALL}
    for whole in joined.values():
        kept = {name: whole[name] for name in ("as_of", "detector_version", "calibrated_at")}
        connection.execute(table.insert().values(**kept, document=json.dumps(whole["document"])))
    op.drop_table(_BEFORE)


def _ids_of_prices(configured: Mapping[str, str]) -> dict[str, str]:
    """Return the coin of each symbol's prices; of several the configured one."""
    prices = sa.table("raw_prices", sa.column("symbol"), sa.column("coin_id"))
    found = op.get_bind().execute(sa.select(prices.c.symbol, prices.c.coin_id).distinct())
    return dict(sorted(map(tuple, found), key=lambda pair: configured.get(pair[0]) == pair[1]))


def _split(document: dict[str, Any], symbols: list[str]) -> dict[str, dict[str, Any]]:
    """Return the document of each coin; one without coins applies to all `symbols`."""
    return {
        symbol: {
            **document,
            "coins": {name: coin for name, coin in document["coins"].items() if name == symbol},
            "tails": {key: tail for key, tail in document["tails"].items() if _coin_of(key) in (symbol, _ALL)},
        }
        for symbol in document["coins"] or symbols
    }


def _coin_of(key: str) -> str:
    return key.rsplit(" ", 2)[0]


def _set_aside(*more: str) -> sa.TableClause:
    op.rename_table("detector_calibrations", _BEFORE)
    if op.get_bind().dialect.name == "postgresql":
        # Its name is needed for the key of the table that takes its place.
        op.drop_constraint("detector_calibrations_pkey", _BEFORE)
    return sa.table(
        _BEFORE,
        sa.column("as_of", UtcTimestamp()),
        sa.column("calibrated_at", UtcTimestamp()),
        *(sa.column(name) for name in ("detector_version", "document", *more)),
    )


def _create(comment: str, document: str, coin: list["sa.Column[Any]"]) -> sa.Table:
    return op.create_table(
        "detector_calibrations",
        sa.Column(
            "as_of", UtcTimestamp(), nullable=False,
            comment="Made from quotes before this time only, UTC; scores days from then on.",
        ),
        sa.Column(
            "detector_version", Name(40), nullable=False,
            comment="Version of the detectors whose scores it calibrates.",
        ),
        *coin,
        sa.Column("document", sa.Text(), nullable=False, comment=document),
        sa.Column("calibrated_at", UtcTimestamp(), nullable=False, comment="When it was computed, UTC."),
        sa.PrimaryKeyConstraint(
            "as_of", "detector_version", *(column.name for column in coin), name=op.f("detector_calibrations_pkey")
        ),
        sqlite_with_rowid=False,
        comment=comment,
    )

"""What is usually written instead: one endpoint, an ORM model, a response model, a session for each request.

It has no trace id, no log, no ETag, no paging and no formats.
"""

import os
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Annotated, Any

from fastapi import Depends, FastAPI
from pydantic import BaseModel, ConfigDict
from sqlalchemy import BigInteger, DateTime, create_engine, select
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker
from sqlalchemy.types import TypeDecorator, TypeEngine

_engine = create_engine(os.environ["BARE_DATABASE_URL"])
_sessions = sessionmaker(_engine)


class _Time(TypeDecorator[datetime]):
    """The stored time: integer microseconds on SQLite, timestamptz on PostgreSQL."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(BigInteger() if dialect.name == "sqlite" else DateTime(timezone=True))

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime:
        return datetime.fromtimestamp(value / 1e6, timezone.utc) if dialect.name == "sqlite" else value


class Base(DeclarativeBase):
    pass


class PricePoint(Base):
    __tablename__ = "raw_prices"

    symbol: Mapped[str] = mapped_column(primary_key=True)
    coin_id: Mapped[str] = mapped_column(primary_key=True)
    timestamp: Mapped[datetime] = mapped_column(_Time, primary_key=True)
    price: Mapped[float]
    source: Mapped[str]
    ingested_at: Mapped[datetime] = mapped_column(_Time)


class PricePointOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    symbol: str
    timestamp: datetime
    price: float
    source: str
    ingested_at: datetime


def _session() -> Iterator[Session]:
    with _sessions() as session:
        yield session


app = FastAPI()


@app.get("/prices/{symbol}", response_model=list[PricePointOut])
def prices(symbol: str, session: Annotated[Session, Depends(_session)], limit: int = 100) -> list[PricePoint]:
    chosen = select(PricePoint).where(PricePoint.symbol == symbol)
    return list(session.scalars(chosen.order_by(PricePoint.timestamp.desc()).limit(limit)))


@app.get("/healthz")
def healthz() -> str:
    return "ok"

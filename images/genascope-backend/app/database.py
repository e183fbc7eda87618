"""One engine for the process, one session for a request."""

from collections.abc import Iterator
from functools import cache

from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import Session

from app.settings import settings


@cache
def engine() -> Engine:
    return create_engine(settings().database_url, pool_pre_ping=True)


def session() -> Iterator[Session]:
    with Session(engine()) as opened:
        yield opened

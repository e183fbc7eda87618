"""The HTTP service: `uvicorn app.main:app`."""

import platform
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, status
from fastapi.security import OAuth2PasswordRequestForm
from pydantic import BaseModel, Field
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app import analysis, security
from app.database import session
from app.models import User

app = FastAPI(title="genascope")
Database = Annotated[Session, Depends(session)]


class Texts(BaseModel):
    texts: list[str] = Field(min_length=1, max_length=1000)


@app.get("/health")
def health(database: Database) -> dict[str, str]:
    database.execute(text("select 1"))
    return {"status": "ok", "machine": platform.machine()}


@app.post("/token")
def token(
    form: Annotated[OAuth2PasswordRequestForm, Depends()], database: Database
) -> dict[str, str]:
    user = database.scalar(select(User).where(User.email == form.username))
    if user is None or not security.passwords.verify(form.password, user.password_hash):
        raise HTTPException(status.HTTP_401_UNAUTHORIZED, "unknown user or password")
    return {"access_token": security.make_token(user.email), "token_type": "bearer"}


@app.post("/analysis")
def analyse(body: Texts) -> dict[str, Any]:
    try:
        return analysis.analyse(body.texts)
    except analysis.Unavailable as error:
        raise HTTPException(status.HTTP_501_NOT_IMPLEMENTED, f"{error} is not installed") from error

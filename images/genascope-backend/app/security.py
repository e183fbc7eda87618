"""Passwords and bearer tokens."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import Depends, HTTPException, status
from fastapi.security import OAuth2PasswordBearer
from jose import JWTError, jwt
from passlib.context import CryptContext

from app.settings import settings

ALGORITHM = "HS256"
passwords = CryptContext(schemes=["bcrypt"])
bearer = OAuth2PasswordBearer(tokenUrl="token")


def make_token(email: str) -> str:
    expires = datetime.now(UTC) + timedelta(minutes=settings().token_minutes)
    secret = settings().token_secret.get_secret_value()
    return jwt.encode({"sub": email, "exp": expires}, secret, algorithm=ALGORITHM)


def current_email(token: Annotated[str, Depends(bearer)]) -> str:
    secret = settings().token_secret.get_secret_value()
    try:
        return jwt.decode(token, secret, algorithms=[ALGORITHM])["sub"]
    except (JWTError, KeyError) as error:
        raise HTTPException(status.HTTP_401_UNAUTHORIZED, "token not accepted") from error

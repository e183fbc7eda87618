"""Settings, from the environment: `GENASCOPE_DATABASE_URL` and so on."""

from functools import cache

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="GENASCOPE_", env_file=".env")

    database_url: str = "sqlite:////tmp/genascope.db"
    redis_url: str = "redis://localhost:6379/0"
    token_secret: SecretStr = SecretStr("change me")
    token_minutes: int = 30
    reports_bucket: str = "genascope-reports"


@cache
def settings() -> Settings:
    return Settings()

"""One route that says where it runs."""

import platform

from fastapi import FastAPI

app = FastAPI(title="hello")


@app.get("/")
def hello() -> dict[str, str]:
    return {
        "hello": "world",
        "machine": platform.machine(),
        "python": platform.python_version(),
    }

"""The application, before it has a database."""

from fastapi import FastAPI

app = FastAPI(title="Demo shop")


@app.get("/")
async def root() -> dict[str, str]:
    return {"shop": "open"}

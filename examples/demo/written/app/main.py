"""The application. Its lifespan opens the database once and closes it at the end."""

from fastapi import FastAPI

from app.customers import router as customers
from app.db.session_manager import lifespan
from app.orders import router as orders

app = FastAPI(title="Demo shop", lifespan=lifespan)
app.include_router(customers)
app.include_router(orders)


@app.get("/")
async def root() -> dict[str, str]:
    return {"shop": "open"}

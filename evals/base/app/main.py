from fastapi import FastAPI

from app import accounts, customers, dashboard, events, imports, orders, search, signup

app = FastAPI()
for module in (accounts, customers, dashboard, events, imports, orders, search, signup):
    app.include_router(module.router)

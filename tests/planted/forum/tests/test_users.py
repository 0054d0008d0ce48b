"""Through the synchronous client, as the old tests did."""

import pytest
from app.main import app
from fastapi.testclient import TestClient


@pytest.fixture
def api():
    with TestClient(app) as client:
        yield client


def test_everyone(api):
    assert len(api.get("/users").json()) >= 40


def test_by_email_ignores_case(api):
    assert api.get("/users/by-email", params={"email": "USER7@example.com"}).json()["id"] == 7
    assert api.get("/users/by-email", params={"email": "nobody"}).status_code == 404


def test_search(api):
    assert "user-1" in api.get("/users/search", params={"prefix": "user-1"}).json()


def test_digest(api):
    users = api.get("/users/digest").json()
    assert len(users) == 10


def test_profiles(api):
    found = api.get("/users/profiles", params={"ids": list(range(1, 9))}).json()
    assert [one["id"] for one in found] == list(range(1, 9))


def test_names(api):
    assert api.get("/users/names.txt").text.count("\n") >= 40


def test_profile(api):
    assert api.get("/users/4/profile").json()["posts"] >= 1


def test_comments(api):
    assert len(api.get("/users/4/comments").json()) >= 3


def test_categories(api):
    assert len(api.get("/categories").json()) == 12
    counts = api.get("/categories/counts").json()
    assert sum(counts.values()) == 90
    assert api.get("/categories/stats").json() == counts


def test_calendar(api):
    assert len(api.get("/categories/calendar").json()) == 48


def test_overview(api):
    overview = api.get("/categories/overview", params={"posts": 3}).json()
    assert len(overview) == 12
    assert len(overview[0]["posts"]) == 3

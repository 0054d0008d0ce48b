import uuid


async def test_dashboard(client):
    page = (await client.get("/admin/dashboard")).json()
    assert page["title"] == "Forum - dashboard"


async def test_replica(client):
    assert (await client.get("/admin/replica")).json() == {"alive": True}


async def test_live(client):
    assert (await client.get("/admin/live")).json() == {"settings": 2, "categories": 12}


async def test_periods(client):
    assert set((await client.get("/admin/periods")).json()) == {"day", "week", "month"}


async def test_labels(client):
    assert len((await client.get("/admin/labels")).json()) == 30


async def test_ranking(client):
    assert len((await client.get("/admin/ranking", params={"every": 10})).json()) == 9


async def test_tags(client):
    names = [f"{uuid.uuid4()}" for _ in range(8)]
    assert (await client.post("/admin/tags", json=names)).json() == {"added": 8}
    assert len((await client.get("/admin/tags", params={"page": 2})).json()) >= 10


async def test_users(client):
    given = [{"email": f"{uuid.uuid4()}@example.com", "name": "new"} for _ in range(8)]
    response = await client.post("/admin/users", json=given)
    assert len({one["id"] for one in response.json()}) == 8


async def test_recount(client):
    response = await client.post("/admin/recount", params={"user_id": 4})
    assert response.json() == {"attempts": 1}


async def test_articles(client):
    articles = (await client.get("/articles")).json()
    assert [article["title"] for article in articles] == (
        await client.get("/articles/titles")
    ).json()
    assert (await client.get("/articles/page-3")).json()["title"] == "Page 3"
    assert (await client.get("/articles/none")).status_code == 404

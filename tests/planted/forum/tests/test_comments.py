async def test_latest(client):
    latest = (await client.get("/comments/latest", params={"limit": 15})).json()
    assert len(latest) == 15
    assert all(one["by"] for one in latest)


async def test_muted_are_left_out(client):
    params = {"user_id": 1, "limit": 30}
    visible = (await client.get("/comments/visible", params=params)).json()
    unmuted = (await client.get("/comments/unmuted", params=params)).json()
    assert [one["id"] for one in visible] == unmuted


async def test_clean(client):
    assert len((await client.get("/comments/clean")).json()) == 20


async def test_flagged(client):
    assert (await client.get("/comments/flagged", params={"word": "spam"})).status_code == 200
    assert (await client.get("/comments/flagged", params={"word": "fine"})).status_code == 400


async def test_notified(client):
    assert (await client.get("/comments/notified")).json()["notified"] >= 60


async def test_ancestors(client):
    assert len((await client.get("/comments/240/ancestors")).json()) == 12
    assert (await client.get("/comments/0/ancestors")).status_code == 404


async def test_import(client):
    given = {"post_id": 70, "author_id": 3, "bodies": [f"old {number}" for number in range(10)]}
    response = await client.post("/comments/import", json=given)
    assert response.status_code == 201
    assert len(set(response.json())) == 10


async def test_bulk(client):
    given = {"post_id": 71, "author_id": 3, "bodies": [f"old {number}" for number in range(60)]}
    assert (await client.post("/comments/bulk", json=given)).json() == {"inserted": 60}

async def test_mine(client):
    assert len((await client.get("/notifications", params={"user_id": 5})).json()) >= 1


async def test_unread(client):
    assert (await client.get("/notifications/unread", params={"user_id": 11})).json()["unread"] >= 1


async def test_wait(client):
    params = {"user_id": 5, "after": 0}
    assert (await client.get("/notifications/wait", params=params)).json() == {"news": True}
    params["after"] = 1_000_000
    assert (await client.get("/notifications/wait", params=params)).json() == {"news": False}


async def test_broadcast(client):
    given = {"text": "Hello", "user_ids": [number % 40 + 1 for number in range(800)]}
    response = await client.post("/notifications/broadcast", json=given)
    assert response.json() == {"sent": 800}


async def test_remind(client):
    assert (await client.post("/notifications/remind/5")).status_code == 202


async def test_digest(client):
    assert (await client.post("/notifications/digest/6")).status_code == 202

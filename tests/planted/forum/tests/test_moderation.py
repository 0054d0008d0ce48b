async def test_queue(client):
    assert (await client.get("/moderation/queue")).json()[0]["id"] == 7


async def test_latest(client):
    assert len((await client.get("/moderation/latest")).json()) == 20


async def test_section(client):
    found = (await client.get("/moderation/section", params={"slug": "category-2"})).json()
    assert found == [{"id": 2}]


async def test_staff(client):
    assert len((await client.get("/moderation/staff")).json()) == 2


async def test_search(client):
    assert len((await client.get("/moderation/search", params={"q": "son 4"})).json()) >= 6


async def test_close(client):
    ids = list(range(20, 28))
    assert (await client.post("/moderation/close", json=ids)).json() == {"closed": 8}
    together = list(range(30, 38))
    assert (await client.post("/moderation/close-together", json=together)).json() == {"closed": 8}


async def test_rescore(client):
    scores = {str(number): number for number in range(10, 20)}
    assert (await client.post("/moderation/rescore", json=scores)).json() == {"rescored": 10}

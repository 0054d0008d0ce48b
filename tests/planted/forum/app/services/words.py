import asyncio
from collections.abc import Iterable


class WordFilter:
    """Bad words. Asks a service, which this stands for."""

    def __init__(self, words: Iterable[str]) -> None:
        self.words = frozenset(words)

    def contains(self, word: str) -> bool:
        return word.lower() in self.words

    async def judge(self, text: str) -> bool:
        await asyncio.sleep(0)
        return any(self.contains(word) for word in text.split())


bad_words = WordFilter(["spam", "scam"])

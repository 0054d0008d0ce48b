"""No password leaves this program: texts from elsewhere go through here."""

import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus, unquote

from toolkit.database.urls import mask

SHORTEST = 3


class Masker:
    """Replaces passwords by `***`. It knows those of every URL that it was told of."""

    def __init__(self) -> None:
        self._secrets: set[str] = set()

    def learn(self, url: str) -> None:
        """Note what may be a password in a URL, also in one that is quoted wrongly."""
        body = url.partition("://")[2]
        before_query = body.partition("?")[0]
        # Up to the last @: a raw one in the password makes the rest look like the host.
        for part in {body, before_query}:
            user, colon, password = part.rpartition("@")[0].partition(":")
            if not colon:
                continue
            pieces = {password, *re.split(r"[@/?#]", password)}
            names = {user, before_query.rpartition("@")[2].partition("/")[2]}
            self._add(pieces, names)
        for _, value in re.findall(r"(?i)[?&](password|passwd|pwd)=([^&]*)", body):
            self._add({value}, set())

    def learn_password(self, password: str, names: Iterable[str | None]) -> None:
        """`names` are user, host and database: what equals one of them is no news."""
        self._add({password}, {name for name in names if name})

    def _add(self, secrets: set[str], names: set[str]) -> None:
        for secret in secrets:
            for form in (secret, unquote(secret)):
                if len(form) >= SHORTEST and form not in names:
                    self._secrets.add(form)

    def __call__(self, text: str) -> str:
        for secret in sorted(self._secrets, key=len, reverse=True):
            for form in {secret, quote(secret, safe=""), quote_plus(secret), repr(secret)[1:-1]}:
                if form in text:
                    text = re.sub(rf"(?<!\w){re.escape(form)}(?!\w)", "***", text)
        return mask(text)

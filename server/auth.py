"""Who calls: a bearer key, or anyone where no key is set.

Guards every path but health and metrics. Does not guard against a stolen key, and says nothing of what a key may do.
Keys are kept as SHA-256 digests and looked up by digest, so that the time a wrong key takes tells nothing of a right
one.
"""

import hashlib
from collections.abc import Iterable, Mapping

from server.errors import AuthenticationFailed


class Auth:
    """Checks the key of a request.

    >>> Auth(["sk-1"]).caller({b"authorization": b"Bearer sk-1"}) != ""
    True
    >>> Auth([]).caller({})
    'anyone'
    """

    def __init__(self, keys: Iterable[str]) -> None:
        self._names = {self._digest(key.encode()): self._digest(key.encode()).hex()[:12] for key in keys}

    @staticmethod
    def _digest(key: bytes) -> bytes:
        return hashlib.sha256(key).digest()

    def caller(self, headers: Mapping[bytes, bytes]) -> str:
        """A name for the key's holder that is safe to log. Raises AuthenticationFailed."""
        if not self._names:
            return "anyone"
        scheme, _, key = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer":
            raise AuthenticationFailed(
                "no API key; send it as 'Authorization: Bearer KEY'", headers={"www-authenticate": "Bearer"}
            )
        known = self._names.get(self._digest(key.strip()))
        if known is None:
            raise AuthenticationFailed("the API key is not known here", headers={"www-authenticate": "Bearer"})
        return known

"""Where the server is and who asks: arguments first, then the environment, then this machine."""

import os
from dataclasses import dataclass
from typing import Any

import httpx2

DEFAULT_URL = "http://127.0.0.1:8000"
URL_VARIABLE, KEY_VARIABLE = "QWENVL_URL", "QWENVL_API_KEY"
DEFAULT_TIMEOUT_S = 600.0
"""Longest silence: a document of many pages that is not streamed says nothing until it is done."""
CONNECT_TIMEOUT_S = 5.0
DEFAULT_RETRIES = 2


@dataclass(frozen=True, slots=True)
class Settings:
    """What both clients are made from."""

    base_url: str
    api_key: str | None
    timeout_s: float
    max_retries: int
    model: str | None
    headers: dict[str, str]

    @classmethod
    def of(
        cls,
        base_url: str | None,
        api_key: str | None,
        timeout_s: float,
        max_retries: int,
        model: str | None,
        headers: dict[str, str] | None,
    ) -> "Settings":
        """Arguments over environment over defaults; a URL that ends in /v1 is taken too."""
        url = base_url or os.environ.get(URL_VARIABLE) or DEFAULT_URL
        url = url.rstrip("/").removesuffix("/v1")
        key = api_key or os.environ.get(KEY_VARIABLE) or None
        return cls(url, key, timeout_s, max_retries, model, dict(headers or {}))

    def http(self) -> dict[str, Any]:
        """Arguments for httpx2's clients."""
        key = {"authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        return {
            "base_url": self.base_url,
            "headers": {"user-agent": "qwenvl-python", **key, **self.headers},
            "timeout": self.timeout(None),
            "limits": httpx2.Limits(max_connections=None, max_keepalive_connections=64),
        }

    def timeout(self, timeout_s: float | None) -> httpx2.Timeout:
        """As httpx2 has it: the time to connect is short whatever the work takes."""
        silence_s = self.timeout_s if timeout_s is None else timeout_s
        return httpx2.Timeout(silence_s, connect=min(CONNECT_TIMEOUT_S, silence_s))

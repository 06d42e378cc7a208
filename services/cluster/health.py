"""Readiness over HTTP."""

from collections.abc import Mapping

import httpx


def http_client(
    timeout_s: float = 1.0, *, base_url: str = "", headers: Mapping[str, str] | None = None
) -> httpx.AsyncClient:
    """A client for our own machine: no proxies, no certificates to load, which takes longer than a request."""
    return httpx.AsyncClient(
        verify=False,  # noqa: S501  # plain HTTP only
        trust_env=False,
        timeout=timeout_s,
        base_url=base_url,
        headers=headers,
    )


async def answers_ok(url: str) -> bool:
    """Whether a GET is answered with 200; a refused or broken connection is a no."""
    async with http_client() as client:
        try:
            return (await client.get(url)).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

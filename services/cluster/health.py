"""Readiness over HTTP."""

import httpx


def http_client(timeout_s: float = 1.0) -> httpx.AsyncClient:
    """A client for our own machine: no proxies, no certificates to load."""
    return httpx.AsyncClient(verify=False, trust_env=False, timeout=timeout_s)  # noqa: S501  # plain HTTP only


async def answers_ok(url: str) -> bool:
    """Whether a GET is answered with 200; a refused or broken connection is a no."""
    async with http_client() as client:
        try:
            return (await client.get(url)).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

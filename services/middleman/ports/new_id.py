"""Fresh names: for requests, and for what is created without an Idempotency-Key (`domain.ids.id_of_request`)."""

from collections.abc import Callable

NewId = Callable[[str], str]
"""Takes a prefix such as `cu_`, returns it followed by a random stem that holds no underscore."""

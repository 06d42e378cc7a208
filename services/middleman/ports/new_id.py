"""Fresh names for what is created."""

from collections.abc import Callable

NewId = Callable[[str], str]
"""Takes a prefix such as `cu_`, returns it followed by a stem that sorts by time and holds no underscore."""

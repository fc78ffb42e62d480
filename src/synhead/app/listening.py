"""Listening sockets of the servers among the commands."""

from __future__ import annotations

import socket

from synhead.config import ConfigError

__all__ = ["LOCAL", "listen"]

LOCAL = ("127.0.0.1", "localhost", "::1")
"""Addresses that nobody but this machine reaches."""


def listen(host: str, port: int) -> socket.socket:
    """A bound socket; port 0 takes any that is free. Raises ConfigError."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()  # the address is told before the server is up: whoever comes early waits
    except OSError as error:
        listener.close()
        raise ConfigError(f"cannot listen on {host}:{port} ({error.strerror}); choose another --port, or 0") from error
    return listener

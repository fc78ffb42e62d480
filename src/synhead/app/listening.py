"""What the servers among the commands share: their listening sockets, and how they end."""

from __future__ import annotations

import errno
import signal
import socket
import threading
from types import FrameType
from typing import TYPE_CHECKING

from synhead.config import ConfigError

if TYPE_CHECKING:
    import uvicorn

PORT_TROUBLE = (errno.EADDRINUSE, errno.EACCES)


def listen(host: str, port: int) -> socket.socket:
    """A bound socket; port 0 takes any that is free. Raises ConfigError."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()  # the address is told before the server is up: whoever comes early waits
    except OSError as error:
        listener.close()
        remedy = "--port, or 0" if error.errno in PORT_TROUBLE else "--host: an address of this machine"
        raise ConfigError(f"cannot listen on {host}:{port} ({error.strerror}); choose another {remedy}") from error
    return listener


def serve_until_stopped(server: uvicorn.Server, listener: socket.socket) -> None:
    """Serve until Ctrl-C, SIGTERM or, unless it is ignored, SIGHUP; the signal is raised again when all is closed."""
    hangup = getattr(signal, "SIGHUP", None)  # unknown to Windows, and not among those that uvicorn closes for
    here = threading.current_thread() is threading.main_thread()
    if hangup is None or not here or signal.getsignal(hangup) is signal.SIG_IGN:
        server.run(sockets=[listener])
        return
    came = False

    def on_hangup(number: int, frame: FrameType | None) -> None:
        nonlocal came
        del number, frame
        came = server.should_exit = True

    before = signal.signal(hangup, on_hangup)
    try:
        server.run(sockets=[listener])
    finally:
        signal.signal(hangup, before)
        if came:
            signal.raise_signal(hangup)

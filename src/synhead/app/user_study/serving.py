"""The study's server: opens the answers, listens, says where, stops on Ctrl-C."""

from __future__ import annotations

import socket

import uvicorn

from synhead.app.console import remark, say
from synhead.app.user_study.material import Material
from synhead.app.user_study.pages import Design
from synhead.app.user_study.server import Study, web_application
from synhead.app.user_study.storage import Storage
from synhead.config import ConfigError

__all__ = ["listen", "serve"]

_LOCAL = ("127.0.0.1", "localhost")


def serve(material: Material, design: Design, storage: Storage, *, host: str, port: int) -> None:
    """Serve until Ctrl-C. Raises ConfigError if the answers are another study's, or the port is taken."""
    storage.create(material.systems, material.examples, design)
    hosts = _LOCAL if host in _LOCAL else ("*",)
    application = web_application(Study(material, design, storage), hosts)
    with listen(host, port) as listener:
        say(f"http://{host}:{listener.getsockname()[1]}/")
        if host not in _LOCAL:
            remark("note: everybody who reaches this address can take part; there is no encryption", style="yellow")
        remark("stop with Ctrl-C: answers are saved page by page")
        uvicorn.Server(uvicorn.Config(application, log_level="warning", access_log=False)).run(sockets=[listener])


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

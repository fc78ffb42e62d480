"""The study's server: opens the answers, listens, says where, stops on Ctrl-C."""

from __future__ import annotations

import uvicorn

from synhead.app.console import remark, say
from synhead.app.hosts import LOCAL, address, served_hosts
from synhead.app.listening import listen, serve_until_stopped
from synhead.app.user_study.material import Material
from synhead.app.user_study.pages import Design
from synhead.app.user_study.server import Study, web_application
from synhead.app.user_study.storage import Storage


def serve(material: Material, design: Design, storage: Storage, *, host: str, port: int) -> None:
    """Serve until Ctrl-C. Raises ConfigError if the answers are another study's, or the port is taken."""
    storage.create(material.systems, material.examples, design)
    application = web_application(Study(material, design, storage), served_hosts(host))
    with listen(host, port) as listener:
        say(address(host, listener.getsockname()[1]))
        if host not in LOCAL:
            remark("note: everybody who reaches this address can take part; there is no encryption", style="yellow")
        remark("stop with Ctrl-C: answers are saved page by page")
        config = uvicorn.Config(application, log_level="warning", access_log=False)
        serve_until_stopped(uvicorn.Server(config), listener)

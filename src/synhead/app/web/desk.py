"""Where uploads are taken in: received, checked by content, and turned into a task or a preview."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from anyio import CapacityLimiter, to_thread
from fastapi import Request
from pydantic import ValidationError

from synhead.app.web.contents import check_driving, check_portrait
from synhead.app.web.limits import OPTIONS_BYTES, Limits
from synhead.app.web.multipart import Part, read_form
from synhead.app.web.problems import FAULT, RefusedError, plain, room
from synhead.app.web.schemas import JobOptions, Preview
from synhead.app.web.service import RETRY_AFTER_S, Service, Snapshot
from synhead.app.web.sketch import sketch
from synhead.app.web.templates import Offer
from synhead.app.web.work import Task

TEMPLATE_NAME_BYTES = 1024


@dataclass
class Desk:
    """``batch_size``: driving frames run together."""

    service: Service
    templates: Mapping[str, Offer]
    batch_size: int
    _receiving: int = 0
    _checks: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(1))  # a picture may take 1 GB of memory

    async def job(self, request: Request) -> Snapshot:
        """Take in a job. Raises RefusedError."""
        limits = self.service.limits
        with self._turn(), room(), self.service.reserve() as folder:
            parts = {
                **_portrait_parts(folder, limits),
                "driving": Part(folder / "driver", limits.driving_bytes),
                "template": Part(folder / "template", TEMPLATE_NAME_BYTES),
            }
            came = await read_form(request, parts, limits)
            if "portrait" not in came:
                raise RefusedError(422, "no portrait came; send a picture in the field portrait")
            if ("driving" in came) == ("template" in came):
                raise RefusedError(422, "send either a video in the field driving, or a name in the field template")
            task = await to_thread.run_sync(self._task, folder, limiter=self._checks)
            if await request.is_disconnected():  # cancelled while it waited for its check
                raise RefusedError(400, "the client went away before its job was queued; send it again")
            return self.service.submit(folder, task)

    async def preview(self, request: Request) -> Preview:
        """Look at a portrait; nothing of it is kept. Raises RefusedError."""
        limits = self.service.limits
        with self._turn(), room(), self.service.workspace.scratch() as folder:
            came = await read_form(request, _portrait_parts(folder, limits), limits)
            if "portrait" not in came:
                raise RefusedError(422, "no portrait came; send a picture in the field portrait")
            return await to_thread.run_sync(self._preview, folder, limiter=self._checks)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """One of so many uploads at a time."""
        if self._receiving >= self.service.limits.uploads:
            raise RefusedError(503, "too many uploads at once; try again in a moment", retry_after=RETRY_AFTER_S)
        self._receiving += 1
        try:
            yield
        finally:
            self._receiving -= 1

    def _task(self, folder: Path) -> Task:
        with _refused(folder):
            options = _options(folder)
            portrait, _ = check_portrait(folder / "portrait", self.service.limits)
            if (folder / "template").exists():
                driving = self._offered((folder / "template").read_bytes())
            else:
                driving = check_driving(folder / "driver", self.service.limits)
            return options.task(portrait, driving, folder, self.batch_size)

    def _preview(self, folder: Path) -> Preview:
        with _refused(folder):
            options = _options(folder)
            _, image = check_portrait(folder / "portrait", self.service.limits)
            return sketch(image, options.framing)

    def _offered(self, name: bytes) -> Path:
        offer = self.templates.get(name.decode("utf-8", "replace"))
        if offer is None:
            raise RefusedError(422, "there is no template of this name; /api/v1/templates lists them")
        return offer.path


def _portrait_parts(folder: Path, limits: Limits) -> dict[str, Part]:
    return {
        "portrait": Part(folder / "portrait", limits.portrait_bytes),
        "options": Part(folder / "options", OPTIONS_BYTES),
    }


def _options(folder: Path) -> JobOptions:
    sent = folder / "options"
    return JobOptions.model_validate_json(sent.read_bytes()) if sent.exists() else JobOptions()


@contextmanager
def _refused(folder: Path) -> Iterator[None]:
    """Expected errors of what was sent are the client's."""
    try:
        yield
    except (RefusedError, OSError):
        raise
    except (ValueError, RuntimeError) as error:  # of media, templates, faces and options
        told = plain(error, folder)
        if told == FAULT and not isinstance(error, ValidationError):
            raise
        raise RefusedError(422, told) from error

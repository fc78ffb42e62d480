"""The routes of the HTTP API, version 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, cast

from fastapi import APIRouter, Path, Query, Request, Response

from synhead.app.web.desk import Desk
from synhead.app.web.problems import RangedFile, answers
from synhead.app.web.schemas import (
    BESIDE,
    KINDS,
    Health,
    JobOptions,
    JobStatus,
    Kind,
    LimitFacts,
    Preview,
    ServerFacts,
    TemplateFact,
)
from synhead.config.version import version

API = "/api/v1"
UPLOADS = frozenset({f"{API}/jobs", f"{API}/preview"})
"""Where forms with files are taken in, as they come."""
JobId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", description="as the job's creation gave it")]
AsFile = Annotated[Literal["0", "1"], Query(description="1: to be saved rather than shown")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a server tells of itself. ``live``: it has a live page. ``locked``: it has a password."""

    model: str
    trained: bool
    live: bool
    locked: bool


def api_router(desk: Desk, identity: Identity) -> APIRouter:
    """All of it, under ``/api/v1``."""
    router = APIRouter(prefix=API)
    _add_jobs(router, desk)
    _add_outputs(router, desk)
    _add_facts(router, desk, identity)
    return router


def _add_jobs(router: APIRouter, desk: Desk) -> None:
    service = desk.service

    @router.post(
        "/jobs",
        status_code=202,
        response_model=JobStatus,
        responses=answers(400, 401, 403, 408, 413, 415, 422, 429, 503, 507),
        openapi_extra=_form(portrait=True, driving=True),
        tags=["jobs"],
    )
    async def create_job(request: Request) -> JobStatus:
        """Queue an animation: a portrait, and a driver as a file or as the name of a template."""
        return JobStatus.of(await desk.job(request))

    @router.get("/jobs/{job}", responses=answers(401, 403, 404, 422, 429), tags=["jobs"])
    def read_job(job: JobId) -> JobStatus:
        """State, place in the queue, frames, error or report."""
        return JobStatus.of(service.look(job))

    @router.post("/jobs/{job}/cancel", responses=answers(401, 403, 404, 422, 429), tags=["jobs"])
    def cancel_job(job: JobId) -> JobStatus:
        """Stop a job, within a frame or so if it runs; nothing half-written is left. An ended job stays as it is."""
        return JobStatus.of(service.cancel(job))

    @router.delete("/jobs/{job}", status_code=204, responses=answers(401, 403, 404, 422, 429), tags=["jobs"])
    def delete_job(job: JobId) -> Response:
        """Forget a job and all its files."""
        service.remove(job)
        return Response(status_code=204)

    @router.post(
        "/preview",
        response_model=Preview,
        responses=answers(400, 401, 403, 408, 413, 415, 422, 429, 503, 507),
        openapi_extra=_form(portrait=True, driving=False),
        tags=["facts"],
    )
    async def preview(request: Request) -> Preview:
        """Faces found in a portrait and the squares that would be animated; nothing is kept."""
        return await desk.preview(request)


def _add_outputs(router: APIRouter, desk: Desk) -> None:
    def add(which: Literal["result", "beside"], path: str, words: str) -> None:
        def send(job: JobId, download: AsFile = "0") -> RangedFile:
            file = desk.service.output(job, which)
            name = f"synhead-{job[:8]}{'' if which == 'result' else '-' + BESIDE}{file.suffix}"
            return RangedFile(
                file,
                media_type=KINDS[cast(Kind, file.suffix[1:])],
                filename=name,
                content_disposition_type="attachment" if download == "1" else "inline",
                headers={"Cache-Control": "private, no-cache"},
            )

        media = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in KINDS.values()}
        whole, part = ({"description": text, "content": media} for text in ("the file", "a range of it"))
        router.add_api_route(
            f"/jobs/{{job}}/{path}",
            send,
            methods=["GET"],
            response_class=RangedFile,
            responses={
                200: whole,
                206: part,
                304: {"description": "the browser's own copy is good"},
                **answers(400, 401, 403, 404, 409, 416, 422, 429),
            },
            name=f"read_{which}",
            description=words,
            tags=["jobs"],
        )

    add("result", "result", "The finished video. Ranges are served.")
    add("beside", BESIDE, "Portrait, driver and result in a row, if it was asked for. Ranges are served.")


def _add_facts(router: APIRouter, desk: Desk, identity: Identity) -> None:
    limits = desk.service.limits

    @router.get("/templates", responses=answers(401, 403, 429), tags=["facts"])
    def list_templates() -> list[TemplateFact]:
        """Motions that can be picked by name."""
        return [offer.fact for offer in desk.templates.values()]

    @router.get("/options", responses=answers(401, 403, 429), tags=["facts"])
    def read_options() -> ServerFacts:
        """Defaults of the options of a job, and what the server takes on."""
        facts = {name: getattr(limits, name) for name in LimitFacts.model_fields}
        return ServerFacts(
            defaults=JobOptions(),
            limits=LimitFacts(**facts),
            model=identity.model,
            trained=identity.trained,
            live=identity.live,
            locked=identity.locked,
        )

    @router.get("/health", responses=answers(403), tags=["facts"])
    def read_health() -> Health:
        """Whether anything is answered, and how busy the server is. Needs no password."""
        waiting, running = desk.service.counts()
        return Health(status="ok", version=version(), waiting=waiting, running=running)


def _form(*, portrait: bool, driving: bool) -> dict[str, Any]:
    """The description of a form that is read as it comes, not by FastAPI."""
    file = {"type": "string", "format": "binary"}
    fields: dict[str, Any] = {}
    if portrait:
        fields["portrait"] = {**file, "description": "JPEG, PNG or WebP"}
    if driving:
        fields["driving"] = {
            **file,
            "description": "MP4, MOV, WebM, MKV, AVI, animated GIF, PNG or WebP, or a motion template",
        }
        fields["template"] = {"type": "string", "description": "name of a template, instead of driving"}
    fields["options"] = JobOptions.model_json_schema()
    schema = {"type": "object", "properties": fields, "required": ["portrait"], "additionalProperties": False}
    encoding = {"options": {"contentType": "application/json"}}
    content = {"multipart/form-data": {"schema": schema, "encoding": encoding}}
    return {"requestBody": {"required": True, "content": content}}

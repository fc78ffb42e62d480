"""What the API takes and gives."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from synhead.app.web.problems import renamed
from synhead.app.web.service import Snapshot, State
from synhead.app.web.work import Task
from synhead.faces.framing import Framing
from synhead.inference.animator import AnimatorOptions
from synhead.inference.job import AnimationJob, OutputOptions
from synhead.inference.motion_edits import MotionEdits
from synhead.inference.report import AnimationReport
from synhead.inference.smoothing import Smoothing

Kind = Literal["mp4", "webm", "mov", "gif"]
KINDS: dict[Kind, str] = {"mp4": "video/mp4", "webm": "video/webm", "mov": "video/quicktime", "gif": "image/gif"}
GIF_SIDE_PX = 640
FACE = r"^(all|largest|leftmost|[0-9]{1,2}(,[0-9]{1,2}){0,7})$"
PRINTABLE = r"^[^\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e]*[^\x00-\x20\x7f-\xa0\u200b-\u200f\u2028-\u202e]$"
"""Neither control characters nor marks that turn the direction of writing."""
ONE_FACE = r"^(largest|leftmost|[0-9]{1,2})$"
BESIDE = "side-by-side"


class _Strict(BaseModel):
    """Nothing is converted or ignored, and numbers are numbers."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class JobOptions(_Strict):
    """The choices of ``synhead animate`` that make sense here; all may be left out."""

    crop: Literal["auto", "center", "box"] = Field(
        default="auto", description="square of the portrait: face, middle or box"
    )
    box: tuple[float, float, float, float] | None = Field(
        default=None, description="left, top, right, bottom in pixels of the upright portrait, for crop box"
    )
    face: str = Field(
        default="largest", pattern=FACE, description="all, largest, leftmost or numbers from the left, as 0,2"
    )
    crop_scale: float = Field(default=1.0, ge=0.25, le=4, description="enlarge the square")
    upright: bool = Field(default=False, description="turn the square with a tilted head")
    driving_crop: Literal["auto", "center"] = "auto"
    driving_face: str = Field(default="largest", pattern=ONE_FACE)
    motion: Literal["relative", "absolute"] = Field(
        default="relative", description="move as the driver, or take its pose"
    )
    reference: Annotated[int, Field(ge=0, le=1_000_000)] | None = Field(
        default=None, description="driving frame posed like the portrait; null: found"
    )
    smooth: float = Field(default=0.0, ge=0, le=30, description="smooth the motion over so many frames")
    multiplier: float = Field(default=1.0, ge=0, le=5, description="how large movements become")
    paste_back: Literal["auto", "always", "never"] = Field(default="auto", description="into the whole portrait")
    max_side: int = Field(default=1920, ge=64, le=2560, description="longest side when pasted back; GIF: 640 at most")
    side_by_side: bool = Field(default=False, description="make a second video of portrait, driver and result in a row")
    kind: Kind = "mp4"
    sound: bool = Field(default=True, description="keep the driver's sound")
    label: Annotated[str, StringConstraints(pattern=PRINTABLE, max_length=60)] | None = Field(
        default=None, description="words in a corner of every picture, as AI-generated"
    )

    @property
    def framing(self) -> Framing:
        """Of the portrait. Raises ConfigError or FaceError."""
        return Framing(crop=self.crop, box=self.box, face=self.face, scale=self.crop_scale, upright=self.upright)

    def task(self, portrait: Path, driving: Path, folder: Path, batch_size: int) -> Task:
        """What is to be done in ``folder``. Raises ConfigError or FaceError for choices that exclude each other."""
        side = min(self.max_side, GIF_SIDE_PX) if self.kind == "gif" else self.max_side
        job = AnimationJob(
            source=portrait,
            driving=driving,
            output=folder / f"result.{self.kind}",
            framing=self.framing,
            driving_framing=Framing(crop=self.driving_crop, face=self.driving_face),
            reference=self.reference,
            options=OutputOptions(
                paste_back=self.paste_back,
                max_side=side,
                audio="driver" if self.sound else "none",
                label=self.label,
            ),
        )
        edits = MotionEdits(
            multiplier=self.multiplier, smoothing=Smoothing(frames=self.smooth) if self.smooth else None
        )
        motion = AnimatorOptions(motion=self.motion, edits=edits, batch_size=batch_size)
        beside = folder / f"{BESIDE}.{self.kind}" if self.side_by_side else None
        return Task(job=job, motion=motion, beside=beside)


class JobReport(BaseModel):
    """What the animation was. ``seconds``: by stage. ``marked``: IPTC's digital source type that the file carries."""

    frames: int
    skipped: int
    fps: float
    width: int
    height: int
    pasted: bool
    audio: str
    marked: str
    reference: int
    reference_reason: str
    warnings: tuple[str, ...]
    seconds: dict[str, float]

    @classmethod
    def of(cls, report: AnimationReport) -> JobReport:
        """The part of a report that is of use here."""
        stages = ("decode", "faces", "model", "paste", "encode")
        return cls(
            frames=report.frames,
            skipped=report.skipped,
            fps=float(report.rate),
            width=report.size[0],
            height=report.size[1],
            pasted=report.pasted,
            audio=report.audio,
            marked=report.marked,
            reference=report.reference,
            reference_reason=report.reference_reason,
            warnings=tuple(map(renamed, report.warnings)),
            seconds={stage: round(getattr(report.seconds, stage), 3) for stage in stages},
        )


class JobStatus(BaseModel):
    """``place``: 1 is the next to run. ``frames_total``: null while unknown. ``kept_seconds``: until it is removed."""

    id: str
    state: State
    place: int | None
    frames_done: int
    frames_total: int | None
    error: str | None
    report: JobReport | None
    kind: Kind
    outputs: tuple[str, ...]
    kept_seconds: int | None

    @classmethod
    def of(cls, job: Snapshot) -> JobStatus:
        """As it is told."""
        done = ["result"] if job.state == "done" else []
        return cls(
            id=job.id,
            state=job.state,
            place=job.place,
            frames_done=job.done,
            frames_total=job.total,
            error=job.error,
            report=None if job.report is None or not done else JobReport.of(job.report),
            kind=cast(Kind, job.output.suffix[1:]),
            outputs=tuple(done + [BESIDE] * job.beside),
            kept_seconds=None if job.kept_s is None else round(job.kept_s),
        )


class FaceSeen(BaseModel):
    """A face, in pixels of the upright portrait. ``chosen``: it will be animated."""

    left: float
    top: float
    right: float
    bottom: float
    score: float
    chosen: bool


class SquareSeen(BaseModel):
    """A square that will be animated: its centre and side in pixels, tilt in degrees."""

    x: float
    y: float
    side: float
    tilt: float


class Preview(BaseModel):
    """``picture``: the portrait, 960 pixels long, with faces and squares drawn, as a data URL (JPEG)."""

    width: int
    height: int
    faces: tuple[FaceSeen, ...]
    crops: tuple[SquareSeen, ...]
    note: str | None
    picture: str


class TemplateFact(BaseModel):
    """A motion that can be picked by its name."""

    name: str
    kind: Literal["template", "video"]
    frames: int | None
    seconds: float | None


class LimitFacts(BaseModel):
    """What a server takes on; see docs/web.md."""

    portrait_bytes: int
    driving_bytes: int
    portrait_pixels: int
    video_pixels: int
    seconds: float
    frames: int
    waiting: int
    kept: int
    keep_seconds: float


class ServerFacts(BaseModel):
    """Defaults, limits, and which model runs. ``live``: whether there is a live page. ``locked``: by a password."""

    defaults: JobOptions
    limits: LimitFacts
    model: str
    trained: bool
    live: bool
    locked: bool


class Health(BaseModel):
    """``ok`` as long as anything is answered."""

    status: Literal["ok"]
    version: str
    waiting: int
    running: int


class Password(_Strict):
    """Of the server."""

    password: str = Field(max_length=1000)

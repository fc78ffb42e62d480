"""The metrics and their frozen definitions: what each compares, in which unit, and what it needs to be measured.

``published`` is bit-compatible with what the paper's authors measured, quirks included; ``standard`` is what the name
is taken to mean; ``both`` where they agree. A ``stand-in`` runs without any weight file and is not comparable with
figures of papers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from synhead.evaluation.weight_files import (
    FACE_TASK,
    FAN,
    GLINTR100,
    INCEPTION,
    LPIPS_HEADS,
    OPENFACE,
    S3FD,
    SCRFD,
    VGG16,
    WeightFile,
)

Variant = Literal["both", "published", "standard", "stand-in"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """``against``: what results are compared with; ``either``: the driving frame, but the source across identities.

    ``cross``: whether it means anything when source and driver are two people. ``digits``: shown in tables.
    """

    id: str
    name: str
    variant: Variant
    unit: str
    better: Literal["lower", "higher"]
    against: Literal["driving", "source", "either"]
    cross: bool
    digits: int
    definition: str
    needs: tuple[WeightFile, ...] = ()


ALL_METRICS = (
    Metric(
        id="fid.published",
        name="FID",
        variant="published",
        unit="",
        better="lower",
        against="source",
        cross=True,
        digits=2,
        definition="Frechet distance of 2048 pool features (FID InceptionV3, bilinear to 299) between SOURCE frames, "
        "one copy a result, and the results; not zero for perfect results.",
        needs=(INCEPTION,),
    ),
    Metric(
        id="fid.standard",
        name="FID",
        variant="standard",
        unit="",
        better="lower",
        against="driving",
        cross=False,
        digits=2,
        definition="The same distance between the driving frames and the results.",
        needs=(INCEPTION,),
    ),
    Metric(
        id="psnr",
        name="PSNR",
        variant="both",
        unit="dB",
        better="higher",
        against="driving",
        cross=False,
        digits=2,
        definition="20 log10(255 / rmse) of 8-bit RGB, a frame at a time, at most 100 dB; mean over frames.",
    ),
    Metric(
        id="l1",
        name="L1",
        variant="both",
        unit="",
        better="lower",
        against="driving",
        cross=False,
        digits=4,
        definition="Mean absolute difference of 8-bit RGB over 255.",
    ),
    Metric(
        id="ssim",
        name="SSIM",
        variant="both",
        unit="",
        better="higher",
        against="driving",
        cross=False,
        digits=4,
        definition="Wang 2004: Gaussian window of 11, sigma 1.5, each channel, valid area.",
    ),
    Metric(
        id="ms_ssim",
        name="MS-SSIM",
        variant="standard",
        unit="",
        better="higher",
        against="driving",
        cross=False,
        digits=4,
        definition="Wang 2003: five scales, Gaussian window of 11, sigma 1.5, as torchmetrics; from 176 pixels a side.",
    ),
    Metric(
        id="lpips",
        name="LPIPS",
        variant="both",
        unit="",
        better="lower",
        against="driving",
        cross=False,
        digits=4,
        definition="VGG16 trunk, linear heads of version 0.1, pictures in [-1, 1].",
        needs=(VGG16, LPIPS_HEADS),
    ),
    Metric(
        id="akd.published",
        name="AKD",
        variant="published",
        unit="px",
        better="lower",
        against="driving",
        cross=True,
        digits=4,
        definition="Mean ABSOLUTE difference over the 68 x 2 coordinates of face-alignment's 2D FAN, S3FD, first face.",
        needs=(FAN, S3FD),
    ),
    Metric(
        id="akd.standard",
        name="AKD",
        variant="standard",
        unit="px",
        better="lower",
        against="driving",
        cross=True,
        digits=4,
        definition="Mean Euclidean distance of the same 68 points.",
        needs=(FAN, S3FD),
    ),
    Metric(
        id="aed.published",
        name="AED",
        variant="published",
        unit="",
        better="lower",
        against="either",
        cross=True,
        digits=4,
        definition="SQUARED distance of OpenFace nn4.small2 embeddings (unit length) of whole frames, 96 x 96, BGR.",
        needs=(OPENFACE,),
    ),
    Metric(
        id="aed.standard",
        name="AED",
        variant="standard",
        unit="",
        better="lower",
        against="either",
        cross=True,
        digits=4,
        definition="Euclidean distance of the same embeddings.",
        needs=(OPENFACE,),
    ),
    Metric(
        id="identity",
        name="identity cosine",
        variant="both",
        unit="",
        better="higher",
        against="either",
        cross=True,
        digits=4,
        definition="Cosine of insightface antelopev2 embeddings of the first face.",
        needs=(SCRFD, GLINTR100),
    ),
    Metric(
        id="pose",
        name="head pose",
        variant="both",
        unit="deg",
        better="lower",
        against="driving",
        cross=True,
        digits=3,
        definition="Mean absolute difference of the three Euler angles (extrinsic xyz) of MediaPipe's face matrix.",
        needs=(FACE_TASK,),
    ),
    Metric(
        id="expression",
        name="expression",
        variant="standard",
        unit="",
        better="lower",
        against="driving",
        cross=True,
        digits=4,
        definition="Mean absolute difference of MediaPipe's 52 blendshape scores.",
        needs=(FACE_TASK,),
    ),
    Metric(
        id="akd.mediapipe",
        name="AKD-mediapipe",
        variant="stand-in",
        unit="px",
        better="lower",
        against="driving",
        cross=True,
        digits=3,
        definition="Mean absolute difference of the coordinates of MediaPipe's 478 face mesh points.",
    ),
    Metric(
        id="mouth.mediapipe",
        name="mouth-mediapipe",
        variant="stand-in",
        unit="",
        better="lower",
        against="driving",
        cross=True,
        digits=4,
        definition="Absolute difference of mouth openings |13 - 14| / |61 - 291|.",
    ),
    Metric(
        id="eyes.mediapipe",
        name="eyes-mediapipe",
        variant="stand-in",
        unit="",
        better="lower",
        against="driving",
        cross=True,
        digits=4,
        definition="Absolute difference of eye openings (|159 - 145| + |386 - 374|) / |33 - 263|.",
    ),
    Metric(
        id="pose.mediapipe",
        name="pose-mediapipe",
        variant="stand-in",
        unit="deg",
        better="lower",
        against="driving",
        cross=True,
        digits=3,
        definition="Mean absolute difference of yaw, pitch and roll, by Procrustes on the face mesh.",
    ),
)
"""In the order of tables: the paper's columns, then the others, then the stand-ins."""

_BY_ID = {one.id: one for one in ALL_METRICS}


def metric(name: str) -> Metric:
    """The metric of that id. KeyError if there is none."""
    return _BY_ID[name]


def applicable(*, same_identity: bool) -> tuple[Metric, ...]:
    """Those that mean something under a protocol."""
    return tuple(one for one in ALL_METRICS if same_identity or one.cross)

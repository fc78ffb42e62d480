"""Videos at the edge, streaming: see video_reader, and outputs for what can be written."""

from __future__ import annotations

from synhead.data.errors import MediaError
from synhead.data.video_reader import Frame, VideoInfo, VideoReader, check_frame, probe, read_frame, read_frames
from synhead.data.video_writer import VIDEO_SUFFIXES, VideoWriter

__all__ = [
    "VIDEO_SUFFIXES",
    "Frame",
    "MediaError",
    "VideoInfo",
    "VideoReader",
    "VideoWriter",
    "check_frame",
    "probe",
    "read_frame",
    "read_frames",
]

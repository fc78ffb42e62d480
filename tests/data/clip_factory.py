"""Small clips whose pixels name clip and frame: red is 20 x the clip, green 10 x the frame, blue a ramp."""

import io
import json
import tarfile
from pathlib import Path

import av
import numpy as np
import torch

from synhead.data.sampling import ClipTable
from synhead.data.store import FrameStore

STEP, FRAME_STEP = 20, 10


def picture(clip: int, frame: int, size: int) -> np.ndarray:
    image = np.empty((size, size, 3), dtype=np.uint8)
    image[..., 0], image[..., 1] = STEP * clip, FRAME_STEP * frame
    image[..., 2] = np.linspace(0, 250, size).astype(np.uint8)[None, :]
    return image


def write_video(path: Path, *, clip: int = 0, frames: int = 8, size: int = 32, width: int | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "5", "g": "12", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = width or size, size, "yuv420p"
        stream.thread_type = "NONE"
        for number in range(frames):
            image = np.resize(picture(clip, number, size), (size, width or size, 3))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def write_shard(path: Path, folder: Path, clips: dict[str, dict[str, object]]) -> Path:
    """A tar of the videos ``folder/<key>.mp4`` with their records."""
    with tarfile.open(path, "w") as tar:
        for key, record in clips.items():
            tar.add(folder / f"{key}.mp4", arcname=f"{key}.mp4")
            content = json.dumps(record).encode()
            entry = tarfile.TarInfo(f"{key}.json")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


def store_of(lengths: tuple[int, ...], people: str, *, generated: tuple[int, ...] = (), size: int = 16) -> FrameStore:
    """A store of clips of those lengths; letter i of ``people`` is who is in clip i."""
    frames = [picture(clip, frame, size) for clip, length in enumerate(lengths) for frame in range(length)]
    names = tuple(sorted(set(people)))
    table = ClipTable(
        names=tuple(f"clip{i}" for i in range(len(lengths))),
        people=names,
        person=np.array([names.index(who) for who in people], dtype=np.int64),
        generated=np.array([i in generated for i in range(len(lengths))]),
    )
    return FrameStore(torch.from_numpy(np.stack(frames)), np.cumsum([0, *lengths], dtype=np.int64), table)


def clip_of(image: torch.Tensor) -> list[int]:
    """Clip number of each image in [-1, 1], read off its red channel."""
    return ((image[:, 0].float().mean((1, 2)) + 1) * 127.5 / STEP).round().int().tolist()


def frame_of(image: torch.Tensor) -> list[int]:
    return ((image[:, 1].float().mean((1, 2)) + 1) * 127.5 / FRAME_STEP).round().int().tolist()


def mirrored(image: torch.Tensor) -> list[bool]:
    """Whether the blue ramp falls to the right."""
    return (image[:, 2, :, 0] > image[:, 2, :, -1]).all(1).tolist()

"""Files and forms that nobody should send: built here, byte by byte, and what becomes of each.

``refused``: a 4xx at once. ``failed``: taken, and the job ends with an error. ``done``: harmless, the job succeeds.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import pickle
import struct
import wave
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageCms

from tests.data.video_factory import write_clip

BOUNDARY = "frontier"
MIDDLE = json.dumps({"crop": "center", "driving_crop": "center"}).encode()


@dataclass(frozen=True)
class Case:
    """A request body and its fate. ``files``: field to (file name, content); ``body``: the whole body instead."""

    name: str
    fate: str = "refused"
    files: dict[str, tuple[bytes, bytes]] = field(default_factory=dict)
    body: bytes | None = None
    kind: str = f"multipart/form-data; boundary={BOUNDARY}"
    headers: dict[str, str] = field(default_factory=dict)


def form(files: dict[str, tuple[bytes, bytes]]) -> bytes:
    """A form as browsers write it; names are put in as they are."""
    parts = []
    for name, (file, content) in files.items():
        head = b'Content-Disposition: form-data; name="%s"; filename="%s"' % (name.split("#")[0].encode(), file)
        parts.append(b"--%s\r\n%s\r\n\r\n%s\r\n" % (BOUNDARY.encode(), head, content))
    return b"".join(parts) + b"--%s--\r\n" % BOUNDARY.encode()


def png(width: int, height: int, data: bytes = b"", *, before: bytes = b"", depth: int = 8, colour: int = 0) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def box(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", 8 + len(data)) + kind + data


def zeros(count: int) -> bytes:
    """So many zero bytes, deflated, without ever holding them."""
    squeeze = zlib.compressobj(9)
    block = bytes(1 << 20)
    parts = [squeeze.compress(block[: min(1 << 20, count - done)]) for done in range(0, count, 1 << 20)]
    return b"".join(parts) + squeeze.flush()


def patched(content: bytes, after: bytes, offset: int, new: bytes) -> bytes:
    """``new`` in place of what stands ``offset`` bytes behind the end of ``after``."""
    start = content.index(after) + len(after) + offset
    return content[:start] + new + content[start + len(new) :]


def picture(kind: str, size: tuple[int, int] = (64, 72), **options: object) -> bytes:
    content = io.BytesIO()
    noise = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).save(content, kind, **options)
    return content.getvalue()


def gif(width: int, height: int, delays: list[int]) -> bytes:
    """Frames of 16 x 16 pixels on a canvas of that size; delays in hundredths of a second."""
    content = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    for delay in delays:
        content += b"\x21\xf9\x04\x00" + struct.pack("<H", delay) + b"\x00\x00"
        content += (
            b"\x2c"
            + struct.pack("<HHHHB", 0, 0, 16, 16, 0)
            + b"\x02\x16"
            + bytes.fromhex("8c2d99872a1cdc33a00275ec95faa8de608c9602")[:22].ljust(22, b"\0")
            + b"\x00"
        )
    return content + b";"


def moving_webp(width: int, height: int, picture: bytes, *, count: int = 2, shown_ms: int = 40) -> bytes:
    """An animated WebP whose pictures are no pictures."""

    def three(number: int) -> bytes:
        return number.to_bytes(3, "little")

    def part(name: bytes, data: bytes) -> bytes:
        return name + struct.pack("<I", len(data)) + data

    frame = bytes(6) + three(width - 1) + three(height - 1) + three(shown_ms) + b"\0" + picture
    parts = part(b"VP8X", b"\2\0\0\0" + three(width - 1) + three(height - 1)) + part(b"ANIM", bytes(6))
    return part(b"RIFF", b"WEBP" + parts + part(b"ANMF", frame) * count)


def zip_bomb() -> bytes:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(50_000_000))
    outer = io.BytesIO()
    with zipfile.ZipFile(outer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(50):
            archive.writestr(f"../{number}.zip", inner.getvalue())
    return outer.getvalue()


def silence() -> bytes:
    content = io.BytesIO()
    with wave.open(content, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(16000))
    return content.getvalue()


def sound_only(folder: Path) -> bytes:
    path = folder / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path.read_bytes()


def clip(folder: Path, name: str, **options: object) -> bytes:
    return write_clip(folder / name, **options).read_bytes()


def portraits(good: bytes) -> Iterator[tuple[str, str, bytes]]:
    """Name, fate, content of the field ``portrait``."""
    refused = {
        "empty file": b"",
        "one byte": b"\xff",
        "text": b"hello\n" * 100,
        "path as content": b"../../../../etc/passwd",
        "HTML": b"<!doctype html><script>alert(1)</script>",
        "SVG": b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
        "SVG with an external entity": b"<!DOCTYPE s [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><svg>&x;</svg>",
        "XML billion laughs": b"<!DOCTYPE l [<!ENTITY a 'ha'><!ENTITY b '&a;&a;&a;'>]><l>&b;</l>",
        "PDF": b"%PDF-1.7\n1 0 obj<</JS(app.alert(1))>>endobj",
        "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9999 9999\n(%pipe%id) (r) file\n",
        "ELF": b"\x7fELF\x02\x01\x01" + bytes(100),
        "pickle": pickle.dumps({"a": [1, 2, 3]}),
        "zip bomb": zip_bomb(),
        "gzip bomb": gzip.compress(bytes(100_000_000)),
        "bzip2 bomb": bz2.compress(bytes(50_000_000)),
        "xz bomb": lzma.compress(bytes(50_000_000)),
        "noise": np.random.default_rng(0).bytes(300_000),
        "BMP of 100000 x 100000": b"BM" + struct.pack("<IIIIiiHH", 54, 0, 54, 40, 10**5, 10**5, 1, 24) + bytes(24),
        "TIFF with a huge count": b"II*\0\x08\0\0\0\xff\xff" + struct.pack("<HHII", 256, 4, 0x7FFFFFFF, 8) * 20,
        "GIF with PHP": b"GIF89a;<?php system($_GET['c']); ?>",
        "JPEG mark only": b"\xff\xd8\xff",
        "JPEG cut in half": good[: len(good) // 2],
        "JPEG of 65535 x 65535": jpeg_size(good, 65535, 65535),
        "JPEG of 0 x 0": jpeg_size(good, 0, 0),
        "JPEG with its tables gone": good[:200] + good[-2:],
        "JPEG that is HTML behind its mark": b"\xff\xd8\xff<html><script>alert(1)</script>",
        "PNG of 100000 x 100000": png(100_000, 100_000, zeros(1000)),
        "PNG of 2147483647 x 2147483647": png(2**31 - 1, 2**31 - 1),
        "PNG of 0 x 0": png(0, 0),
        "PNG of 1 x 1": png(1, 1, zlib.compress(b"\0\0")),
        "PNG strip of 40000 x 16": png(40_000, 16, zeros(16 * 40_001)),
        "PNG of 71 megapixels in 70 kB": png(8400, 8400, zeros(8400 * 8401)),
        "PNG header only": png(64, 64)[:33],
        "PNG cut off": picture("PNG")[:-400],
        "PNG with a broken check sum": picture("PNG").replace(b"IDAT", b"IDAX"),
        "PNG with a text bomb": png(64, 64, zeros(64 * 65), before=chunk(b"zTXt", b"t\0\0" + zeros(200_000_000))),
        "PNG chunk of 4 GB": png(64, 64)[:33] + b"\xff\xff\xff\xffIDAT",
        "WebP cut off": picture("WEBP")[:60],
        "WebP canvas of 16384 x 16384": b"RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0"
        + b"\xff\x3f\0" * 2
        + b"VP8 \0\0\0\0",
        "video as a picture": b"\0\0\0\x18ftypisom" + bytes(100),
    }
    for name, content in refused.items():
        yield name, "refused", content
    exif = picture("JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\xff" * 400)
    yield "JPEG with damaged EXIF", "done", exif
    yield "JPEG and ZIP in one", "done", good + zip_bomb()[:2000]
    yield "JPEG with a script in its comment", "done", picture("JPEG", comment=b"<script>alert(1)</script>")
    noise = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()[:200] + np.random.default_rng(4).bytes(
        50_000
    )
    yield "JPEG with a colour profile of noise", "done", picture("JPEG", icc_profile=noise)
    yield "PNG with too much data", "done", png(64, 64, zeros(50_000_000))
    yield "PNG with 50000 chunks", "done", png(64, 64, zeros(64 * 65), before=chunk(b"teSt", b"") * 50_000)
    profile = chunk(b"iCCP", b"p\0\0" + zeros(200_000_000))
    yield "PNG with a colour profile bomb", "refused", png(64, 64, zeros(64 * 65), before=profile)
    yield "black PNG of 49 megapixels in 60 kB", "done", png(7000, 7000, zeros(7000 * 7001))


def jpeg_size(good: bytes, width: int, height: int) -> bytes:
    return patched(good, b"\xff\xc0", 3, struct.pack(">HH", height, width))


def drivers(good: bytes, folder: Path) -> Iterator[tuple[str, str, bytes]]:
    """Name, fate, content of the field ``driving``."""
    playlist = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"
    header = json.dumps({"__metadata__": {"synhead.motion": "[" * 100_000}}).encode()
    none = json.dumps({"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    refused = {
        "empty video": b"",
        "text as video": b"not a video\n",
        "HTML as video": b"<html><video src=x></video>",
        "picture as driver": picture("JPEG"),
        "PNG as driver": picture("PNG"),
        "sound as driver": silence(),
        "MP4 with sound only": sound_only(folder),
        "playlist of local files": playlist,
        "playlist behind an MP4 mark": b"\0\0\0\x18ftypisom" + playlist,
        "list of files to join": b"ffconcat version 1.0\nfile /etc/passwd\n",
        "SDP": b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
        "FLV": b"FLV\x01\x05\0\0\0\x09" + bytes(100),
        "MP4 mark only": box(b"ftyp", b"isom\0\0\0\0"),
        "MP4 mark and noise": box(b"ftyp", b"isom\0\0\0\0") + np.random.default_rng(2).bytes(50_000),
        "MP4 without its index": good.replace(b"moov", b"mooX"),
        "MP4 with shifted offsets": box(b"ftyp", b"isom\0\0\0\0") + good[good.index(b"moov") - 4 :],
        "MP4 box of 9 exabytes": box(b"ftyp", b"isom\0\0\0\0") + b"\0\0\0\x01moov\x7f" + b"\xff" * 7,
        "MP4 boxes 5000 deep": box(b"ftyp", b"isom\0\0\0\0")
        + b"".join(struct.pack(">I", 8 * (5000 - i)) + b"moov" for i in range(5000)),
        "MP4 of 65535 x 65535": wide(good, 65535, 65535),
        "MP4 that lasts 27 hours": patched(good, b"stts", 8 + 4, struct.pack(">I", 2**28)),
        "MP4 with 2 billion pictures in its index": patched(good, b"stsz", 8, struct.pack(">I", 2**31 - 1)),
        "too many frames": clip(folder, "long.mp4", frames=101, size=(32, 32)),
        "too many pixels": clip(folder, "wide.mp4", frames=1, size=(4400, 2200)),
        "too many bytes": good + bytes(4_000_000),
        "Matroska mark only": b"\x1a\x45\xdf\xa3",
        "Matroska of 2 to the 56 bytes": b"\x1a\x45\xdf\xa3\x01" + b"\xff" * 7 + bytes(100),
        "AVI mark only": b"RIFF\xff\xff\xff\xffAVI LIST",
        "GIF of 65535 x 65535": gif(65535, 65535, [4, 4]),
        "GIF that shows a frame for 11 minutes": gif(64, 64, [65535, 65535]),
        "GIF cut off": gif(64, 64, [4])[:20],
        "WebP that says that it moves": moving_webp(64, 64, bytes(40)),
        "animated WebP of 16384 x 16384": moving_webp(16384, 16384, bytes(40)),
        "animated WebP that lasts 4 hours": moving_webp(64, 64, b"", count=1, shown_ms=2**24 - 1),
        "animated WebP of 101 frames": moving_webp(64, 64, b"", count=101),
        "WebP of 400000 empty chunks": b"RIFF\0\0\0\0WEBP" + b"junk\0\0\0\0" * 400_000,
        "WebP with a chunk of 4 GB": b"RIFF\0\0\0\0WEBPVP8X\xff\xff\xff\xff" + bytes(100),
        "template with a header of 9 exabytes": b"\xff" * 7 + b"\x7f{" + bytes(100),
        "template with a deep header": struct.pack("<Q", len(header)) + header,
        "tensors that are no template": struct.pack("<Q", len(none)) + none + bytes(4),
    }
    for name, content in refused.items():
        yield name, "refused", content
    noisy = bytearray(good)
    start = good.index(b"mdat") + 2000
    noisy[start : start + 3000] = b"\xff" * 3000
    yield "MP4 cut in half", "done", good[: len(good) // 2]
    yield "MP4 with damaged pictures", "done", bytes(noisy)
    yield "MP4 that declares sound from elsewhere", "done", good.replace(b"url \0\0\0\x01", b"url \0\0\0\0")
    yield "MP4 and ZIP in one", "done", good + zip_bomb()[:2000]


def wide(good: bytes, width: int, height: int) -> bytes:
    """That size in the sample entry and the track; the stream itself says otherwise."""
    content = patched(good, b"avc1\0\0\0\0\0\0", 18, struct.pack(">HH", width, height))
    at = content.index(b"avcC")
    return content[:at] + b"avcX" + content[at + 4 :]


NAMES = {
    "name that climbs": b"../../../../../tmp/synhead-evil.jpg",
    "absolute name": b"/tmp/synhead-evil.jpg",
    "name with NUL": b"a\0b.jpg",
    "name of a device": b"CON",
    "name like a link": b"portrait.jpg -> /etc/passwd",
    "name with a command": b"$(touch synhead-evil);`id`|x.jpg",
    "name in raw bytes": b"\xff\xfe\x80.jpg",
    "name with markup": b"<img src=x onerror=alert(1)>.jpg",
    "name written backwards": "\u202egpj.exe".encode(),
    "empty name": b"",
}

OPTIONS = {
    "options that are no JSON": b"{crop: center}",
    "options in binary": bytes(range(256)),
    "options null": b"null",
    "options as a list": b"[1, 2, 3]",
    "options with NaN": b'{"multiplier": NaN}',
    "options with infinity": b'{"smooth": 1e999}',
    "options with wrong types": b'{"crop": 1, "upright": "yes", "reference": 1.5}',
    "options with a number of 5000 digits": b'{"max_side": ' + b"9" * 5000 + b"}",
    "options 8000 deep": b'{"box": ' + b"[" * 8000,
    "options of 1 MB": b'{"label": "' + b"a" * 1_000_000 + b'"}',
    "options with a path": b'{"kind": "../../etc/passwd"}',
    "options with unknown names": b'{"__class__": "x", "source": "/etc/passwd"}',
    "label of control characters": b'{"label": "\\u0000\\u0007\\u202e"}',
}


def cases(media: Path, folder: Path) -> Iterator[Case]:
    """All of them; ``media`` holds a good portrait and driver, ``folder`` takes what is made on the way."""
    portrait, driving = (media / "portrait.jpg").read_bytes(), (media / "driving.mp4").read_bytes()
    good = {"portrait": (b"p.jpg", portrait), "driving": (b"d.mp4", driving), "options": (b"o", MIDDLE)}
    for name, fate, content in portraits(portrait):
        yield Case(name, fate, {**good, "portrait": (b"portrait.jpg", content)})
    for name, fate, content in drivers(driving, folder):
        yield Case(name, fate, {**good, "driving": (b"driving.mp4", content)})
    for name, file in NAMES.items():
        yield Case(name, "done", {**good, "portrait": (file, portrait), "driving": (file, driving)})
    yield Case("name of 10000 characters", "refused", {**good, "portrait": (b"a" * 10_000, portrait)})
    yield Case("name with a line break", "refused", {**good, "portrait": (b'a"\r\nX: y\r\n\r\nz', portrait)})
    for name, options in OPTIONS.items():
        yield Case(name, "refused", {**good, "options": (b"o", options)})
    yield from forms(good)


def forms(good: dict[str, tuple[bytes, bytes]]) -> Iterator[Case]:
    """The form itself is wrong."""
    whole = form(good)
    mark = b"--" + BOUNDARY.encode()
    named = dict(good)
    del named["driving"]
    yield Case("template that climbs", files={**named, "template": (b"t", b"../../../etc/passwd")})
    yield Case("template name of 1 MB", files={**named, "template": (b"t", b"a" * 1_000_000)})
    yield Case("unknown field", files={**good, "__proto__": (b"x", b"x")})
    yield Case("portrait twice", files={**good, "portrait#2": good["portrait"]})
    yield Case("no body", body=b"")
    yield Case("form cut off", body=whole[:-200])
    yield Case("no end of the form", body=whole[: -len(mark) - 4])
    yield Case("another boundary", body=whole.replace(mark, b"--other"))
    yield Case("no boundary", body=whole, kind="multipart/form-data")
    yield Case("boundary of 5000 characters", body=whole, kind="multipart/form-data; boundary=" + "b" * 5000)
    yield Case("JSON instead of a form", body=b"{}", kind="application/json")
    yield Case("fields without files", body=b"portrait=a&driving=b", kind="application/x-www-form-urlencoded")
    yield Case("100000 empty parts", body=(mark + b"\r\n\r\n\r\n") * 100_000 + mark + b"--\r\n")
    lines = b"".join(b"X-%d: y\r\n" % number for number in range(10_000))
    yield Case("part with 10000 headers", body=mark + b"\r\n" + lines + b"\r\nx\r\n" + mark + b"--\r\n")
    yield Case("form in form", body=form({"portrait": (b"x", whole)}))
    bomb = gzip.compress(bytes(100_000_000))
    yield Case("body that says it is gzip", body=bomb, headers={"Content-Encoding": "gzip"})

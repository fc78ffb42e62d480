"""A page to look through the clips: one HTML file with small embedded pictures."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from pathlib import Path

from synhead.data.files import replacing
from synhead.training.preparation.records import ClipRecord
from synhead.training.preparation.worker import strip_path

MAX_CLIPS = 2000

_HEAD = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Face clips</title>
<style>body{font:13px sans-serif;margin:1em}figure{display:inline-block;margin:4px;width:288px;vertical-align:top}
figcaption{overflow-wrap:anywhere;color:#444}img{display:block}</style>
"""


def write_contact_page(clips: Sequence[ClipRecord], output: Path) -> Path:
    """``contact_sheet.html`` in ``output``: first, middle and last frame of each clip with its facts.

    Sets of more than MAX_CLIPS clips are shown in an even selection.
    """
    shown = clips[:: -(-len(clips) // MAX_CLIPS)] if len(clips) > MAX_CLIPS else clips
    figures = [_figure(clip, strip_path(output, clip.clip)) for clip in shown]
    note = f"<p>{len(clips)} clips" + (f", {len(shown)} of them shown" if len(shown) < len(clips) else "") + "</p>\n"
    target = output / "contact_sheet.html"
    with replacing(target) as temporary:
        temporary.write_text(_HEAD + note + "\n".join(figures) + "\n</html>\n", encoding="utf-8")
    return target


def _figure(clip: ClipRecord, strip: Path) -> str:
    data = base64.b64encode(strip.read_bytes()).decode() if strip.is_file() else ""
    facts = f"{clip.frames} frames, {clip.fps:g}/s, face {clip.face_px} px, sharpness {clip.sharpness:g}"
    who = html.escape(f"{clip.person}, {clip.split}")
    caption = (
        f"{html.escape(clip.clip)}<br>{html.escape(clip.source)} at {clip.begin_s:.1f} s<br>{facts}<br>person {who}"
    )
    link = html.escape(clip.path, quote=True).replace("#", "%23")
    image = f'<img alt="" loading="lazy" src="data:image/jpeg;base64,{data}">'
    return f'<figure><a href="{link}">{image}</a><figcaption>{caption}</figcaption></figure>'

"""C2PA manifests through c2pa-python: written into finished files, and read back. Nothing is fetched from a network."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from synhead.config.version import version
from synhead.provenance import extras
from synhead.provenance.errors import ProvenanceError
from synhead.provenance.statement import GENERATOR, Statement

if TYPE_CHECKING:
    import c2pa

    from synhead.provenance.credentials import Credentials

MEDIA_TYPES: dict[str, str] = {
    ".gif": "image/gif",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".m4v": "video/mp4",
    ".mov": "video/quicktime",
    ".mp4": "video/mp4",
    ".png": "image/png",
    ".webp": "image/webp",
}
"""Of the kinds we write, those that C2PA can be embedded in."""

_BEGINNINGS: tuple[tuple[int, bytes, str | None], ...] = (
    (0, b"GIF8", "image/gif"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\x1a\x45\xdf\xa3", None),
    (4, b"ftyp", "video/mp4"),
    (8, b"WEBP", "image/webp"),
)
"""Where, what, and which kind begins with it: MOV is read as MP4, Matroska and WebM take no manifest."""

UNTRUSTED = "signingCredential.untrusted"
MODEL_LABEL = "org.synhead.model"
ACTIONS_LABEL = "c2pa.actions.v2"
_SETTINGS: dict[str, Any] = {
    # "Created" assertions are the signer's own words; the library takes others for hearsay.
    "builder": {"thumbnail": {"enabled": False}, "created_assertion_labels": ["c2pa.actions", MODEL_LABEL]},
    # Else the library holds a video in memory, twice.
    "core": {"backing_store_memory_threshold_in_mb": 16, "merkle_tree_chunk_size_in_kb": 4096},
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestReport:
    """What a file's active manifest says. ``state``: the library's verdict, ``problems``: its codes for failures."""

    state: str
    problems: tuple[str, ...]
    generator: str
    source_uri: str | None
    model: str | None
    model_sha256: str | None
    signer: str

    @property
    def failures(self) -> tuple[str, ...]:
        """The problems but that nobody we know vouches for the signer."""
        return tuple(code for code in self.problems if code != UNTRUSTED)

    @property
    def is_intact(self) -> bool:
        """Whether manifest, signature and file fit."""
        return self.state in ("Valid", "Trusted") and not self.failures


def takes_manifest(path: Path) -> bool:
    """Whether this kind of file can hold a manifest and c2pa-python is installed."""
    return path.suffix.lower() in MEDIA_TYPES and extras.installed("c2pa")


def media_type(path: Path) -> str | None:
    """What ``path`` is, by how it begins, as names change on the way, else by its name; None: it takes no manifest."""
    with path.open("rb") as file:
        head = file.read(16)
    found = (kind for at, begin, kind in _BEGINNINGS if head[at : at + len(begin)] == begin)
    return next(found, MEDIA_TYPES.get(path.suffix.lower()))


def sign_file(path: Path, statement: Statement, credentials: Credentials) -> None:
    """Put a signed manifest into ``path``; the file is replaced once the new one is complete.

    In a thread of its own: Ctrl-C reaches the main thread alone, and the library's callbacks would swallow it.
    """
    with ThreadPoolExecutor(max_workers=1) as thread:
        thread.submit(_sign, path, statement, credentials).result()


def try_signer(credentials: Credentials) -> None:
    """Sign a small picture: a signer whose marks would not hold is told before the work. Raises ProvenanceError."""
    with suppress(OSError), tempfile.TemporaryDirectory(prefix="synhead-") as folder:  # without room the end will tell
        trial = Path(folder) / "trial.png"
        Image.new("RGB", (16, 16)).save(trial)
        sign_file(trial, Statement(), credentials)


def _sign(path: Path, statement: Statement, credentials: Credentials) -> None:
    import c2pa  # noqa: PLC0415 - optional

    signed = path.with_name(f"{path.stem}.signed{path.suffix}")
    try:
        info = c2pa.C2paSignerInfo(
            alg=credentials.algorithm.encode(),
            sign_cert=credentials.chain,
            private_key=credentials.key_pem,
            ta_url=None,
        )
        with c2pa.Context(settings=c2pa.Settings.from_dict(_SETTINGS)) as context:
            builder = c2pa.Builder(_definition(statement), context=context)
            if statement.source_photo is not None:
                _add_ingredient(builder, statement.source_photo)
            with path.open("rb") as given, signed.open("w+b") as written, c2pa.Signer.from_info(info) as signer:
                builder.sign(signer, MEDIA_TYPES[path.suffix.lower()], given, written)
        _check(signed)
        signed.replace(path)
    except c2pa.C2paError as error:
        raise ProvenanceError(
            f"the mark could not be written ({error}); check certificate, key and free space"
        ) from error
    finally:
        signed.unlink(missing_ok=True)


def read_manifest(path: Path, anchors: bytes | None) -> ManifestReport | None:
    """The manifest in ``path``, checked; None if there is none. ``anchors``: PEM certificates that are trusted."""
    import c2pa  # noqa: PLC0415 - optional

    kind = media_type(path)
    if kind is None:
        return None
    settings = _SETTINGS if anchors is None else {**_SETTINGS, "trust": {"user_anchors": anchors.decode("ascii")}}
    try:
        with (
            c2pa.Context(settings=c2pa.Settings.from_dict(settings)) as context,
            path.open("rb") as file,
            c2pa.Reader(kind, file, context=context) as reader,
        ):
            return _report(json.loads(reader.json()))
    except c2pa.C2paError.ManifestNotFound:
        return None
    except c2pa.C2paError as error:
        return _unreadable(str(error))


def _check(signed: Path) -> None:
    """The library signs with certificates that it refuses when it reads; a mark that does not hold is no mark."""
    report = read_manifest(signed, None)
    if report is None or not report.is_intact:
        problems = "no manifest" if report is None else ", ".join(report.failures)
        raise ProvenanceError(
            f"the mark would not hold ({problems}); use a certificate that C2PA allows, and valid now"
        )


def _definition(statement: Statement) -> dict[str, Any]:
    action = {"action": "c2pa.created", "digitalSourceType": statement.source_uri}
    model = {"name": statement.model}
    if statement.model_sha256 is not None:
        model["sha256"] = statement.model_sha256
    return {
        "claim_generator_info": [{"name": GENERATOR, "version": version()}],
        "assertions": [
            {"label": ACTIONS_LABEL, "data": {"actions": [action]}},
            {"label": MODEL_LABEL, "data": model},
        ],
    }


def _add_ingredient(builder: c2pa.Builder, photo: Path) -> None:
    """The photo by its content, under a title that does not tell its file name."""
    media_type = MEDIA_TYPES.get(photo.suffix.lower())
    if media_type is None:
        raise ProvenanceError(f"{photo} cannot be named as an ingredient; give a JPEG, PNG or WebP, or leave it out")
    with photo.open("rb") as content:
        builder.add_ingredient({"title": "source photo", "relationship": "inputTo"}, media_type, content)


def _report(store: Mapping[str, Any]) -> ManifestReport:
    manifest = store.get("manifests", {}).get(store.get("active_manifest"))
    if manifest is None:
        return _unreadable("the manifest is damaged")
    assertions = {assertion["label"]: assertion["data"] for assertion in manifest.get("assertions", [])}
    actions = assertions.get(ACTIONS_LABEL, {}).get("actions", [])
    model = assertions.get(MODEL_LABEL, {})
    generator = (manifest.get("claim_generator_info") or [{}])[0]
    signature = manifest.get("signature_info") or {}
    return ManifestReport(
        state=store.get("validation_state", "Invalid"),
        problems=tuple(status["code"] for status in store.get("validation_status", [])),
        generator=f"{generator.get('name', 'unknown')} {generator.get('version', '')}".strip(),
        source_uri=next((a["digitalSourceType"] for a in actions if "digitalSourceType" in a), None),
        model=model.get("name"),
        model_sha256=model.get("sha256"),
        signer=signature.get("common_name") or signature.get("issuer") or "unknown",
    )


def _unreadable(problem: str) -> ManifestReport:
    return ManifestReport(
        state="Invalid",
        problems=(problem,),
        generator="unknown",
        source_uri=None,
        model=None,
        model_sha256=None,
        signer="unknown",
    )

"""The addresses of the server: the page, uploads, results, and the viewer of before and after."""

import contextlib
import os
import secrets
import time
import zipfile
from collections.abc import Iterator
from itertools import chain, count
from pathlib import Path
from typing import Any

from nicegui import app, ui
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, Response, StreamingResponse

from srgan.compare import page as comparison
from srgan.errors import SRGANError, printable
from srgan.interrupts import end_on_signals
from srgan.web.elements import show_page
from srgan.web.guard import Guard
from srgan.web.jobs import DEFAULTS, MAX_BYTES, Job, Jobs

_CHUNK = 2**20


def serve(folder: Path, host: str, port: int, *, password: str | None = None, browser: bool = True) -> None:
    """Serve the page until a signal ends the process.

    Args:
        folder: private, for uploads and results.
        host, port: where.
        password: what a browser has to know; None: nothing.
        browser: open the page in the user's browser.
    """
    jobs = Jobs(folder)
    tabs: dict[str, dict] = {}
    _add_routes(jobs, tabs)
    app.add_middleware(Guard, host=host, port=port, password=password)
    app.on_startup(end_on_signals)  # in place of uvicorn's handlers, which wait for open pages

    @ui.page("/")
    def _():
        tab = secrets.token_urlsafe(12)
        tabs[tab] = DEFAULTS | {"model": next(iter(jobs.models()), None)}
        ui.context.client.on_delete(lambda: tabs.pop(tab, None))
        show_page(jobs, tabs[tab], tab)

    ui.run(
        host=host, port=port, title="srgan: make pictures larger", show=browser, reload=False, dark=None,
        show_welcome_message=False, tailwind=False, gzip_middleware_factory=None,  # pictures do not get smaller
        favicon="<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 8 8'><path fill='#0c6b62' d='M0 5h3v3H0zM4 0h4v4H4z'/></svg>",
    )  # fmt: skip


def _add_routes(jobs: Jobs, tabs: dict[str, dict]) -> None:
    @app.post("/jobs")
    async def _(request: Request) -> Response:
        name, options = request.query_params.get("name", ""), tabs.get(request.query_params.get("tab", ""))
        if options is None:
            return PlainTextResponse("this page is out of date; reload it", 409)
        return await _receive(jobs, name, options, request)

    @app.get("/jobs/{key}/{action}")
    def _(key: str, action: str) -> Response:
        job = jobs.find(key)
        if job and job.state == "done" and job.target.is_file() and action in _ANSWERS:
            return _ANSWERS[action](job)
        return PlainTextResponse("there is no such result", 404)

    @app.get("/all.zip")
    def _() -> Response:
        done = [job for job in jobs.all() if job.state == "done" and not job.is_model]
        headers = {"content-disposition": 'attachment; filename="larger.zip"'}
        return StreamingResponse(_zipped(done), media_type="application/zip", headers=headers)


async def _receive(jobs, name, options, request):
    try:
        job = jobs.begin(name, jobs.check(options))
    except (SRGANError, OSError) as error:
        return _refused(name, error, 400)
    parts = request.stream()
    try:
        if int(request.headers.get("content-length", MAX_BYTES + 1)) > MAX_BYTES:  # what comes is not longer than that
            jobs.remove(job)
            return _refused(name, SRGANError(f"larger than {MAX_BYTES >> 30} GB, what this page takes"), 413)
        with job.source.open("xb") as file:
            async for part in parts:
                if job.state == "cancelled":
                    raise SRGANError("cancelled")
                file.write(part)
    except ClientDisconnect:
        jobs.remove(job)
        return Response(status_code=400)
    except (OSError, SRGANError) as error:
        jobs.remove(job)
        with contextlib.suppress(ClientDisconnect):
            async for _ in parts:  # a browser reads the answer only after sending everything
                pass
        return _refused(name, error, 413)
    jobs.queue(job)
    return PlainTextResponse(job.key)


def _refused(name, error, status):
    reason = (error.strerror if isinstance(error, OSError) else None) or error
    return PlainTextResponse(f"{printable(name)}: {reason}", status)


def _shown(job, which):
    name = job.result[which]
    return FileResponse(job.folder / name) if name else PlainTextResponse("a browser cannot show it", 404)


def _view(job):
    """The viewer of srgan-compare, with what was dropped and what came of it."""
    _, (width, height) = job.result["sizes"]
    picture = {"name": job.name, "width": width, "height": height, "scores": {}}
    embedded = {"shown": (0, 0, width, height), "detail": (0, 0, height, width), "thumbnail": "after"}
    embedded["versions"] = {"before": "before", "after": "after"}
    report = {"pictures": [picture], "means": {}, "models": [], "skipped": [], "versions": {}}
    report["protocol"] = {"scale": job.result["scale"]}
    return HTMLResponse(comparison.page(report, [embedded], {}, images="'self' data:"))


_ANSWERS = {
    "before": lambda job: _shown(job, "before"),
    "after": lambda job: _shown(job, "after"),
    "view": _view,
    "download": lambda job: FileResponse(job.target, filename=job.download_name),
}


def _zipped(jobs: list[Job]) -> Iterator[bytes]:
    """A ZIP of the results, part by part. Pictures and clips are compressed already, and stored as they are."""
    buffer: Any = _Parts()
    names = set[str]()
    with zipfile.ZipFile(buffer, "w") as archive:
        for job in jobs:
            stem, suffix = os.path.splitext(job.download_name)
            again = (f"{stem}-{number}{suffix}" for number in count(2))
            name = next(each for each in chain([job.download_name], again) if each.lower() not in names)
            names.add(name.lower())
            if not job.target.is_file():  # removed meanwhile
                continue
            info = zipfile.ZipInfo(name, time.localtime(job.target.stat().st_mtime)[:6])
            with job.target.open("rb") as source, archive.open(info, "w", force_zip64=True) as entry:
                while part := source.read(_CHUNK):
                    entry.write(part)
                    yield buffer.take()
    yield buffer.take()


class _Parts(list):
    """Keeps what is written until it is taken; it cannot seek, so that a ZIP is written front to back."""

    def write(self, data):
        self.append(data)
        return len(data)

    def flush(self):
        pass

    def take(self):
        taken = b"".join(self)
        self.clear()
        return taken

"""The jobs of the page: kept by the server, done one after the other, each by a process of its own."""

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path
from typing import Any

from srgan import pictures
from srgan.clips import formats as clips
from srgan.errors import SRGANError, UsageError, printable
from srgan.hub import SUFFIXES
from srgan.models import denoise_ends, pixel_trained

MAX_JOBS = 500  # kept at once, finished ones included
MAX_BYTES = 4 * 2**30  # of one upload
_PATIENCE = 1.0  # seconds that a cancelled process may take to end by itself
_SERVED = 1.0  # seconds in which an answer that has begun opens its file

PICTURE_DEFAULTS = {
    "model": None,
    "scale": None,
    "strength": 1.0,
    "denoise": None,
    "format": None,
    "quality": 95,
}


@dataclass
class Job:
    """One dropped file and what becomes of it.

    Attributes:
        key: names the job in addresses; cannot be guessed.
        name: of the file, without folders.
        options: model, scale, strength, denoise, format and quality.
        folder: private to the job; the file lies in it under its name, the result in its folder `large`.
        is_clip: whether it is a video file.
        is_model: whether it is a model, which is tried and becomes a choice.
        state: "arriving", "waiting", "working", "done", "failed" or "cancelled".
        message: why it failed, or "".
        notes: what the job said on its way, such as metadata that the format has no place for.
        progress: how many tiles or frames are done, and of how many; None: not known.
        begun: the time (monotonic, seconds) of the first progress, and how far it was then; None before.
        bytes: size of the file, once it has arrived.
        result: scale, sizes, bytes, and the files that a browser shows, once it is done.
    """

    key: str
    name: str
    options: Mapping[str, Any]
    folder: Path
    is_clip: bool
    is_model: bool = False
    state: str = "arriving"
    message: str = ""
    notes: list[str] = field(default_factory=list)
    progress: tuple[int, int | None] | None = None
    begun: tuple[float, int] | None = None
    bytes: int = 0
    result: dict = field(default_factory=dict)

    @property
    def source(self) -> Path:
        return self.folder / self.name

    @property
    def target(self) -> Path:
        """Where the result is written: the suffix is that of the command line for the same file."""
        own = Path(self.name).suffix
        if self.is_clip:
            suffix = own if own.lower() in clips.WRITABLE else ".mp4"
        else:
            suffix = self.options["format"] or (own if own.lower() in pictures.WRITABLE else ".png")
        return self.folder / "large" / f"{Path(self.name).stem}{suffix}"

    @property
    def download_name(self) -> str:
        return f"{self.target.stem}-x{self.result['scale']:g}{self.target.suffix}"

    @property
    def kind(self) -> tuple:
        """Jobs of a kind take as long as they are large."""
        return Path(self.name).suffix.lower(), self.options["model"]

    @property
    def ended(self) -> bool:
        return self.state in ("done", "failed", "cancelled")

    def seconds_left(self) -> float | None:
        """An estimate from the speed since the first progress, or None."""
        if self.state != "working" or not (self.begun and self.progress and self.progress[1]):
            return None
        (then, first), (done, total) = self.begun, self.progress
        return (time.monotonic() - then) / (done - first) * ((total or done) - done) if done > first else None


class Jobs:
    """All jobs of a server. Their files lie in `folder`, one folder for each."""

    def __init__(self, folder: Path):
        self._folder, self._jobs = folder, dict[str, Job]()
        self._changed = threading.Condition()
        self._process: tuple[Job, subprocess.Popen] | None = None
        self._speeds: dict[
            tuple, Counter
        ] = {}  # of each kind that was done: jobs, seconds of starting and of work, bytes
        threading.Thread(target=self._run, daemon=True).start()

    def all(self) -> list[Job]:
        """The jobs, the oldest first."""
        return list(self._jobs.values())

    def seconds_left(self) -> float | None:
        """An estimate for all that are not done, by how long others of their kind and size took; None where there are none."""
        left = 0.0
        for job in self.all():
            own, like = job.seconds_left(), self._speeds.get(job.kind)
            if own is not None:
                left += own
            elif like and not job.ended:
                left += like["starting"] / like["jobs"] + like["work"] * job.bytes / like["bytes"]
            elif not job.ended:
                return None
        return left

    def models(self) -> dict[str, Path]:
        """The models that were dropped, by their names."""
        return {job.name: job.source for job in self.all() if job.is_model and job.state == "done"}

    def find(self, key: str) -> Job | None:
        return self._jobs.get(key)

    def begin(self, name: str, options: Mapping[str, Any]) -> Job:
        """A new job for a file of that name, whose content is to be written to its `source`.

        Raises:
            UsageError: it is neither a picture nor a clip nor a model, or there are too many jobs.
        """
        name = _safe_name(name)
        suffix = Path(name).suffix.lower()
        if suffix not in pictures.READABLE | clips.READABLE | set(SUFFIXES):
            raise UsageError(f"{name}: neither a picture nor a clip that can be read, nor a model")
        with self._changed:
            if len(self._jobs) >= MAX_JOBS:
                raise UsageError(f"{name}: there are {MAX_JOBS} jobs already; remove some first")
            if suffix in SUFFIXES:  # it becomes a choice by its name, and every run's model is called generator.keras
                taken = {job.name for job in self._jobs.values() if job.is_model}
                others = (f"{Path(name).stem} ({number}){suffix}" for number in count(2))
                name = next(each for each in chain([name], others) if each not in taken)
            key = secrets.token_urlsafe(12)
            job = self._jobs[key] = Job(
                key,
                name,
                {**PICTURE_DEFAULTS, **options},
                self._folder / key,
                suffix in clips.READABLE,
                suffix in SUFFIXES,
            )
        job.folder.mkdir(mode=0o700)
        return job

    def queue(self, job: Job) -> None:
        """Let a job begin whose file has arrived."""
        with self._changed:
            if job.state == "arriving":
                job.state, job.bytes = "waiting", job.source.stat().st_size
            self._changed.notify_all()

    def fail(self, job: Job, message: str) -> None:
        """End a job with a line on why, and remove its files."""
        self._end(job, "failed", message)

    def cancel(self, job: Job) -> None:
        """Stop a job, within two seconds."""
        with self._changed:
            if job.ended:
                return
            job.state = "cancelled"
            process = self._process[1] if self._process and self._process[0] is job else None
        if process:
            process.terminate()
            try:
                process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
        else:
            shutil.rmtree(job.folder, ignore_errors=True)

    def remove_all(self, ended: bool) -> None:
        """Forget all jobs that have ended, or all that have not, the one under way last, so that no other begins."""
        for job in reversed(self.all()):
            if job.ended == ended:
                self.remove(job)

    def remove(self, job: Job) -> None:
        """Forget a job and its files."""
        self.cancel(job)
        self._jobs.pop(job.key, None)
        if job.state == "done":  # a browser may be promised a file that is not opened yet
            threading.Timer(_SERVED, shutil.rmtree, [job.folder], {"ignore_errors": True}).start()
        else:
            shutil.rmtree(job.folder, ignore_errors=True)

    def _end(self, job, state, message=""):
        with self._changed:
            if job.state != "cancelled":
                job.state, job.message = state, message
        if job.state != "done":
            shutil.rmtree(job.folder, ignore_errors=True)

    def _run(self):
        while True:
            with self._changed:
                while not (job := next((job for job in self._jobs.values() if job.state == "waiting"), None)):
                    self._changed.wait()
                job.state = "working"
            try:
                self._work(job)
            except OSError as error:
                self._end(job, "failed", f"{job.name}: {error.strerror or error}")

    def _work(self, job):
        if not Path(job.options["model"]).is_file():
            return self._end(job, "failed", f"{job.name}: its model was removed")
        task = {
            **job.options,
            "folder": str(job.folder),
            "source": job.name,
            "clip": job.is_clip,
            "is_model": job.is_model,
        }
        task["target"] = str(job.target.relative_to(job.folder))
        job.target.parent.mkdir()
        # -P: no module is ever imported from a folder in which uploads lie.
        command = [sys.executable, "-P", "-m", "srgan.web.worker"]
        begun = time.monotonic()
        with self._changed:
            if job.state == "cancelled":
                return shutil.rmtree(job.folder, ignore_errors=True)
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=_environment(job.folder)
            )
            self._process = job, process
        with process:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(json.dumps(task) + "\n")
                process.stdin.flush()
            ended = False
            for line in process.stdout:
                ended = self._take(job, json.loads(line)) or ended
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
        with self._changed:
            self._process = None
        if not ended:
            self._end(job, "failed", f"{job.name}: the process ended by itself, perhaps for want of memory")
        elif job.state == "cancelled":
            shutil.rmtree(job.folder, ignore_errors=True)
        elif job.state == "done":
            now = time.monotonic()
            started = job.begun[0] if job.begun else now
            speed = self._speeds.setdefault(job.kind, Counter())
            speed.update({"jobs": 1, "starting": started - begun, "work": now - started, "bytes": max(job.bytes, 1)})

    def _take(self, job, answer):
        """Note an answer of the process; whether it is the last."""
        if "progress" in answer:
            job.progress = tuple(answer["progress"])
            job.begun = job.begun or (time.monotonic(), job.progress[0])
        elif "note" in answer:
            text = (
                answer["note"]
                .replace(f"{job.folder}{os.sep}", "")
                .removeprefix(f"{job.name}: ")
                .removeprefix(f"{job.target.relative_to(job.folder)}: ")
            )
            job.notes.append(printable(text))
        elif "error" in answer:
            text = printable(answer["error"]).replace(f"{job.folder}{os.sep}", "")
            self._end(job, "failed", text if text.startswith(job.name) else f"{job.name}: {text}")
        else:
            job.result = answer["done"]
            self._end(job, "done")
        return "error" in answer or "done" in answer


def _environment(folder):
    """That of a job's process: it finds this package where the server does, and has its temporary files in `folder`."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path)), "TMPDIR": str(folder)}


def _safe_name(name):
    """The name without its folders and without what a file system or a terminal could misunderstand."""
    name = printable(name.replace("\\", "/").rpartition("/")[2]).replace("\\", "_").replace("%", "_").lstrip(".-")
    stem, suffix = os.path.splitext(name)
    while len(stem.encode()) > 100:
        stem = stem[:-1]
    return f"{stem or 'picture'}{suffix[:10]}"


def adjustable(model: Path) -> set[str]:
    """Which of "strength" and "denoise" the model at that path has: the others' files have to lie beside it."""
    found = {"denoise"} if denoise_ends(model) else set()
    with contextlib.suppress(UsageError):
        pixel_trained(model)
        found.add("strength")
    return found


def check(options: Mapping[str, Any], models: Mapping[str, Path]) -> dict[str, Any]:
    """The options of a job as they came from the page, checked. What the model does not have is as by default.

    Raises:
        SRGANError: one of them is out of range.
    """
    if options.get("model") not in models:
        raise SRGANError("the model is not there any more; choose another")
    model = models[options["model"]]
    checked = {key: options.get(key, default) for key, default in PICTURE_DEFAULTS.items()}
    checked |= {key: PICTURE_DEFAULTS[key] for key in {"strength", "denoise"} - adjustable(model)}
    scale, strength, denoise, quality = (checked[key] for key in ("scale", "strength", "denoise", "quality"))
    if scale is not None and not 0 < scale <= 32:
        raise SRGANError("the scale has to be above 0 and at most 32")
    if strength is None or not 0 <= strength <= 1:
        raise SRGANError("the strength has to be from 0 to 1")
    if denoise is not None and not 0 <= denoise <= 1:
        raise SRGANError("the noise removed has to be from 0 to 1")
    if quality is None:  # the field was emptied
        checked["quality"] = PICTURE_DEFAULTS["quality"]
    elif not 1 <= quality <= 100:
        raise SRGANError("the quality has to be from 1 to 100")
    if checked["format"] is not None and checked["format"] not in pictures.WRITABLE:
        raise SRGANError("the format is none that is written")
    return checked | {"model": str(model), "quality": int(quality)}

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
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path
from typing import Any

from srgan import pictures
from srgan.clips import formats as clips
from srgan.errors import SRGANError, UsageError, printable
from srgan.hub import SUFFIXES
from srgan.models import SHIPPED, denoise_ends, own_models, pixel_trained, shipped_models

MAX_JOBS = 500  # kept at once, finished ones included
MAX_BYTES = 4 * 2**30  # of one upload
_LONG = 3600.0  # seconds of expected work from which a job goes on only when that is confirmed
_SAMPLE = 3.0  # seconds of work from which that is expected
_PATIENCE = 1.0  # seconds that a stopped process may take to end by itself
_UNDO = 60.0  # seconds in which a removed result can be put back

DEFAULTS: dict = {"model": None, "scale": None, "strength": 1.0, "denoise": None, "format": None, "quality": 95}
_LIMITS = {"scale": (1, 32), "strength": (0, 1), "denoise": (0, 1), "quality": (1, 100)}


@dataclass
class Job:
    """One dropped file and what becomes of it."""

    key: str  # names the job in addresses; cannot be guessed
    name: str  # of the file, without folders
    options: dict[str, Any]  # model, scale, strength, denoise, format and quality
    folder: Path  # private to the job; the file lies in it under its name, the result in its folder `large`
    is_clip: bool  # whether it is a video file
    is_model: bool = False  # whether it is a model, which is tried and becomes a choice
    state: str = "arriving"  # then "waiting", "working" and "done", or "asking", "failed", "cancelled"
    message: str = ""  # why it failed
    notes: list[str] = field(default_factory=list)  # what it said on its way, such as of metadata that is left out
    progress: tuple[int, int | None] | None = None  # how many tiles or frames are done, of how many; None: not known
    begun: tuple[float, int] | None = None  # time (monotonic, seconds) of the first progress, and how far it was then
    bytes: int = 0  # size of the file, once it has arrived
    expected: float = 0.0  # seconds that it takes, by its speed at first; 0: not known
    removed: threading.Timer | None = None  # runs until the removed job is gone for good; None: it is not removed
    result: dict = field(default_factory=dict)  # once it is done: scale, sizes, bytes, the files that a browser shows

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
    def model(self) -> str:
        """The name of its model."""
        return Path(self.options["model"]).stem

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

    @property
    def to_do(self) -> bool:
        return not self.ended and self.state != "asking"

    def seconds_left(self) -> float | None:
        """An estimate from the speed since the first progress, or None."""
        if self.state == "waiting" and self.expected:
            return self.expected
        if self.state != "working" or not (self.begun and self.progress and self.progress[1]):
            return None
        (then, first), (done, total) = self.begun, self.progress
        seconds = time.monotonic() - then
        return seconds / (done - first) * ((total or done) - done) if done > first and seconds >= _SAMPLE else None


class Jobs:
    """All jobs of a server. Their files lie in `folder`, one folder for each."""

    def __init__(self, folder: Path):
        self._folder, self._jobs = folder, dict[str, Job]()
        self._changed = threading.Condition()
        self._process: tuple[Job, subprocess.Popen] | None = None
        # Of each kind that was done: jobs, seconds of starting and of work, bytes.
        self._speeds: dict[tuple, Counter] = {}
        threading.Thread(target=self._run, daemon=True).start()

    def all(self) -> list[Job]:
        """The jobs, the oldest first."""
        return [job for job in list(self._jobs.values()) if not job.removed]

    def find(self, key: str) -> Job | None:
        job = self._jobs.get(key)
        return None if job and job.removed else job

    def seconds_left(self) -> float | None:
        """An estimate for all that are to be done, by how long others of their kind and size took; None where there are none."""
        left = 0.0
        for job in self.all():
            own, like = job.seconds_left(), self._speeds.get(job.kind)
            if own is not None:
                left += own
            elif like and job.to_do:
                left += like["starting"] / like["jobs"] + like["work"] * job.bytes / like["bytes"]
            elif job.to_do:
                return None
        return left

    def models(self) -> dict[str, tuple[str, Path]]:
        """The models that can be chosen, by name: a line on what each is for, and its file. The default comes first."""
        shipped = {
            name: (f"{SHIPPED[name][0].upper()}{SHIPPED[name][1:]} ({name})", file)
            for name, file in shipped_models().items()
        }
        own = {}
        with contextlib.suppress(OSError):  # the folder may not be readable any more
            own = {name: (f"{name}, your own", file) for name, file in own_models().items() if name not in shipped}
        tried = [job for job in self.all() if job.is_model and job.state == "done"]
        return shipped | own | {job.name: (f"{job.name}, dropped here", job.source) for job in tried}

    def check(self, options: dict[str, Any]) -> dict[str, Any]:
        """The options of a job as they came from the page, checked. What the model does not have is as by default.

        Raises:
            SRGANError: one of them is out of range.
        """
        models, checked = self.models(), DEFAULTS | options
        if not allowed("model", checked["model"]) or checked["model"] not in models:
            raise SRGANError("the model is not there any more; choose another")
        _, model = models[checked["model"]]
        if checked["quality"] is None:  # the field was emptied
            checked["quality"] = DEFAULTS["quality"]
        checked |= {key: DEFAULTS[key] for key in {"strength", "denoise"} - adjustable(model)}
        for key, (least, most) in _LIMITS.items():
            if not allowed(key, checked[key]):
                raise SRGANError(f"the {key} has to be from {least} to {most}")
        if not allowed("format", checked["format"]) or checked["format"] not in {None, *pictures.WRITABLE}:
            raise SRGANError("the format is none that is written")
        return checked | {"model": str(model), "quality": int(checked["quality"])}

    def begin(self, name: str, options: dict[str, Any]) -> Job:
        """A new job for a file of that name, whose content is to be written to its `source`.

        Raises:
            UsageError: it is neither a picture nor a clip nor a model, or there are too many jobs.
        """
        name = _safe_name(name)
        suffix = Path(name).suffix.lower()
        if suffix not in pictures.READABLE | clips.READABLE | set(SUFFIXES):
            raise UsageError("neither a picture nor a clip that can be read, nor a model")
        with self._changed:
            if len(self.all()) >= MAX_JOBS:
                raise UsageError(f"there are {MAX_JOBS} jobs already; remove some first")
            if suffix in SUFFIXES:  # it becomes a choice by its name, and every run's model is called generator.keras
                taken = {job.name for job in self._jobs.values() if job.is_model}
                others = (f"{Path(name).stem} ({number}){suffix}" for number in count(2))
                name = next(each for each in chain([name], others) if each not in taken)
            key = secrets.token_urlsafe(12)
            kind = suffix in clips.READABLE, suffix in SUFFIXES
            job = Job(key, name, DEFAULTS | options, self._folder / key, *kind)
            job.folder.mkdir(mode=0o700)  # first: there is no job where the disk is full
            self._jobs[key] = job
        return job

    def queue(self, job: Job) -> None:
        """Let a job begin whose file has arrived."""
        with self._changed:
            if job.state == "arriving":
                job.state, job.bytes = "waiting", job.source.stat().st_size
            self._changed.notify_all()

    def again(self, job: Job, options: dict[str, Any]) -> None:
        """Do the file of a finished job once more.

        Raises:
            SRGANError: the options are wrong, or there are too many jobs.
        """
        another = self.begin(job.name, self.check(options))
        try:
            os.link(job.source, another.source)
        except OSError as error:
            return self._end(another, "failed", f"cannot be taken again ({error.strerror}); drop it once more")
        self.queue(another)

    def confirm(self, job: Job) -> None:
        """Let a job go on that takes long, after all others."""
        with self._changed:
            if job.state == "asking":
                job.state = "waiting"
            self._changed.notify_all()

    def remove(self, job: Job) -> None:
        """Forget a job and its files: a result in a minute, what has not ended at once; it is stopped within two seconds."""
        with self._changed:
            if job.removed:
                return
            if job.state == "done":
                job.removed = threading.Timer(_UNDO, self._forget, [job])  # a download may have begun, too
                job.removed.daemon = True
                return job.removed.start()
            job.state = "cancelled"
            self._jobs.pop(job.key, None)
            process = self._process[1] if self._process and self._process[0] is job else None
        if process:
            _stop(process)
        shutil.rmtree(job.folder, ignore_errors=True)

    def remove_all(self, ended: bool) -> None:
        """Forget all jobs that have ended, or all that have not, the one under way last, so that no other begins."""
        for job in reversed(self.all()):
            if job.ended == ended:
                self.remove(job)

    def removed(self) -> list[Job]:
        """What can be put back."""
        return [job for job in list(self._jobs.values()) if job.removed]

    def put_back(self) -> None:
        with self._changed:
            for job in self._jobs.values():
                if job.removed:
                    job.removed.cancel()
                    job.removed = None

    def _forget(self, job):
        with self._changed:
            if not job.removed:  # put back meanwhile
                return
            self._jobs.pop(job.key, None)
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
                while not (waiting := [job for job in self._jobs.values() if job.state == "waiting"]):
                    self._changed.wait()
                job = min(waiting, key=lambda job: job.expected)  # the first, and what takes long after the others
                job.state = "working"
            try:
                self._work(job)
            except OSError as error:
                self._end(job, "failed", error.strerror or str(error))

    def _work(self, job):
        if not Path(job.options["model"]).is_file():
            return self._end(job, "failed", "its model was removed")
        task = job.options | {"folder": str(job.folder), "source": job.name, "clip": job.is_clip}
        task |= {"target": str(job.target.relative_to(job.folder)), "is_model": job.is_model}
        job.target.parent.mkdir(exist_ok=True)
        # -P: no module is ever imported from a folder in which uploads lie.
        command = [sys.executable, "-P", "-m", "srgan.web.worker"]
        begun, job.progress, job.begun = time.monotonic(), None, None
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
            for line in process.stdout:
                self._take(job, json.loads(line))
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
        with self._changed:
            self._process = None
        if job.state == "working":
            self._end(job, "failed", "the process ended by itself, perhaps for want of memory")
        elif job.state == "cancelled":
            shutil.rmtree(job.folder, ignore_errors=True)
        elif job.state == "done":
            now = time.monotonic()
            started = job.begun[0] if job.begun else now
            speed = self._speeds.setdefault(job.kind, Counter())
            speed.update({"jobs": 1, "starting": started - begun, "work": now - started, "bytes": max(job.bytes, 1)})

    def _take(self, job, answer):
        """Note an answer of the process."""
        if "progress" in answer:
            job.progress = tuple(answer["progress"])
            job.begun = job.begun or (time.monotonic(), job.progress[0])
            if not job.expected and (left := job.seconds_left()):
                job.expected = left
                if left >= _LONG:
                    self._ask(job)
        elif "note" in answer:
            job.notes.append(_of_the_row(job, answer["note"]))
        elif "error" in answer:
            self._end(job, "failed", _of_the_row(job, answer["error"]))
        else:
            job.result = answer["done"]
            self._end(job, "done")

    def _ask(self, job):
        with self._changed:
            if job.state == "working":
                job.state, process = "asking", self._process[1]
                threading.Thread(target=_stop, args=[process]).start()  # while what it still says is read


def _stop(process):
    process.terminate()
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()


def _of_the_row(job, text):
    """What a process says, without the names that the row of the job has already."""
    text = printable(text.replace(f"{job.folder}{os.sep}", ""))
    return text.removeprefix(f"{job.name}: ").removeprefix(f"{job.target.relative_to(job.folder)}: ")


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


def allowed(key: str, value: Any) -> bool:
    """Whether the option can have the value; which models and formats there are is another question."""
    if key not in _LIMITS:
        return value is None or isinstance(value, str)
    least, most = _LIMITS[key]
    return DEFAULTS[key] is None if value is None else type(value) in (int, float) and least <= value <= most


def adjustable(model: Path) -> set[str]:
    """Which of "strength" and "denoise" the model at that path has: the others' files have to lie beside it."""
    found = set()
    with contextlib.suppress(UsageError, OSError):
        if denoise_ends(model):
            found.add("denoise")
        pixel_trained(model)
        found.add("strength")
    return found

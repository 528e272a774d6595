"""A folder of pictures over a Ray cluster: what `srgan-upscale --ray` does.

This process walks the folder and gives one file after another to the workers, Ray actors with an `Upscaler` each. A worker
reads, computes and writes by itself, on a path that all machines share or through fsspec, so that names alone travel.
"""

import logging
import os
import signal
import socket
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from srgan.errors import SRGANError, UsageError
from srgan.interrupts import clean_up_and_end, cleaned_up, stay_if_ending
from srgan.shared_folder import is_there, upscale_shared_file
from srgan.upscale.picture_job import FOR_CLIPS, Task

_MOST_CORES = 4  # of one worker: more workers of fewer cores are faster, but each holds the model and a tile in memory
_AHEAD = 2  # tasks that a worker has: the network computes one while the other is read or written
_ATTEMPTS = 3  # of one file whose worker is killed

_log = logging.getLogger("srgan")


class Worker:
    """One `Upscaler`, to be run by Ray in a process of its own.

    Args:
        settings: arguments of `Upscaler`.
        folders: of inputs and outputs, as in `srgan.shared_folder`.
        base: the folder that relative paths are relative to.
        options: for `upscale_file`.
    """

    def __init__(self, settings, folders, base, options):
        self._settings, self._folders, self._base, self._options = settings, folders, base, options
        self._log, self._turn = _Messages(), threading.Lock()
        logging.getLogger("srgan").handlers = [self._log]
        logging.getLogger("srgan").setLevel(logging.INFO)

    def load(self):
        """Load the model. Returns the messages."""
        from PIL import Image

        from srgan.upscale import Upscaler

        Image.MAX_IMAGE_PIXELS = None  # the option stands for it
        for folder in self._folders:
            if not is_there(folder, self._base):
                raise SRGANError(f"{folder}: is not there; a cluster needs a path that all machines share, or s3://")
        self._upscaler = Upscaler(**self._settings)
        if self._upscaler.engine.description.over_time:
            _log.info("%s", FOR_CLIPS)
        return self._log.taken()

    def upscale(self, task):
        """Return the task and the messages. Called in several threads, of which one computes at a time."""
        return upscale_shared_file(task, self._upscaler, self._base, self._log, turn=self._turn, **self._options)

    def stop(self):
        clean_up_and_end(0)


class _Messages(logging.Handler):
    """Keeps the level and the text of what is logged, apart for each thread."""

    def __init__(self):
        super().__init__()
        self._of = defaultdict(list)

    def emit(self, record):
        self._of[record.thread].append((record.levelno, record.getMessage()))

    def taken(self):
        """What this thread has logged since it was asked last."""
        return self._of.pop(threading.get_ident(), [])


@dataclass(eq=False)
class _Hired:
    """A worker as the driver sees it."""

    place: tuple[str, int]  # the node, and which of its workers
    address: str
    actor: Any
    loading: Any
    ready: bool = False
    tasks: dict = field(default_factory=dict)  # by reference, in the order in which they are done


def upscale_on_cluster(
    tasks: Iterable[Task],
    address: str,
    settings: dict,
    folders: tuple[str, str],
    *,
    threads: int | None = None,
    on_done: Callable[[Task], None],
    **options,
) -> None:
    """Upscale files on a Ray cluster. What fails has its error; what a worker that was killed had is done again.

    Args:
        tasks: taken only as far ahead as there are workers.
        address: of the cluster, or "auto".
        settings: arguments of `srgan.Upscaler`.
        folders: see `Worker`.
        threads: the cores of each worker; None: 4, or as many as the machine has.
        on_done: called with each task, in the order in which they end; standard output is closed to it and to `tasks`.
        options: for `srgan.upscale.picture_job.upscale_file`.

    Raises:
        SRGANError: there is no such cluster, or no worker is left.
    """
    tasks = iter(tasks)
    if (first := next(tasks, None)) is None:
        return
    with _connected(address) as ray:
        crew = _Crew(ray, (settings, folders, os.getcwd(), options), threads)
        with cleaned_up(crew.stop):
            for task in crew.work(chain([first], tasks)):
                on_done(task)


class _Crew:
    """The workers on all nodes, and what each of them does."""

    def __init__(self, ray, arguments, threads):
        self._ray, self._arguments, self._threads = ray, arguments, threads
        ray.method(concurrency_group="stop")(Worker.stop)
        remote = ray.remote(concurrency_groups={"stop": 1}, max_concurrency=_AHEAD, max_restarts=0, max_task_retries=0)
        self._class = remote(Worker)
        self._workers: list[_Hired] = []
        self._refused: set[tuple[str, int]] = set()  # places where a worker could not start
        self._problem: Exception | None = None
        self._told: set[str] = set()
        self._again: deque[Task] = deque()  # each of which a worker does alone, as it may be what kills it
        self._lost: Counter = Counter()  # how often the worker of a source was killed

    def work(self, tasks: Iterator[Task]) -> Iterator[Task]:
        """Yield the tasks as they end."""
        started = recruited = time.monotonic()
        self._recruit()
        left, waiting = True, False
        while True:
            for room in range(_AHEAD):
                for worker in self._workers:
                    if worker.ready and len(worker.tasks) == room and left and not (room and self._suspects(worker)):
                        task = self._again.popleft() if self._again else next(tasks, None)
                        left = task is not None
                        if task is not None:
                            worker.tasks[worker.actor.upscale.remote(task)] = task
            busy = {ref: worker for worker in self._workers for ref in worker.tasks}
            loading = {worker.loading: worker for worker in self._workers if not worker.ready}
            if not busy and not left:
                return
            if not busy and not loading:
                raise self._problem or SRGANError("no worker is left; the same command with --skip-existing goes on")
            ended, _ = self._ray.wait([*busy, *loading], timeout=1)
            stay_if_ending()  # else workers that `stop` has ended would be replaced
            for ref in ended:
                if ref in loading:
                    self._loaded(loading[ref])
                elif ref in busy[ref].tasks:  # else its worker was lost with an earlier one
                    yield from self._done(busy[ref], ref)
            left = left or bool(self._again)
            if not busy and not waiting and time.monotonic() - started > 30:
                waiting = True
                _log.info("waiting for the cluster's cores, which are taken, or for its workers, which load the model")
            if time.monotonic() - recruited > 5:
                self._recruit()
                recruited = time.monotonic()

    def stop(self) -> None:
        """End all workers now, which remove what they have half written."""
        stopping = [worker.actor.stop.remote() for worker in self._workers]
        if stopping:  # called twice, within the 1.5 s that cleaning up may take; workers that still start do not answer
            self._ray.wait(stopping, num_returns=len(stopping), timeout=0.6)

    def _recruit(self):
        """Start what workers are missing on the nodes that are there."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        places = {worker.place for worker in self._workers} | self._refused
        for node in self._ray.nodes():
            for index, share in enumerate(_shares(node["Resources"], self._threads) if node["Alive"] else []):
                place = node["NodeID"], index
                if place in places:
                    continue
                settings, *others = self._arguments
                here = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                actor = self._class.options(scheduling_strategy=here, **share).remote(
                    settings | {"threads": share["num_cpus"]}, *others
                )
                self._workers.append(_Hired(place, node["NodeManagerAddress"], actor, actor.load.remote()))

    def _loaded(self, worker):
        try:
            messages = self._ray.get(worker.loading)
        except self._ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None)
            if isinstance(cause, UsageError):
                raise type(cause)(str(cause)) from None
            what = str(cause) if isinstance(cause, SRGANError) else _last_line(error)
            self._problem = SRGANError(f"no worker could start; {worker.address}: {what}")
            self._refused.add(worker.place)
            self._workers.remove(worker)
            _log.warning("%s: no worker there: %s", worker.address, what)
            return
        worker.ready = True
        for level, text in messages:
            if text not in self._told:
                self._told.add(text)
                _log.log(level, "%s", text)

    def _done(self, worker, ref):
        """Yield the task of a reference; of a worker that was killed, those that failed too often."""
        try:
            task, messages = self._ray.get(ref)
        except self._ray.exceptions.RayTaskError as error:
            task, messages = worker.tasks[ref], []
            task.error = SRGANError(_last_line(error))
        except self._ray.exceptions.RayError:
            yield from self._replace(worker)
            return
        del worker.tasks[ref]
        for level, text in messages:
            _log.log(level, "%s", text)
        yield task

    def _suspects(self, worker):
        """Whether something waits, or is under way in that worker, whose worker was killed before."""
        return self._again or any(self._lost[str(task.source)] for task in worker.tasks.values())

    def _replace(self, worker):
        self._workers.remove(worker)
        self._ray.kill(worker.actor)
        for task in worker.tasks.values():
            self._lost[str(task.source)] += 1
            if self._lost[str(task.source)] < _ATTEMPTS:
                _log.warning("%s: its worker on %s was killed; it is done again", task.source, worker.address)
                self._again.append(task)
            else:
                task.error = SRGANError(f"its worker was killed {_ATTEMPTS} times; is there enough memory for it?")
                yield task
        self._recruit()


def _shares(resources, threads):
    """What each worker of a node takes: one GPU, or some cores."""
    cores, gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
    if not cores:
        return []
    most = min(threads or _MOST_CORES, cores)
    if gpus:
        return min(gpus, cores) * [{"num_cpus": max(1, min(most, cores // gpus)), "num_gpus": 1}]
    return cores // most * [{"num_cpus": most}]


def _require_answer(address):
    """Fail at once where nothing listens at HOST:PORT: Ray would try for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal():
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
        except OSError as error:
            raise SRGANError(f"--ray {address}: no Ray cluster answers there ({error.strerror or error})") from error


def _last_line(error):
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


@contextmanager
def _connected(address):
    """Yield the module `ray` of a connection to an existing cluster."""
    try:
        import ray
    except ImportError as error:
        raise SRGANError(f"--ray needs Ray, which cannot be imported ({error}): pip install '.[ray]'") from error
    _require_answer(address)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
    except (ConnectionError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        raise SRGANError(f"--ray {address}: no Ray cluster answers there; `ray start --head` starts one") from error
    try:
        for number, handler in handlers.items():  # Ray has installed its own
            signal.signal(number, handler)
        # What Ray prints when a worker dies cannot be turned off.
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
            yield ray
            ray.shutdown()
    finally:
        ray.shutdown()

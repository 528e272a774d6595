"""srgan-upscale --ray"""

import logging
import os
import sys
from collections import Counter

from srgan.cli.effects import tell_without_effect
from srgan.cli.telling import tell_changed_formats, tell_file, tell_left_out, tell_plan
from srgan.cluster import upscale_on_cluster
from srgan.errors import UsageError
from srgan.interrupts import cleaned_up
from srgan.models import absolute, default_notice, find_model
from srgan.shared_folder import check_folders, make_folder, walk
from srgan.upscale.picture_job import Task, report
from srgan.upscale.picture_planning import LeftOut
from srgan.upscale.remarks import Notes, tell_remarks

_log = logging.getLogger("srgan")


def upscale_folder(arguments, suffix: str | None, settings: dict, options: dict) -> int:
    """Upscale a folder of pictures on a Ray cluster and say what became of each. Returns the exit status.

    Args:
        arguments: of the command.
        suffix: of the outputs; None: the inputs' own.
        settings: arguments of `srgan.Upscaler`.
        options: for `srgan.upscale.picture_job.upscale_file`.
    """
    if len(arguments.input) > 1:
        raise UsageError("--ray takes one folder of pictures, and a folder for the results")
    source, output = arguments.input[0], arguments.output
    check_folders(source, output, suffix)
    model = find_model(arguments.model)
    settings = settings | {name: absolute(settings[name]) for name in ("model", "pixel_model")}
    telling = {"verbose": arguments.verbose, "as_json": arguments.json, "model": model, "out": sys.stdout}
    counts = Counter(done=0, skipped=0, failed=0)
    left_out = LeftOut()
    named: Counter[tuple] = Counter()  # suffixes of inputs and outputs, as names
    remarked: list[Task] = []
    notes = Notes()

    def on_problem(line):
        counts["failed"] += 1
        _log.error("%s", line)

    def tell(task, status):
        counts[status] += 1
        facts = {"error": task.error, "sizes": task.sizes, "denoise": task.denoise, "seconds": round(task.seconds, 3)}
        tell_file(task.source, task.target, status, number=counts.total(), **facts, **telling)

    def on_done(task):
        if task.error:
            report(task)
        notes.tell(task)
        if task.remarks:
            remarked.append(task)
        tell(task, "failed" if task.error else "done")

    def tasks():
        choice = {"recursive": arguments.recursive, "suffix": suffix, "on_problem": on_problem, "left_out": left_out}
        for task, there in walk(source, output, **choice):
            pair = task.source, task.target
            named[tuple("x" + os.path.splitext(path)[1] for path in pair)] += 1
            if arguments.dry_run:
                sizes = settings["scale"], settings["fit"]
                tell_plan([pair], arguments.skip_existing, *sizes, arguments.json, there)
            elif there and arguments.skip_existing:
                tell(task, "skipped")
            else:
                yield task

    if arguments.dry_run:
        list(tasks())
        return 1 if counts["failed"] else 0
    if arguments.model is None:
        _log.info("%s", default_notice([]))
    make_folder(output)
    with cleaned_up(lambda: f"{counts['done']} pictures done; the same command with --skip-existing does the rest"):
        folders = source, output
        upscale_on_cluster(
            tasks(), arguments.ray, settings, folders, threads=arguments.threads, on_done=on_done, **options
        )
    notes.tell_rest()
    tell_remarks(remarked)
    tell_left_out(left_out)
    if not counts.total():
        raise UsageError(f"{source}: no pictures there{left_out.why_nothing}")
    tell_without_effect(arguments, list(named), [])
    if not suffix:
        tell_changed_formats(list(named.elements()))
    if not arguments.quiet:
        print(f"srgan: {', '.join(f'{count} {what}' for what, count in counts.items())}", file=sys.stderr)
    return 1 if counts["failed"] else 0

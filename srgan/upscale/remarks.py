"""What is said of pictures: the same of many of them in one line."""

import logging
from collections import Counter
from collections.abc import Iterable

_log = logging.getLogger("srgan")


class Notes:
    """Says the notes of tasks: each where it first comes up, and at the end how many more pictures have it."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def tell(self, task) -> None:
        """Say those notes of a `picture_job.Task` that no task before it had."""
        for note in task.notes:
            self._counts[note] += 1
            if self._counts[note] == 1:
                _log.info("%s: %s", task.source, note)

    def tell_rest(self) -> None:
        """Say of each note how many more tasks had it."""
        for note, count in self._counts.items():
            if count > 1:
                _log.info("%d more picture%s: %s", count - 1, "s" * (count > 2), note)


def tell_remarks(tasks: Iterable) -> None:
    """Say the remarks of all tasks, each in one line."""
    remarks: dict[str, list] = {}
    for task in tasks:
        for remark in task.remarks:
            remarks.setdefault(remark, []).append(task.source)
    for remark, sources in remarks.items():
        if len(sources) == 1:
            _log.info("%s: is %s", sources[0], remark)
        else:
            _log.info("%d pictures, the first %s, are %s", len(sources), sources[0], remark)

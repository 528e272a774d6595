"""The progress bar of the commands."""

import os

from tqdm import tqdm

NARROW = 60  # columns; in fewer there is no room for a bar beside the numbers


class Bar(tqdm):
    """tqdm's bar on a terminal only, as wide as that is at any time; in a narrow one just how far, and the time left."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **{"disable": None, "leave": False, "dynamic_ncols": True, **options})

    @staticmethod
    def status_printer(file):
        if os.name == "nt":
            return tqdm.status_printer(file)

        def show(text):  # tqdm would pad it to the length of the one before, which a narrower terminal wraps
            file.write(f"\r{text}\x1b[K")
            file.flush()

        return show

    @staticmethod
    def format_meter(n, total, elapsed, ncols=None, bar_format=None, postfix=None, **more):
        if not (ncols and ncols < NARROW and total):
            return tqdm.format_meter(n, total, elapsed, ncols=ncols, bar_format=bar_format, postfix=postfix, **more)
        name = more.get("prefix") or ""
        count = "" if postfix or len(name) > 12 else "{n_fmt}/{total_fmt} "
        short = f"{name and name + ': '}{{percentage:3.0f}}% {count}{{remaining}} left{{postfix}}"
        return tqdm.format_meter(n, total, elapsed, ncols=ncols, bar_format=short, postfix=postfix, **more)[:ncols]

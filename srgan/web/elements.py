"""What the page shows: where to drop files, the options, the jobs, and the viewer of one of them."""

import contextlib
import html
import json
from collections.abc import Callable
from pathlib import Path

from nicegui import ui

from srgan import pictures
from srgan.clips import formats as clips
from srgan.errors import SRGANError
from srgan.hub import SUFFIXES
from srgan.models import is_shipped
from srgan.web.jobs import Job, Jobs, adjustable, allowed

_HERE = Path(__file__).parent
_FORMATS = {None: "the same", ".jpg": "JPEG", ".png": "PNG", ".webp": "WebP", ".tif": "TIFF"}
_FORMATS |= {".avif": "AVIF", ".jxl": "JPEG XL"}
_SCALES = {None: "usually x4", 2: "x2", 3: "x3", 4: "x4", 8: "x8"}
_KEPT = "try { return JSON.parse(localStorage.srgan) } catch { return {} }"
_KEEP = "try { localStorage.srgan = %s } catch {}"


def show_page(jobs: Jobs, options: dict, tab: str) -> None:
    """Build the page of one tab.

    Args:
        jobs: of the server, the same for every tab.
        options: of this tab, changed by what is chosen; jobs begin with them. The browser keeps them for the next time.
        tab: names the options in the addresses of uploads.
    """
    ui.add_css(_HERE / "page.css")
    with ui.element("div").classes("heading w-full"):
        ui.html("<h1>Make pictures larger</h1>", sanitize=False)
        left = ui.label().classes("left soft")
    kinds = sorted(pictures.READABLE | clips.READABLE)
    ui.html(_drop_zone(tab, kinds), sanitize=False).classes("w-full")
    rest = ui.element("div").classes("rest")
    ui.add_body_html(
        f"<script>addEventListener('load', () => {{ {(_HERE / 'drop.js').read_text(encoding='utf-8')} }})</script>"
    )

    async def begin():
        kept = None
        with contextlib.suppress(TimeoutError):
            kept = await ui.run_javascript(_KEPT, timeout=20)
        if isinstance(kept, dict):  # it may be of another version, or another program's
            options.update({key: value for key, value in kept.items() if key in options and allowed(key, value)})
        with rest:
            with ui.element("div").classes("for-next"):
                ui.html("<h2>For the next files</h2>", sanitize=False)
                with ui.element("div").classes("options"):
                    model = _show_options(options, jobs)
            _show_jobs(jobs, options, model, left)

    ui.timer(0, begin, once=True)  # when the browser is there


def _drop_zone(tab, kinds):
    return f"""<div id="drop" data-tab="{html.escape(tab)}" data-kinds="{" ".join(kinds)}">
<p>Drop pictures, folders or clips here. They stay on this computer.</p>
<button data-for="files">Choose files</button> <button data-for="folder">Choose a folder</button>
<input type="file" id="files" multiple accept="{",".join([*kinds, *SUFFIXES])}" aria-label="Files">
<input type="file" id="folder" webkitdirectory aria-label="A folder">
<p id="said" role="status"></p></div>"""


def _show_options(options, jobs):
    model = _choice(_lines(jobs), "Kind of picture (model)", options, "model")
    _choice(_SCALES, "Enlarged by", options, "scale")
    _choice(_FORMATS, "File format", options, "format")
    quality = ui.number("Quality of JPEGs", min=1, max=100, precision=0).bind_value(options, "quality")
    quality.props('outlined hint="Less: smaller files"').tooltip("1 to 100, of WebP and AVIF, too")
    strength, hint = _slider("Invented detail", options, "strength", 1.0)
    denoise, more = _slider("Noise removed", options, "denoise", 0.5, auto="Automatic")
    more.set_text("More is smoother.")

    def adjust(name):
        _, file = jobs.models().get(name, (None, None))
        able = adjustable(file) if file else set()
        strength.props["disabled"] = "strength" not in able
        hint.set_text("Less is closer to the original." if "strength" in able else "Not with this model.")
        denoise.parent_slot.parent.set_visibility("denoise" in able)

    adjust(options["model"])
    model.on_value_change(lambda event: adjust(event.value))
    return model


def _lines(jobs):
    return {name: line for name, (line, _) in jobs.models().items()}


def _choice(choices, label, options, key):
    if options[key] not in choices:
        options[key] = next(iter(choices), None)
    return ui.select(choices, label=label).bind_value(options, key).props("outlined options-dense")


def _slider(label, options, key, usual, auto=None):
    """A slider from less to more that begins at `usual`, and the line below it; `auto` is what a box says that stands for None."""

    def take(event):
        slider.props["value"] = event.args
        options[key] = float(event.args)
        if auto:
            box.set_value(False)

    def leave(event):
        """Whether the slider is left alone, once the box says so."""
        if event.value:
            options[key] = None
        elif options[key] is None:
            options[key] = float(slider.props["value"])

    with ui.element("div").classes("slider"):
        ui.label(label)
        slider = ui.element("input").props(f'type=range min=0 max=1 step=0.05 aria-label="{label}"')
        slider.props["value"] = usual if options[key] is None else options[key]
        slider.on("change", take, js_handler="(event) => emit(event.target.value)")
        with ui.element("div").classes("ends"):
            ui.label("less")
            ui.label("more")
        if auto:
            box = ui.checkbox(auto, value=options[key] is None, on_change=leave).props(f'dense aria-label="{auto}"')
            box.tooltip("By each picture's own noise; clips get the middle")
        note = ui.label().classes("soft")
    return slider, note


def _show_jobs(jobs: Jobs, options: dict, model: ui.select, left: ui.label) -> None:
    shown: dict[str, str | None] = {"key": None}
    seen: set[str] = set()
    batch: set[str] = set()  # what has come since there was nothing to do
    rows: dict[str, tuple[ui.element, Callable[[], None]]] = {}
    kept = dict(options)

    def show(job: Job | None, asked: bool = False):
        shown["key"] = job.key if job else None
        viewer.clear()
        viewer.set_visibility(job is not None)
        if job:
            with viewer:
                _viewer(job)
        if asked and job:
            viewer.run_method("scrollIntoView", {"block": "nearest"})

    def act(action: str, job: Job):
        """What a button of a row does."""
        if action == "Use":
            offer()
            model.set_value(job.name)
        elif action == "Again":
            try:
                jobs.again(job, options)
            except (SRGANError, OSError) as error:  # such as a full disk
                ui.notify(f"{job.name}: {getattr(error, 'strerror', error)}")
        elif action == "Start anyway":
            jobs.confirm(job)
        elif action in ("Cancel", "Remove"):
            jobs.remove(job)
        else:
            show(job, True)

    with ui.element("div").classes("work"):
        with ui.element("div").classes("side"):
            with ui.element("div").classes("heading") as heading:
                ui.html("<h2>Results</h2>", sanitize=False)
                unsent = "() => { window.dispatchEvent(new Event('cancelall')); emit() }"  # what is not sent yet
                stop = _button("Cancel all", lambda: jobs.remove_all(ended=False), unsent)
                clear = _button("Remove all", lambda: jobs.remove_all(ended=True))
                undo = _button("Undo Remove", jobs.put_back)
                with ui.element("a").props('href="all.zip" download') as archive:
                    ui.label("Download all (ZIP)")
            column = ui.element("div").classes("jobs")
        viewer = ui.element("div").classes("shown")

    def offer():
        """Offer the models that were dropped or put into the folder meanwhile, too."""
        if (offered := _lines(jobs)) != model.options:
            model.set_options(offered, value=model.value if model.value in offered else next(iter(offered), None))

    def update():
        present = {job.key: job for job in reversed(jobs.all())}
        for key in [key for key in rows if key not in present]:
            rows.pop(key)[0].delete()
        for place, (key, job) in enumerate(present.items()):
            if key not in rows:
                with column:
                    rows[key] = _row(job, act)
                rows[key][0].move(target_index=place)
                batch.update({key} - seen)  # what is put back is not new
                seen.add(key)
            row, renew = rows[key]
            renew()
            row.classes(add="current" if key == shown["key"] else "", remove="" if key == shown["key"] else "current")
        done = [job for job in present.values() if job.state == "done" and not job.is_model]
        count = sum(job.to_do for job in present.values())
        left.set_text(f"{count} to go{_time(jobs.seconds_left())}" if count else "")
        stop.set_visibility(count > 1)
        clear.set_visibility(len(present) > 1 and not count)
        undo.set_visibility(bool(jobs.removed()))
        heading.set_visibility(bool(present or jobs.removed()))
        archive.set_visibility(len(done) > 1)
        # The first result is shown at once, and later that of a file that was dropped alone: nobody is interrupted.
        alone = [job for job in done if batch == {job.key}]
        if not count:
            batch.clear()
        if alone or done and shown["key"] not in present:
            show(alone[0] if alone else done[0])
        elif shown["key"] and shown["key"] not in present:
            show(None)
        if options != kept:
            kept.update(options)
            ui.run_javascript(_KEEP % json.dumps(json.dumps(kept)))

    show(None)
    update()
    ui.timer(0.25, update)
    ui.timer(3, offer)


def _viewer(job: Job) -> None:
    place = f"jobs/{job.key}"
    with ui.element("div").classes("heading"):
        ui.label(job.name).classes("name")
        _download(job)
    if job.is_clip:
        ui.element("video").props(f'controls autoplay muted playsinline src="{place}/after"').classes("viewer")
    elif job.result["before"] and job.result["after"]:
        frame = ui.element("iframe").classes("viewer")
        frame.props["src"], frame.props["title"] = f"{place}/view", f"Before and after of {job.name}"
    else:
        ui.label("Browsers cannot show this format; download it.")


def _download(job):
    with ui.element("a").props(f'href="jobs/{job.key}/download" download') as link:
        link.props["aria-label"] = f"Download {job.name}"
        ui.label("Download")


def _row(job: Job, act: Callable[[str, Job], None]) -> tuple[ui.element, Callable[[], None]]:
    """The row of a job, and what brings it up to date."""
    last: list = [None, None]
    with ui.element("div").classes("job").props("role=group") as row:
        row.props["aria-label"] = job.name
        ui.label(job.name).classes("name")
        state = ui.label().classes("state")
        buttons = ui.element("div").classes("buttons")
        bar = ui.element("progress")
        bar.props["aria-label"] = f"Progress of {job.name}"

    def renew():
        before, last[:] = list(last), [job.state, _text(job)]
        if last == before:
            return
        state.set_text(last[1])
        row.props["data-state"] = job.state
        bar.set_visibility(job.state == "working")
        if job.progress and job.progress[1]:
            bar.props["value"], bar.props["max"] = job.progress
        if last[0] != before[0]:
            state.classes(add="bad" if job.state == "failed" else "")
            buttons.clear()
            with buttons:
                _buttons(job, act)

    return row, renew


def _buttons(job, act):
    names = ["Remove"] if job.ended else ["Cancel"]
    if job.state == "asking":
        names.insert(0, "Start anyway")
    elif job.state == "done" and job.is_model:
        names.insert(0, "Use")
    elif job.state == "done":
        _download(job)
        names[:0] = ["Play" if job.is_clip else "Compare", "Again"]
    for name in names:
        button = _button(name, lambda name=name: act(name, job))
        button.props["aria-label"] = f"{name} {job.name}"
        if name == "Again":
            button.props["title"] = "Once more, with the options chosen now"


def _button(text, action, script=None):
    with ui.element("button").on("click", action, js_handler=script) as button:
        ui.label(text)
    return button


def _text(job: Job) -> str:
    if job.state == "failed":
        return job.message
    text = job.state
    if job.state == "working" and job.progress:
        done, total = job.progress
        if not total:
            text = f"{done} frames"
        else:
            text = f"{100 * done // total} %{_time(job.seconds_left())}" if done < total else "writing the file"
    elif job.state == "asking":
        text = f"takes {_duration(job.expected)} on this computer; the others go first"
    elif job.state == "done" and job.is_model:
        text = f"A model that enlarges x{job.result['scale']:g}"
    elif job.state == "done":
        (width, height), (new_width, new_height) = job.result["sizes"]
        text = f"{width} × {height} → {new_width} × {new_height} pixels, {_bytes(job.result['bytes'])}\nby {job.model}"
    hint = job.is_clip and is_shipped(job.options["model"]) and job.model not in ("srgan-video", "srgan-fast")
    return "\n".join([text, *job.notes, *["srgan-video flickers less, srgan-fast is quicker"] * hint])


def _bytes(size):
    return f"{size / 1e6:.{0 if size >= 1e7 else 1}f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"


def _time(seconds):
    return "" if seconds is None else f", {_duration(seconds)} left"


def _duration(seconds):
    if seconds >= 5400:
        return f"{seconds / 3600:.0f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{max(seconds, 1):.0f} s"

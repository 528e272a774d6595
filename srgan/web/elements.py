"""What the page shows: where to drop files, the options, the jobs, and the viewer of one of them."""

import html
from collections.abc import Callable
from pathlib import Path

from nicegui import ui

from srgan import pictures
from srgan.clips import formats as clips
from srgan.hub import SUFFIXES
from srgan.web.jobs import PICTURE_DEFAULTS, Job, Jobs

_HERE = Path(__file__).parent
_FORMATS = {
    None: "the same",
    ".jpg": "JPEG",
    ".png": "PNG",
    ".webp": "WebP",
    ".tif": "TIFF",
    ".avif": "AVIF",
    ".jxl": "JPEG XL",
}
_SCALES = {None: "as the model does (usually x4)", 2: "x2", 3: "x3", 4: "x4", 8: "x8"}
_STATES = {"arriving": "arriving", "waiting": "waiting", "working": "working", "done": "done", "cancelled": "cancelled"}


def show_page(
    jobs: Jobs, options: dict, tab: str, models: dict[str, str], adjustable: Callable[[str], set[str]]
) -> None:
    """Build the page of one tab.

    Args:
        jobs: of the server, the same for every tab.
        options: of this tab, changed by what is chosen; jobs begin with them.
        tab: names the options in the addresses of uploads.
        models: a line on each model, by name.
        adjustable: which of "strength" and "denoise" a model has, by its name.
    """
    ui.add_css(_HERE / "page.css")
    options |= {**PICTURE_DEFAULTS, "model": next(iter(models), None)}
    ui.html("<h1>Make pictures larger</h1>", sanitize=False)
    kinds = sorted(pictures.READABLE | clips.READABLE)
    ui.html(_drop_zone(tab, kinds), sanitize=False).classes("w-full")
    with ui.element("div").classes("work"):
        left = ui.label().classes("left")
        viewer = ui.element("div").classes("shown")
        with ui.element("div").classes("side"):
            results = ui.element("div").classes("side")
            ui.html("<h2>For the next files</h2>", sanitize=False).classes("next")
            with ui.element("div").classes("options"):
                model = _show_options(options, models, adjustable)
            with results:
                _show_jobs(jobs, left, viewer, model, models)
    ui.add_body_html(
        f"<script>addEventListener('load', () => {{ {(_HERE / 'drop.js').read_text(encoding='utf-8')} }})</script>"
    )


def _drop_zone(tab, kinds):
    return f"""<div id="drop" data-tab="{html.escape(tab)}" data-kinds="{" ".join(kinds)}">
<p>Drop pictures, folders or clips here. They stay on this computer.</p>
<button data-for="files">Choose files</button> <button data-for="folder">Choose a folder</button>
<input type="file" id="files" multiple accept="{",".join([*kinds, *SUFFIXES])}" aria-label="Files">
<input type="file" id="folder" webkitdirectory aria-label="A folder">
<p id="said" role="status"></p></div>"""


def _show_options(options, models, adjustable):
    model = _choice(models, "Kind of picture (model)", options, "model")
    _choice(_SCALES, "How much larger", options, "scale")
    _choice(_FORMATS, "File format", options, "format")
    quality = (
        ui.number("Quality of JPEGs", min=1, max=100, precision=0).bind_value(options, "quality").props("outlined")
    )
    quality.props('hint="Less: smaller files"').tooltip("1 to 100, of WebP and AVIF, too")
    strength, hint = _slider("Invented detail", options, "strength", 1.0)
    denoise, more = _slider("Noise removed", options, "denoise", 0.5)
    more.set_text("More is smoother.")

    def adjust(name):
        able = adjustable(name)
        strength.props["disabled"] = "strength" not in able
        hint.set_text("Less is closer to the original." if "strength" in able else "This model has one setting only.")
        denoise.parent_slot.parent.set_visibility("denoise" in able)

    adjust(options["model"])
    model.on_value_change(lambda event: adjust(event.value))
    return model


def _choice(choices, label, options, key):
    return ui.select(choices, label=label).bind_value(options, key).props("outlined options-dense")


def _slider(label, options, key, usual):
    """A slider from less to more that begins at `usual`, and the line below it."""

    def take(event):
        slider.props["value"] = event.args
        options[key] = float(event.args)

    with ui.element("div").classes("slider"):
        ui.label(label)
        slider = ui.element("input").props(f'type=range min=0 max=1 step=0.05 value={usual} aria-label="{label}"')
        slider.on("change", take, js_handler="(event) => emit(event.target.value)")
        with ui.element("div").classes("ends"):
            ui.label("less")
            ui.label("more")
        note = ui.label().classes("soft")
    return slider, note


def _show_jobs(jobs: Jobs, left: ui.label, viewer: ui.element, model: ui.select, models: dict[str, str]) -> None:
    shown: dict[str, str | None] = {"key": None}
    batch: set[str] = set()  # what has come since there was nothing to do
    rows: dict[str, Callable[[], None]] = {}
    elements: dict[str, ui.element] = {}

    def show(job: Job | None, asked: bool = False):
        shown["key"] = job.key if job else None
        viewer.clear()
        viewer.set_visibility(job is not None)
        if job:
            with viewer:
                _viewer(job)
        if asked and job:
            viewer.run_method("scrollIntoView", {"block": "nearest"})

    with ui.element("div").classes("heading") as heading:
        ui.html("<h2>Results</h2>", sanitize=False)
        unsent = "() => { window.dispatchEvent(new Event('cancelall')); emit() }"  # what the browser has not sent yet
        with ui.element("button").on("click", lambda: jobs.remove_all(ended=False), js_handler=unsent) as stop:
            ui.label("Cancel all")
        sure = "() => confirm('Remove all results? What is not downloaded is gone.') && emit()"
        with ui.element("button").on("click", lambda: jobs.remove_all(ended=True), js_handler=sure) as clear:
            ui.label("Remove all")
        with ui.element("a").props('href="all.zip" download') as archive:
            ui.label("Download all (ZIP)")
    column = ui.element("div").classes("jobs")

    def choose(job: Job):
        offer()
        model.set_value(job.name)

    def offer():
        """Offer the models that were dropped, too."""
        offered = models | {name: f"{name}, dropped here" for name in jobs.models()}
        if offered != model.options:
            model.set_options(offered, value=model.value if model.value in offered else next(iter(offered), None))

    def update():
        offer()
        present = {job.key: job for job in jobs.all()}
        for key in [key for key in rows if key not in present]:
            rows.pop(key)
            elements.pop(key).delete()
        for key, job in present.items():
            if key not in rows:
                with column:
                    elements[key], rows[key] = _row(jobs, job, choose if job.is_model else show)
                elements[key].move(target_index=0)
                batch.add(key)
            rows[key]()
            elements[key].classes(
                add="current" if key == shown["key"] else "", remove="" if key == shown["key"] else "current"
            )
        done = [job for job in present.values() if job.state == "done" and not job.is_model]
        count = sum(not job.ended for job in present.values())
        left.set_text(f"{count} to go{_time(jobs.seconds_left())}" if count else "")
        stop.set_visibility(count > 1)
        clear.set_visibility(len(present) > 1 and not count)
        heading.set_visibility(bool(present))
        archive.set_visibility(len(done) > 1)
        # The first result is shown at once, and later that of a file that was dropped alone: nobody is interrupted.
        alone = [job for job in done if batch == {job.key}]
        if not count:
            batch.clear()
        if alone or done and shown["key"] not in present:
            show(alone[0] if alone else done[-1])
        elif shown["key"] and shown["key"] not in present:
            show(None)

    show(None)
    update()
    ui.timer(0.25, update)


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
    with ui.element("a").props(f'href="jobs/{job.key}/download" download'):
        ui.label("Download")


def _row(jobs: Jobs, job: Job, show: Callable) -> tuple[ui.element, Callable[[], None]]:
    """The row of a job, and what brings it up to date."""
    last: list = [None]
    with ui.element("div").classes("job").props("role=group") as row:
        row.props["aria-label"] = job.name
        ui.label(job.name).classes("name")
        state = ui.label().classes("state")
        buttons = ui.element("div").classes("buttons")
        bar = ui.element("progress")
        bar.props["aria-label"] = f"Progress of {job.name}"

    def update():
        now = (job.state, _text(job))
        if now == last[0]:
            return
        changed, last[0] = last[0] is None or last[0][0] != job.state, now
        state.set_text(_text(job))
        row.props["data-state"] = job.state
        bar.set_visibility(job.state == "working")
        if job.progress and job.progress[1]:
            bar.props["value"], bar.props["max"] = job.progress
            bar.update()
        if changed:
            state.classes(add="bad" if job.state == "failed" else "")
            buttons.clear()
            with buttons:
                _buttons(jobs, job, show)

    return row, update


def _buttons(jobs, job, show):
    if job.state == "done":
        if job.is_model:
            _button("Use", job, lambda: show(job))
        else:
            _download(job)
            _button("Play" if job.is_clip else "Compare", job, lambda: show(job, True))
    if job.ended:
        _button("Remove", job, lambda: jobs.remove(job))
    else:
        _button("Cancel", job, lambda: jobs.cancel(job))


def _button(text, job, action):
    with ui.element("button").on("click", action) as button:
        button.props["aria-label"] = f"{text} {job.name}"
        ui.label(text)


def _text(job: Job) -> str:
    if job.state == "failed":
        return job.message
    text = _STATES[job.state]
    if job.state == "working" and job.progress:
        done, total = job.progress
        if not total:
            text = f"{done} frames"
        else:
            text = f"{100 * done // total} %{_time(job.seconds_left())}" if done < total else "writing the file"
    if job.state == "done" and job.is_model:
        text = f"A model that enlarges x{job.result['scale']:g}"
    elif job.state == "done":
        (width, height), (new_width, new_height) = job.result["sizes"]
        text = f"{width} × {height} → {new_width} × {new_height} pixels, {_bytes(job.result['bytes'])}, {job.options['model']}"
    return "\n".join([text, *job.notes])


def _bytes(size):
    return f"{size / 1e6:.{0 if size >= 1e7 else 1}f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"


def _time(seconds):
    if seconds is None:
        return ""
    return f", {seconds / 60:.0f} min left" if seconds >= 90 else f", {max(seconds, 1):.0f} s left"

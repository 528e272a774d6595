"""What the page shows: where to drop files, the options, the jobs, and the viewer of one of them."""

import html
from collections.abc import Callable
from pathlib import Path

from nicegui import ui

from srgan import pictures
from srgan.clips import formats as clips
from srgan.web.jobs import PICTURE_DEFAULTS, Job, Jobs

_HERE = Path(__file__).parent
_FORMATS = {
    None: "as the file",
    ".jpg": "JPEG",
    ".png": "PNG",
    ".webp": "WebP",
    ".tif": "TIFF",
    ".avif": "AVIF",
    ".jxl": "JPEG XL",
}
_SCALES = {None: "as the model, x4", 2: "x2", 3: "x3", 4: "x4", 8: "x8"}
_STATES = {"arriving": "arriving", "waiting": "waiting", "working": "working", "done": "done", "cancelled": "cancelled"}


def show_page(jobs: Jobs, options: dict, tab: str, models: dict[str, str]) -> None:
    """Build the page of one tab.

    Args:
        jobs: of the server, the same for every tab.
        options: of this tab, changed by what is chosen; jobs begin with them.
        tab: names the options in the addresses of uploads.
        models: a line on each model, by name.
    """
    ui.add_css(_HERE / "page.css")
    options |= {**PICTURE_DEFAULTS, "model": next(iter(models), None)}
    ui.html("<h1>Make pictures larger</h1>", sanitize=False)
    kinds = sorted(pictures.READABLE | clips.READABLE)
    ui.html(_drop_zone(tab, kinds), sanitize=False).classes("w-full")
    with ui.element("div").classes("options"):
        _choice(models, "Model", options, "model")
        _choice(_SCALES, "How much larger", options, "scale")
        _choice(_FORMATS, "Format", options, "format")
        ui.number("Quality", min=1, max=100, precision=0).bind_value(options, "quality").props("outlined").tooltip(
            "Of JPEG, WebP and AVIF"
        )
        ui.number("Strength", min=0, max=1, step=0.1).bind_value(options, "strength").props("outlined").tooltip(
            "Below 1, less invented detail: for models that have a pixel-trained sister"
        )
    _show_jobs(jobs)
    ui.add_body_html(
        f"<script>addEventListener('load', () => {{ {(_HERE / 'drop.js').read_text(encoding='utf-8')} }})</script>"
    )


def _drop_zone(tab, kinds):
    return f"""<div id="drop" data-tab="{html.escape(tab)}" data-kinds="{" ".join(kinds)}">
<p>Drop pictures, folders or clips here. They stay on this computer.</p>
<button data-for="files">Choose files</button> <button data-for="folder">Choose a folder</button>
<input type="file" id="files" multiple accept="{",".join(kinds)}" aria-label="Files">
<input type="file" id="folder" webkitdirectory aria-label="A folder">
<p id="said" role="status"></p></div>"""


def _choice(choices, label, options, key):
    ui.select(choices, label=label).bind_value(options, key).props("outlined options-dense")


def _show_jobs(jobs: Jobs) -> None:
    shown: dict[str, str | None] = {"key": None}
    unfinished: set[str] = set()
    rows: dict[str, Callable[[], None]] = {}
    elements: dict[str, ui.element] = {}

    def show(job: Job | None):
        shown["key"] = job.key if job else None
        viewer.clear()
        if job:
            with viewer:
                _viewer(job)

    with ui.element("div").classes("heading") as heading:
        ui.html("<h2>Results</h2>", sanitize=False)
        with ui.element("a").props('href="all.zip" download') as archive:
            ui.label("Download all (ZIP)")
    column = ui.element("div").classes("jobs")
    viewer = ui.element("div").classes("w-full")

    def update():
        present = {job.key: job for job in jobs.all()}
        for key in [key for key in rows if key not in present]:
            rows.pop(key)
            elements.pop(key).delete()
        for key, job in present.items():
            if key not in rows:
                with column:
                    elements[key], rows[key] = _row(jobs, job, show)
                elements[key].move(target_index=0)
            rows[key]()
            elements[key].classes(
                add="current" if key == shown["key"] else "", remove="" if key == shown["key"] else "current"
            )
        done = [job for job in present.values() if job.state == "done"]
        heading.set_visibility(bool(present))
        archive.set_visibility(len(done) > 1)
        # The first result is shown at once, and later that of a file that was dropped alone: nobody is interrupted.
        alone = [job for job in done if unfinished == {job.key}]
        unfinished.difference_update(job.key for job in present.values() if job.ended)
        unfinished.update(job.key for job in present.values() if not job.ended)
        unfinished.intersection_update(present)
        if alone or done and shown["key"] not in present:
            show(alone[0] if alone else done[-1])
        elif shown["key"] and shown["key"] not in present:
            show(None)

    update()
    ui.timer(0.25, update)


def _viewer(job: Job) -> None:
    place = f"jobs/{job.key}"
    if job.is_clip:
        ui.element("video").props(f'controls autoplay muted playsinline src="{place}/after"').classes("viewer")
    elif job.result["before"] and job.result["after"]:
        frame = ui.element("iframe").classes("viewer")
        frame.props["src"], frame.props["title"] = f"{place}/view", f"Before and after of {job.name}"
    else:
        ui.label(f"{job.name}: a browser cannot show it; download it")


def _row(jobs: Jobs, job: Job, show: Callable[[Job | None], None]) -> tuple[ui.element, Callable[[], None]]:
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
        now = (job.state, job.progress, len(job.notes), _time(job))
        if now == last[0]:
            return
        changed, last[0] = last[0] is None or last[0][0] != job.state, now
        state.set_text(_text(job))
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
        with ui.element("a").props(f'href="jobs/{job.key}/download" download'):
            ui.label("Download")
        _button("Play" if job.is_clip else "Compare", job, lambda: show(job))
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
    if job.state == "working" and job.progress and job.progress[1]:
        done, total = job.progress
        text = f"{done} of {total} {'frames' if job.is_clip else 'tiles'}{_time(job)}"
    elif job.state == "working" and job.progress and job.is_clip:
        text = f"{job.progress[0]} frames"
    if job.state == "done" and job.result["sizes"]:
        (width, height), (new_width, new_height) = job.result["sizes"]
        text = f"{width} × {height} → {new_width} × {new_height} pixels"
    return "\n".join([text, *job.notes])


def _time(job):
    seconds = job.seconds_left()
    if seconds is None:
        return ""
    return f", {seconds / 60:.0f} min left" if seconds >= 90 else f", {seconds:.0f} s left"

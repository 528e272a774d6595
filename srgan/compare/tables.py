"""Tables of an evaluation: the mean scores beside published figures, and how they were measured."""

from srgan.compare.evaluate import SCORES, SHOWN, Evaluation
from srgan.compare.published import PUBLISHED, SOURCES
from srgan.compare.scores import FLAT_NOISE, OVER_TIME, WITH_ORIGINAL, protocol
from srgan.compare.versions import BICUBIC


def report(evaluation: Evaluation) -> str:
    """The tables as Markdown, and below them what the scores are and what was measured."""
    labels = [BICUBIC, *(method.label for method in evaluation.methods)]
    parts = []
    if evaluation.sets:
        comparable = not evaluation.damage  # what is published is of clean low resolutions
        parts.append(markdown(evaluation.sets, [*labels, *evaluation.predictions], comparable=comparable))
        parts += [SOURCES] if comparable else []
    lines = []
    if evaluation.clips:
        parts.append(markdown(evaluation.clips, labels, "Clip"))
        lines.append(f"{OVER_TIME['flicker'].title}: {OVER_TIME['flicker'].about}.")
    lines.append(f"Low resolution: {protocol(evaluation.scale, damage=evaluation.damage)['low']}.")
    shown = [*(WITH_ORIGINAL[key] for key in SHOWN), *(FLAT_NOISE.values() if evaluation.sets else ())]
    lines += [f"{metric.title}: {metric.about}." for metric in shown]
    lines += [f"{method.label}: SHA-256 {method.sha256}; {method.engine}." for method in evaluation.methods]
    return "\n\n".join([*parts, "\n".join(lines)])


def markdown(means, labels, kind="Set", comparable=True) -> str:
    """The table: a row a score of a set or clip, a column a method, the best of those measured here in bold; behind them,
    where they are `comparable`, what is published of those sets."""
    published = [label for label, figures in PUBLISHED.items() if comparable and figures.keys() & means.keys()]
    lines = [[kind, "Score", *labels, *(f"{label} (published)" for label in published)]]
    lines.append(["---", "---", *["---:"] * (len(labels) + len(published))])
    for name, rows in means.items():
        for key in rows[labels[0]]:
            metric, values = (SCORES | FLAT_NOISE)[key], [rows[label][key] for label in labels]
            cells = [f"**{metric.text(v)}**" if metric.is_best(v, values) else metric.text(v) for v in values]
            cells += [metric.text(PUBLISHED[label].get(name, {}).get(key)) for label in published]
            lines.append([name, f"{metric.title} {'↑' if metric.higher_is_better else '↓'}", *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

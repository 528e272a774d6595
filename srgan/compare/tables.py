"""Tables of mean scores for a terminal, Markdown, LaTeX and CSV, beside published figures where there are some."""

import csv
import io
import math
import re
from dataclasses import dataclass

from srgan.compare.evaluate import SHOWN, Evaluation
from srgan.compare.paper_scores import PUBLISHED, SOURCES
from srgan.compare.scores import FLAT_NOISE, OVER_TIME, WITH_ORIGINAL, WITHOUT_ORIGINAL, protocol

Rows = dict[str, dict[str, float]]  # scores by method, then by key
KINDS = {**WITH_ORIGINAL, **WITHOUT_ORIGINAL, **OVER_TIME}


@dataclass(frozen=True)
class Table:
    """Scores by set or clip; `kind` says which, and is empty where there is one group without a name.

    `comparable` says whether published figures may stand beside them.
    """

    groups: dict[str, Rows]
    kind: str = ""
    comparable: bool = False

    def published(self, group: str) -> Rows:
        """The published figures of a group, by method."""
        if not self.comparable:
            return {}
        return {f"{label} (published)": sets[group] for label, sets in PUBLISHED.items() if group in sets}

    def texts(self, group: str, key: str, form: str, best: str) -> dict[str, str]:
        """A score of a group by method, also as published: in `form`, the best of those measured here in that of `best`."""
        metric = KINDS[key]
        values: dict[str, float | None] = {label: row[key] for label, row in self.groups[group].items()}
        forms = {label: best if metric.is_best(value, values.values()) else form for label, value in values.items()}
        values |= {label: row.get(key) for label, row in self.published(group).items()}
        return {label: forms.get(label, form).format(metric.text(value)) for label, value in values.items()}


def tables_of(evaluation: Evaluation) -> list[Table]:
    """The tables of an evaluation: of its sets, and of its clips."""
    found = [
        Table(evaluation.sets, "Set", comparable=not evaluation.damage),  # what is published is of clean pictures
        Table(evaluation.clips, "Clip"),
    ]
    return [table for table in found if table.groups]


def notes_of(evaluation: Evaluation) -> str:
    """What the scores are, what was measured and how."""
    lines = [f"Low resolution: {protocol(evaluation.scale, damage=evaluation.damage)['low']}."]
    shown = [*(WITH_ORIGINAL[key] for key in SHOWN), *(FLAT_NOISE.values() if evaluation.sets else ())]
    shown += OVER_TIME.values() if evaluation.clips else ()
    lines += [f"{metric.title}: {metric.about}." for metric in shown]
    lines += [f"{method.label}: SHA-256 {method.sha256}; {method.engine}." for method in evaluation.methods]
    known = any(table.published(group) for table in tables_of(evaluation) for group in table.groups)
    return "\n".join([*([SOURCES] if known else []), *lines])


def as_text(table: Table, width: int = 80) -> str:
    """For a terminal: a block of lines a group, a line a method, the best of each column with an asterisk.

    Columns that do not fit into `width` go below the others; a name that takes more than half of it is cut.
    """
    parts = []
    for group, rows in table.groups.items():
        names = ["", *(_cut(name, width // 2) for name in [*rows, *table.published(group)])]
        columns = []
        for key in next(iter(rows.values())):
            columns.append([f"{KINDS[key].heading} ", *table.texts(group, key, "{} ", "{}*").values()])
        first = max(map(len, names))
        parts += [group] if group else []
        for block in _fitting(columns, width - first):
            widths = [max(map(len, column)) for column in block]
            for name, *cells in zip(names, *block, strict=True):
                line = [name.ljust(first), *(cell.rjust(each) for cell, each in zip(cells, widths, strict=True))]
                parts.append("  ".join(line).rstrip())
    return "\n".join(parts)


def _fitting(columns, width):
    """The columns in runs that fit into `width` with two spaces before each."""
    block, taken = [], 0
    for column in columns:
        needed = 2 + max(map(len, column))
        if block and taken + needed > width + 1:  # what stands last is a space
            yield block
            block, taken = [], 0
        block.append(column)
        taken += needed
    yield block


def _cut(name, width):
    return name if len(name) <= width else f"{name[: width // 2 - 1]}…{name[-(width - width // 2) :]}"


def as_markdown(table: Table) -> str:
    """For Markdown: a row a score of a group, a column a method, the best of those measured here in bold."""
    labels = list(next(iter(table.groups.values())))
    published = list(dict.fromkeys(label for group in table.groups for label in table.published(group)))
    lines = [[table.kind, "Score", *labels, *published]]
    lines.append(["---", "---", *["---:"] * (len(labels) + len(published))])
    for group, rows in table.groups.items():
        for key in rows[labels[0]]:
            texts = table.texts(group, key, "{}", "**{}**")
            cells = [texts.get(label, KINDS[key].text(None)) for label in [*labels, *published]]
            lines.append([group, KINDS[key].heading, *cells])
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def as_latex(table: Table) -> str:
    """For LaTeX with booktabs: a row a method of a group, a column a score, the best of those measured here in bold."""
    keys = list(next(iter(next(iter(table.groups.values())).values())))
    arrows = [r"$\uparrow$" if KINDS[key].higher_is_better else r"$\downarrow$" for key in keys]
    heads = [f"{_escaped(KINDS[key].title)} {arrow}" for key, arrow in zip(keys, arrows, strict=True)]
    lines = [
        rf"\begin{{tabular}}{{ll{'r' * len(keys)}}}",
        r"\toprule",
        " & ".join([table.kind, "Method", *heads]) + r" \\",
    ]
    for group in table.groups:
        lines.append(r"\midrule")
        columns = [table.texts(group, key, "{}", r"\textbf{{{}}}") for key in keys]
        for label in columns[0]:
            cells = [texts[label].replace("–", "--").replace("∞", r"$\infty$") for texts in columns]
            lines.append(" & ".join([_escaped(group), _escaped(label), *cells]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])


def _escaped(text):
    text = text.replace("\\", r"\textbackslash ")
    return re.sub(r"[&%$#_{}]", lambda match: "\\" + match[0], text).replace("~", r"\textasciitilde ")


def as_csv(tables: list[Table]) -> str:
    """As CSV with every digit: a row a method of a group; a cell is empty where a score is not defined."""
    keys = list(
        dict.fromkeys(key for table in tables for rows in table.groups.values() for row in rows.values() for key in row)
    )
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["set", "method", *keys])
    for table in tables:
        for group, rows in table.groups.items():
            for label, row in [*rows.items(), *table.published(group).items()]:
                values = [row.get(key, math.nan) for key in keys]
                writer.writerow([group, label, *("" if math.isnan(value) else value for value in values)])
    return text.getvalue().rstrip("\n")

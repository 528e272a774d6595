"""MkDocs hooks: the pages that are generated when the site is built.

These are the commands (from their argument parsers), the configuration (from its schema), the Python API (a page for each
package, from the docstrings), and the pages whose text lies elsewhere in the repository (model cards, sample pictures).
"""

import ast
import contextlib
import inspect
import os
import posixpath
import re
import tomllib
from argparse import ArgumentParser
from importlib import import_module
from pathlib import Path
from typing import get_args
from unittest import mock

import yaml
from mkdocs.structure.files import File
from pydantic import BaseModel

import srgan

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "srgan"
PACKAGES = sorted(PACKAGE.rglob("__init__.py"))
AT_ROOT = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}


def on_config(config):
    """Complete the navigation: a page for each package, and the files of the repository's root that are there."""
    section = next(entry["Python API"] for entry in config.nav if "Python API" in entry)
    section += [{_package(init): _api_page(init)} for init in PACKAGES]
    config.nav += [
        {page.removesuffix(".md").capitalize(): page} for name, page in AT_ROOT.items() if (ROOT / name).is_file()
    ]
    return config


def on_files(files, config):
    elsewhere = {"data/README.md": "sample.md"} | AT_ROOT
    elsewhere |= {f"srgan/weights/{card.name}": f"models/{card.name}" for card in PACKAGE.glob("weights/*.md")}
    pages = {page: _moved(source, page, elsewhere) for source, page in elsewhere.items() if (ROOT / source).is_file()}
    pages |= {"commands.md": _commands(), "configuration.md": _configuration()} | dict(_api())
    for page, text in pages.items():
        files.append(File.generated(config, page, content=text))
    return files


# Pages whose text lies elsewhere. --------------------------------------------------------------------------------------


def _moved(source, page, elsewhere):
    """The text of `source` for `page`: links to other pages are adapted, links to files outside the site become text."""

    def link(match):
        image, text, target = match.groups()
        if target.startswith(("http:", "https:", "#")):
            return match[0]
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if target == "README.md":
            target = "docs/index.md"
        target = elsewhere.get(target) or (target.startswith("docs/") and target.removeprefix("docs/"))
        return f"{image}[{text}]({posixpath.relpath(target, posixpath.dirname(page) or '.')})" if target else text

    return re.sub(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)", link, (ROOT / source).read_text(encoding="utf-8"))


# Commands. -------------------------------------------------------------------------------------------------------------


def _commands():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    return "\n\n".join(["# Commands", *(_command(*entry) for entry in scripts.items())])


def _command(name, entry):
    module, function = entry.split(":")
    parser = _parser(getattr(import_module(module), function))
    with mock.patch.dict(os.environ, {"COLUMNS": "76", "NO_COLOR": "1"}):
        usage = parser.format_usage().removeprefix("usage: ")
    parts = [f"## {name}", _paragraphs(parser.description), f"```text\n{usage.rstrip()}\n```"]
    for group in parser._action_groups:
        rows = [_row(action, parser.prog) for action in group._group_actions if action.dest not in ("help", "version")]
        if rows:
            title = {"positional arguments": "Arguments", "options": "Options"}.get(
                group.title, group.title.capitalize()
            )
            parts += [f"**{title}**", "\n".join(["| | |", "| --- | --- |", *rows])]
    if parser.epilog:
        parts += [f"```text\n{parser.epilog.strip()}\n```"]
    return "\n\n".join(parts)


def _parser(main):
    """The argument parser of a command: the one that answers `--help`."""
    parsers = []
    catch = mock.patch.object(ArgumentParser, "print_help", lambda self, file=None: parsers.append(self))
    with catch, contextlib.suppress(SystemExit):
        main(["--help"])
    return parsers[0]


def _row(action, program):
    names = ", ".join(action.option_strings)
    value = action.metavar or (action.choices and "|".join(map(str, action.choices))) or action.dest.upper()
    value = value if isinstance(value, str) else " ".join(value)
    if action.option_strings:
        value = f"{names} {value}" if action.nargs != 0 else names
    text = (action.help or "") % {**vars(action), "prog": program}
    return f"| {_code(value)} | {_escaped(text)} |"


def _code(text):
    breakable = re.sub(r"([.]|&#95;)(?=[a-z])", r"\1<wbr>", _entities(text))
    return f"<code>{breakable}</code>"


def _escaped(text):
    """Plain text, in which only `code` means something, for a table cell."""
    parts = " ".join(str(text).split()).split("`")
    return "".join(_code(part) if index % 2 else _entities(part) for index, part in enumerate(parts))


def _entities(text):
    return re.sub(r"[&<>|*_\[\]]", lambda match: f"&#{ord(match[0])};", str(text))


def _paragraphs(text):
    """A description as Markdown, with its indented lines as they are."""
    lines = (line if line.startswith("    ") else _escaped(line) for line in (text or "").splitlines())
    return "\n".join(lines)


# Configuration. --------------------------------------------------------------------------------------------------------


def _configuration():
    from srgan.config import schema

    return "\n\n".join([CONFIGURATION, *_section("", schema.Config)])


CONFIGURATION = """# Configuration

A configuration is a YAML file (YAML 1.2), given to `srgan-train --config`. `--set section.key=value` overrides single keys; a
key that takes text gets the value as it stands, with quotes, `#` and all. In a file, put such text in quotes. A key that
does not exist and a value that cannot work are refused, with one line, before any work. The run folder keeps the resolved
configuration as `config.yaml`."""


def _section(name, model, known=()):
    """The Markdown of the section `model`, called `name`, without the fields `known`, and of the sections in it."""
    schema = model.model_json_schema(by_alias=False)
    rows, inner = [], []
    for key, field in model.model_fields.items():
        dotted = f"{name}.{key}" if name else key
        if models := _models(field.annotation):
            inner.append((dotted, models))
        elif key not in known and key != "generator":
            described = schema["properties"][key]
            default = "required" if field.is_required() else f"default: {_code(_yaml(described.get('default')))}"
            rows.append(
                f"| {_code(dotted)} | {_escaped(described.get('description', ''))} | {_kind(described)}<br>{default} |"
            )
    title = name or "Top level"
    if "generator" in model.model_fields:
        title = f"{name}, with {name}.generator: {schema['properties']['generator'].get('const') or 'srresnet'}"
    about = inspect.cleandoc(model.__doc__ or "").split("\n\n")[0]
    table = "\n".join(["| Key | Meaning | Value |", "| --- | --- | --- |", *rows])
    yield "\n\n".join([f"## {title}", _escaped(about), table])
    for dotted, models in inner:
        shared = next(each for each in models[0].__mro__ if all(issubclass(other, each) for other in models))
        yield from _section(dotted, shared)
        for other in models:
            if other is not shared:
                yield from _section(dotted, other, known=shared.model_fields)


def _models(annotation):
    """The sections that a field's annotation names: none for a plain value, several for a choice of sections."""
    if inspect.isclass(annotation):
        return [annotation] if issubclass(annotation, BaseModel) else []
    return [model for each in get_args(annotation) for model in _models(each)]


def _kind(schema):
    """What values a key takes, in words."""
    if "anyOf" in schema:
        return " or ".join(_kind(each) for each in schema["anyOf"])
    if "const" in schema:
        return _code(schema["const"])
    if "enum" in schema:
        return ", ".join(map(_code, schema["enum"]))
    words = {"string": "text", "number": "number", "integer": "whole number", "boolean": "true, false", "null": "null"}
    kind = schema.get("type")
    if kind == "array" and "prefixItems" in schema:
        return "[from, to], each " + _kind(schema["prefixItems"][0])
    if kind == "array":
        return "list of " + _kind(schema["items"])
    if kind == "object":
        return "section of name: " + _kind(schema["additionalProperties"])
    bounds = [f"{sign} {_yaml(schema[key])}" for key, sign in BOUNDS.items() if key in schema]
    return " ".join([words[kind], ", ".join(bounds)]).strip()


BOUNDS = {"minimum": "≥", "exclusiveMinimum": "&gt;", "maximum": "≤", "exclusiveMaximum": "&lt;"}


def _yaml(value):
    if isinstance(value, float):
        return f"{value:g}"
    return yaml.safe_dump(value, default_flow_style=True, width=1000).replace("\n...", "").strip()


# Python API. -----------------------------------------------------------------------------------------------------------


def _package(init):
    return ".".join(init.parent.relative_to(ROOT).parts)


def _api_page(init):
    return f"api/{_package(init).removeprefix('srgan.')}.md"


def _api():
    """Yield a page for each package, with the docstrings of its modules, and one with the public names."""
    yield "api/index.md", _public_names()
    for init in PACKAGES:
        name = _package(init)
        modules = sorted(path.stem for path in init.parent.glob("*.py") if not path.stem.startswith("_"))
        head = f"# {name}\n\n::: {name}\n    options: {{members: false, show_root_heading: false, show_root_toc_entry: false}}"
        yield _api_page(init), "\n\n".join([head, *(_module(f"{name}.{each}") for each in modules)])


def _public_names():
    rows = ["| | |", "| --- | --- |"]
    for path in sorted(PACKAGE.rglob("*.py")):
        for statement in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(statement, ast.ClassDef | ast.FunctionDef) and statement.name in srgan.__all__:
                module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
                about = (ast.get_docstring(statement) or "").split("\n\n")[0]
                rows.append(f"| [`srgan.{statement.name}`][{module}.{statement.name}] | {_escaped(about)} |")
    return "\n\n".join([API, "\n".join(rows)])


API = """# Python API

```python
from srgan import Upscaler

upscale = Upscaler("srresnet")
large = upscale(picture)  # a uint8, uint16 or float array, or a Pillow picture
```

`import srgan` loads no framework; each name is imported when it is first used. `KERAS_BACKEND` chooses the framework, else it is
the first of TensorFlow, JAX and PyTorch that is installed. The other pages have every module, for those who change the code."""


def _module(name):
    return f"::: {name}\n    options: {{heading_level: 2, show_root_full_path: true}}"

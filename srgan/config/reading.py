"""Reading a configuration: YAML, `key=value` changes, and one line for what is refused."""

import difflib
import logging
import re
from pathlib import Path
from typing import Literal, get_args, get_origin

import yaml
from pydantic import BaseModel

from srgan.config.networks import NETWORKS
from srgan.errors import UsageError

# Keys by their old names, which stay valid.
RENAMED = {"batches.clips": "batches.clip_share", "gan.lattice_weight": "gan.checkerboard_weight"}

_TYPES = {  # plain values that are no text, as YAML 1.2's core schema has them (https://yaml.org/spec/1.2.2, 10.3.2)
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
}


class _Loader(yaml.SafeLoader):
    """YAML 1.2, whereas PyYAML follows 1.1, in which 010 is 8, 1:30 is 90 and 1e-4 is text. A key that is given twice
    is an error.
    """

    yaml_implicit_resolvers: dict = {}

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key, _ in node.value:
            if str(key.value) in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} is there twice", key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node):
        text = self.construct_scalar(node)
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))


class _Dumper(yaml.SafeDumper):
    """Quotes text that either version of YAML would take for something else."""


for _tag, (_pattern, _first) in _TYPES.items():
    for _each in (_Loader, _Dumper):
        _each.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first)
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)


def read_tree(path: Path) -> dict:
    """The content of a YAML file, with today's names of the keys.

    Raises:
        UsageError: it is not YAML, or not made of `key: value` pairs.
    """
    try:
        tree = yaml.load(path.read_text(encoding="utf-8-sig"), _Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not YAML ({' '.join(str(error).split())})") from error
    if not isinstance(tree, dict):
        raise UsageError(f"{path}: must hold `key: value` pairs")
    _rename(tree, path)
    return tree


def to_yaml(tree: dict) -> str:
    """A tree as YAML, in the order that it has."""
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False)


def apply_change(tree, change, config):
    """Set one key of `tree`, in place, by a `key=value` string; `config` is the class that the tree is for.

    The value is YAML, except that of a key whose type is text: it is taken as it stands, or as null where that is
    allowed.
    """
    key, equals, value = change.partition("=")
    key = key.strip()
    if not equals or not key:
        raise UsageError(f"--set {change}: must be key=value, as in data.count=100")
    if key in RENAMED:
        _tell_new_name(key, "--set")
        key = RENAMED[key]
    *sections, last = key.split(".")
    section = tree
    for name in sections:
        section = section.setdefault(name, {})
        if not isinstance(section, dict):
            raise UsageError(f"--set {change}: {name} is a value, not a section")
    kind = _type_of(config, [*sections, last])
    if _has_text(kind):
        section[last] = None if value == "null" and type(None) in get_args(kind) else value
        return
    try:
        section[last] = yaml.load(value, _Loader)
    except yaml.YAMLError as error:
        raise UsageError(f"--set {change}: the value is not YAML") from error
    _rename(tree, "--set")


def _rename(tree, source):
    """Give the keys of `tree` that have old names their new ones."""
    for old, new in RENAMED.items():
        (section, old_name), new_name = old.split("."), new.split(".")[1]
        keys = tree.get(section)
        if not isinstance(keys, dict) or old_name not in keys:
            continue
        if new_name in keys:
            raise UsageError(f"{source}: {old} is the old name of {new}, and both are there: leave it out")
        _tell_new_name(old, source)
        keys[new_name] = keys.pop(old_name)


def _tell_new_name(old, source):
    logging.getLogger("srgan").warning("%s: %s is called %s now; the old name still works", source, old, RENAMED[old])


def _type_of(section, names):
    """The type of a key, given by its names from `section` on; None if there is no such key."""
    for name in names:
        field = getattr(section, "model_fields", {}).get(name)
        if field is None:
            return None
        section = field.annotation
    return section


def _has_text(annotation):
    if get_origin(annotation) in (list, dict, tuple, Literal):
        return False
    return annotation is str or any(map(_has_text, get_args(annotation)))


def similar_keys(name: str, config: type[BaseModel]) -> list[str]:
    """The dotted keys that `name` may stand for: those whose last part it is, as pixel.epochs and gan.epochs for epochs, or
    the one that is spelt alike, as batches.size for batch_size.
    """
    keys = []
    for key, field in config.model_fields.items():
        kinds = NETWORKS.values() if key == "network" else [field.annotation]
        inner = [name for kind in kinds for name in getattr(kind, "model_fields", ())]
        keys += [f"{key}.{each}" for each in dict.fromkeys(inner)] or [key]
    exact = [key for key in keys if name in (key, key.partition(".")[2])]
    return exact or difflib.get_close_matches(name, keys, 1, 0.75)


def explain(error, config):
    """One line for one of pydantic's errors about the class `config`."""
    location = [str(part) for part in error["loc"]]
    section = config
    for name in location[:-1] if error["type"] == "extra_forbidden" else ():
        section = NETWORKS.get(name) or section.model_fields[name].annotation
    fields = list(section.model_fields)
    if location[:1] == ["network"] and location[1:2] and location[1] in NETWORKS:
        del location[1]  # the member of the union, which is no key
    if error["type"] == "value_error":
        prefix = f"{'.'.join(location)}." if location else ""
        return prefix + str(error["ctx"]["error"])
    if error["type"] == "union_tag_invalid":
        return f"network.generator = {error['input']['generator']!r}: must be one of {', '.join(NETWORKS)}"
    if error["type"] == "union_tag_not_found":
        return f"network = {error['input']!r}: must be a section, with generator, filters and so on"
    if location[-1:] in (["float"], ["literal['unit']"], ["constrained-float"]):
        location.pop()  # the member of a union that was tried: no key
    key = ".".join(location)
    if error["type"] == "extra_forbidden":
        if location[0] == "network" and any(location[-1] in kind.model_fields for kind in NETWORKS.values()):
            return f"{key} = {error['input']!r}: {error['loc'][1]} has no such key, known are {', '.join(fields)}"
        close = difflib.get_close_matches(location[-1], fields, 1)
        beside, elsewhere = [".".join([*location[:-1], each]) for each in close], similar_keys(location[-1], config)
        meant = (elsewhere or beside) if len(location) == 1 else (beside or elsewhere)
        hint = f"did you mean {' or '.join(meant)}?" if meant else f"known are {', '.join(fields)}"
        return f"{key} = {error['input']!r}: unknown key, {hint}"
    if error["type"] == "missing":
        return f"{key}: missing"
    if error["type"] == "string_type":
        return f"{key} = {error['input']!r}: must be text; in a file, put it in quotes"
    if error["type"] == "string_too_short":
        return f"{key} = '': must not be empty"
    if error["type"].startswith("bool_"):
        return f"{key} = {error['input']!r}: must be true or false"
    message = error["msg"].replace("Input should be", "must be")
    message = message.replace("a valid dictionary or instance of", "a section,")
    return f"{key} = {error['input']!r}: {message}"

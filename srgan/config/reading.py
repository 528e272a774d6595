"""Reading a configuration: YAML, `key=value` changes, and one line for what is refused."""

import difflib
import re

import yaml

from srgan.config.networks import NETWORKS
from srgan.errors import UsageError


class _Loader(yaml.SafeLoader):
    """YAML without two surprises: 1e-4 is a number, not a string, and a key that is given twice is an error."""

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key, _ in node.value:
            if str(key.value) in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} is there twice", key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def read_tree(path) -> dict:
    """The content of a YAML file.

    Raises:
        UsageError: it is not YAML, or not made of `key: value` pairs.
    """
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not YAML ({' '.join(str(error).split())})") from error
    if not isinstance(tree, dict):
        raise UsageError(f"{path}: must hold `key: value` pairs")
    return tree


def apply_change(tree, change):
    """Set one key of `tree`, in place, by a `key=value` string."""
    key, equals, value = change.partition("=")
    if not equals or not key:
        raise UsageError(f"--set {change}: must be key=value, as in data.count=100")
    *sections, last = key.strip().split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
        if not isinstance(tree, dict):
            raise UsageError(f"--set {change}: {section} is a value, not a section")
    try:
        tree[last] = yaml.load(value, _Loader)
    except yaml.YAMLError as error:
        raise UsageError(f"--set {change}: the value is not YAML") from error


def _fields(section, location):
    """The keys that the section at `location` below `section` has."""
    for name in location:
        section = NETWORKS.get(name) or section.model_fields[name].annotation
    return list(section.model_fields)


def explain(error, config):
    """One line for one of pydantic's errors about the class `config`."""
    location = [str(part) for part in error["loc"]]
    fields = _fields(config, location[:-1]) if error["type"] == "extra_forbidden" else []
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
        hint = f"did you mean {'.'.join([*location[:-1], close[0]])}?" if close else f"known are {', '.join(fields)}"
        return f"{key} = {error['input']!r}: unknown key, {hint}"
    if error["type"] == "missing":
        return f"{key}: missing"
    message = (
        error["msg"].replace("Input should be", "must be").replace("a valid dictionary or instance of", "a section,")
    )
    return f"{key} = {error['input']!r}: {message}"

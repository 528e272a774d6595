"""The configuration of a training run: one typed tree, read from YAML and changed by `key=value`.

In comes a YAML file or the name of a bundled one, out comes a frozen `Config`, or one line that names the first bad key.
Nothing is imported here: `bundled` answers `--help` without pydantic, which `schema` needs.
"""

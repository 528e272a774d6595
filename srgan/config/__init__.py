"""The configuration of a training run: one typed tree, read from YAML and changed by `key=value`.

A YAML file, or the name of a bundled one, becomes a frozen `Config` (`schema`), or one line that names the first bad
key. The sections are in `data`, `networks` and `stages`. Nothing is imported here, so that `bundled` answers `--help`
without pydantic.
"""

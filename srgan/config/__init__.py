"""The configuration of a training run: one typed tree, read from YAML and changed by `key=value`.

A YAML file, or the name of a bundled one, becomes a frozen `Config` (`schema`), or one line that names the first bad
key. The sections are in `data`, `networks` and `stages`. `Config` is imported when it is asked for, so that `bundled`
answers `--help` without pydantic.
"""

__all__ = ["Config"]


def __getattr__(name):
    if name != "Config":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from srgan.config.schema import Config

    return Config

"""The configuration of a training run: one typed tree, read from YAML and changed by `key=value`.

In comes a YAML file or the name of a bundled one, out comes a frozen `Config`, or one line that names the first bad key.
"""

from srgan.config.bundled import bundled, find_config
from srgan.config.schema import NETWORKS, VGG19_LAYERS, WITH_OWN_LAYERS, Config

__all__ = ["NETWORKS", "VGG19_LAYERS", "WITH_OWN_LAYERS", "Config", "bundled", "find_config"]

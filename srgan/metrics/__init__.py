"""Metrics: how close a picture is to its original, how natural it looks, and how much a clip flickers.

They take uint8 pictures (height, width, 3) and return numbers. `lpips` and `flicker` need more than NumPy and are
imported on demand.
"""

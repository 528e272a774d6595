"""Metrics: how near a picture comes to its original, how natural it looks and how much a clip flickers.

In come uint8 pictures (height, width, 3), out go numbers. `lpips` and `flicker` need more than NumPy and are imported only
where they are asked for.
"""

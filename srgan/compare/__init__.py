"""Comparing models on pictures and clips, beside bicubic and the original.

Pictures and models come in; scores, sheets of panels and a page with a before/after slider go out.
"""

"""Comparing: what models make of pictures and clips, beside bicubic and the original.

In come pictures and models, out come scores, sheets of panels and a page with a before/after slider.
"""

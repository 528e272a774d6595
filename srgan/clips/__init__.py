"""Clips: video files and folders of numbered frames, read and written frame by frame.

In come frames with their times, colours and everything that travels with them; out goes a file of another size that a
player shows as it showed the first. `formats`, `cuts` and `flow` need no PyAV; `reading` and `writing` do, so that they are
imported only where there is a clip. Knows nothing of networks.
"""

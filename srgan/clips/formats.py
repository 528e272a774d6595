"""The containers that are read and written, and the frame rate of a folder of frames."""

WRITABLE = {".mp4", ".mkv", ".webm", ".mov", ".gif"}

# A GIF is both: a clip where a clip is to be made of it, else a picture.
READABLE = WRITABLE - {".gif"}
READABLE |= {".m4v", ".avi", ".ts", ".m2ts", ".mts", ".mpg", ".mpeg", ".vob", ".wmv", ".flv", ".3gp", ".ogv"}

CONTAINERS = ", ".join(sorted(suffix[1:] for suffix in WRITABLE))

RATE = 25  # frames a second of a folder of frames

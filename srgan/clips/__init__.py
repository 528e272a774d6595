"""Clips: video files and folders of numbered frames, read and written frame by frame.

In come frames with their times, colours and all that belongs to them; out goes a file of another size that a player shows
as it showed the first. Nothing here knows of networks or of upscaling.

- Reading: `reading` opens a clip, a `video_file` or a `frame_folder`; `frame` (damaged ones), `colour`, `hdr`,
  `deinterlacing`, and `timeline` (time stamps that jump).
- Writing: `writing` is the whole; `encoding` (codec, settings), `segments` (what a kill leaves), `tracks` (sound,
  subtitles) and their `track_conversion`, `muxing` (the container), `rehearsal` (what does not fit is found before the work),
  `gif`, `numbered_pictures`.
- Between frames: `cuts` and `flow`. These and `formats` need no PyAV.
"""

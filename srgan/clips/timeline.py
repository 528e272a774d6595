"""Time stamps that jump: recordings that were joined or interrupted, brought onto one timeline.

Some containers, MPEG transport streams above all, carry the time of a clock that may be set anew at any place. What lies
between two jumps is a part. Each part is moved as a whole, so that its first frame follows the last one of the part before,
and frames keep their order and distance, and sound its place beside them.
"""

import bisect
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from typing import Any, NamedTuple

from srgan.clips.ffmpeg import fraction, packets_until_error

# A jump, in seconds from where the next frame should be: so far back, where the file does not say when frames are decoded
# (those times never come that near), or so far ahead, as FFmpeg's own program has it.
_BACK, _AHEAD = Fraction(1, 10), 10
_BACK_LIVE = 1  # the same where some frames come with the time when they are decoded, and others when they are shown
_TS_DISCONT = 0x0200  # FFmpeg's AVFMT_TS_DISCONT
_NEAR = 2  # seconds by which sound may begin before the pictures of its part, and end after them


class Part(NamedTuple):
    """What lies between two jumps; times are in seconds as the file says them."""

    position: int  # of its first packet in the file, in bytes
    begin: Fraction  # when its first frame is shown
    end: Fraction  # when its last one ends
    shift: Fraction = Fraction(0)  # seconds to add


class Break(NamedTuple):
    """Where the time of a stream of sound jumps; times are in seconds as the file says them."""

    position: int  # of the first packet after it in the file, in bytes
    before: Fraction  # when its next sound was to be heard
    after: Fraction  # when it is
    shown: Fraction  # when the last frame before it in the file is shown


class Timeline:
    """Moves packets onto one timeline.

    Args:
        parts: in the order of the file, without their `shift`.
        breaks: of each stream of sound by its index, in the order of the file.
    """

    def __init__(self, parts: Iterable[Part] = (), breaks: Mapping[int, Iterable[Break]] | None = None):
        self.parts: list[Part] = []
        for part in parts:
            shift = Fraction(0)
            if self.parts:
                before = self.parts[-1]
                shift = before.end + before.shift - part.begin
            self.parts.append(part._replace(shift=shift))
        self._positions = [part.position for part in self.parts]
        # Where sound jumps and frames do not: from which position on, and how many seconds are added there.
        self._sound = {index: self._own_jumps(found) for index, found in (breaks or {}).items()}

    @property
    def jumps(self) -> int:
        """How often the time stamps jump."""
        return max(len(self.parts) - 1, 0)

    @property
    def sound_jumps(self) -> int:
        """How often the time stamps of sound jump where those of the frames do not."""
        return sum(len(jumps) for jumps in self._sound.values())

    @property
    def length(self) -> Fraction:
        """Seconds of all parts together."""
        return sum((part.end - part.begin for part in self.parts), Fraction(0))

    def mover(self) -> Callable[[object], None]:
        """A function that changes the time stamps of packets, in the order of the file, to those of the timeline."""
        positions: dict[int, int] = {}  # of several frames in one piece of the file, the first alone has it

        def move(packet):
            position = positions[packet.stream.index] = packet.pos or positions.get(packet.stream.index, 0)
            time = packet.dts if packet.pts is None else packet.pts
            if time is None or not (self.jumps or self.sound_jumps):
                return
            base = fraction(packet.time_base)
            seconds = self._sound_shift(packet.stream.index, position)
            shift = round((seconds + self._part(time * base + seconds, position).shift) / base)
            packet.pts = None if packet.pts is None else packet.pts + shift
            packet.dts = None if packet.dts is None else packet.dts + shift

        return move

    def _own_jumps(self, breaks):
        """The (position, seconds to add) of those breaks at which the frames do not jump, too."""
        jumps, shift = [], Fraction(0)
        for position, before, after, shown in breaks:
            index = max(bisect.bisect_right(self._positions, position) - 1, 0)
            near = self.parts[max(index - 1, 0) : index + 2]
            if any(
                abs(one.end - before - shift) <= _NEAR and abs(other.begin - after) <= _NEAR
                for one, other in zip(near, near[1:])
            ):
                new = Fraction(0)  # recordings were joined
            elif after > before and (abs(after - shown) <= _AHEAD or after - before < _AHEAD):
                # A pause, or the sound is back beside the frames.
                new = min(Fraction(0), shift, key=lambda seconds: abs(after + seconds - shown))
            else:
                new = before + shift - after
            if new != shift:
                jumps.append((position, new))
                shift = new
        return jumps

    def _sound_shift(self, index, position):
        jumps = self._sound.get(index, [])
        place = bisect.bisect_right(jumps, position, key=lambda jump: jump[0])
        return jumps[place - 1][1] if place else Fraction(0)

    def _part(self, seconds, position):
        """The part that a packet belongs to: by its place, but near a jump, where streams are mixed, by its time."""
        index = max(bisect.bisect_right(self._positions, position) - 1, 0)
        here = self.parts[index]
        if _distance(here, seconds) <= _NEAR:
            return here
        return min(self.parts[max(index - 1, 0) : index + 2], key=lambda part: _distance(part, seconds))


def find_timeline(container: Any, stream: Any, duration: Fraction) -> Timeline:
    """The timeline of an open file, for which all of it is read once where its format lets time jump.

    Where the frames pause and the sound goes on, time does not jump. Streams that were recorded as they came (FLV, and
    Matroska that does not know its length) may only turn back: a jump ahead is a frame that stands.

    Args:
        stream: of its frames.
        duration: of a frame, in seconds.
    """
    jumps_ahead = may_jump(container)
    is_live = container.format.name == "flv" or "matroska" in container.format.name and not container.duration
    if not jumps_ahead and not is_live:
        return Timeline()
    parts: list[Part] = []
    last, position = None, 0
    heard: dict[int, Fraction] = {}  # when each stream of sound was last, in this part
    ends: dict[int, Fraction] = {}  # when its next packet is due
    breaks: dict[int, list[Break]] = {}
    for packet in packets_until_error(container, stream, *container.streams.audio):
        decoded = packet.pts if packet.dts is None else packet.dts
        shown = packet.dts if packet.pts is None else packet.pts
        if decoded is None or not packet.size:
            continue
        base = fraction(packet.time_base)
        decoded, shown = decoded * base, shown * base
        if packet.stream.index != stream.index:
            index = packet.stream.index
            due = ends.get(index)
            if due is not None and last is not None and abs(decoded - due) > _BACK:
                breaks.setdefault(index, []).append(Break(packet.pos or position, due, decoded, last))
            ends[index] = decoded + (packet.duration or 0) * base
            before = heard.get(packet.stream.index, last)
            if before is not None and abs(decoded - before) < _AHEAD:
                heard[packet.stream.index] = decoded
            continue
        position = packet.pos or position
        back = -_BACK_LIVE if is_live else duration - _BACK if packet.dts is None else duration / 4
        if (
            last is None
            or decoded < last + back
            or jumps_ahead
            and decoded > max([last, *heard.values()]) + duration + _AHEAD
        ):
            parts.append(Part(position, shown, shown + duration))
            heard.clear()
        else:
            part = parts[-1]
            parts[-1] = part._replace(begin=min(part.begin, shown), end=max(part.end, shown + duration))
        last = decoded
    return Timeline(parts, breaks)


def may_jump(container: Any) -> bool:
    """Whether the format of an open file lets its time jump."""
    return bool(container.format.flags & _TS_DISCONT)


def _distance(part, seconds):
    return max(part.begin - seconds, seconds - part.end, 0)

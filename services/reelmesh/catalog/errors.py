"""What can go wrong with a video; the reasons are part of the contract."""

from __future__ import annotations

from reelmesh.mesh.errors import Aborted, InvalidArgument, NotFound


class VideoUnknown(NotFound):
    """There is no such video."""

    reason = "VIDEO_UNKNOWN"


class EtagMismatch(Aborted):
    """The video has changed since the caller read it."""

    reason = "ETAG_MISMATCH"


class FieldNotWritable(InvalidArgument):
    """An update mask names a field that does not exist or that only the platform writes."""

    reason = "FIELD_NOT_WRITABLE"

"""What can go wrong with videos and titles; the reasons are part of the contract."""

from __future__ import annotations

from reelmesh.mesh.errors import Aborted, AlreadyExists, FailedPrecondition, InvalidArgument, NotFound


class VideoUnknown(NotFound):
    """There is no such video."""

    reason = "VIDEO_UNKNOWN"


class EtagMismatch(Aborted):
    """The video, or title, has changed since the caller read it."""

    reason = "ETAG_MISMATCH"


class FieldNotWritable(InvalidArgument):
    """An update mask names a field that does not exist or that only the platform writes."""

    reason = "FIELD_NOT_WRITABLE"


class TitleUnknown(NotFound):
    """There is no such title."""

    reason = "TITLE_UNKNOWN"


class RevisionUnknown(NotFound):
    """The title never had such a revision, or has it no longer."""

    reason = "REVISION_UNKNOWN"


class TitleInvalid(InvalidArgument):
    """A title breaks a rule that no single field has."""

    reason = "TITLE_INVALID"


class TitleTooLarge(InvalidArgument):
    """A title has more bytes than an event may have."""

    reason = "TITLE_TOO_LARGE"


class EditEmpty(InvalidArgument):
    """An edit changes nothing."""

    reason = "EDIT_EMPTY"


class ExternalIdTaken(AlreadyExists):
    """There is a title of that external id."""

    reason = "EXTERNAL_ID_TAKEN"


class ParentUnknown(FailedPrecondition):
    """There is no such title to be part of."""

    reason = "PARENT_UNKNOWN"


class ParentUnfit(FailedPrecondition):
    """A title of that kind is no part of such a one."""

    reason = "PARENT_UNFIT"


class MemberUnknown(FailedPrecondition):
    """A collection names a title that is not there."""

    reason = "MEMBER_UNKNOWN"


class PlayingVideoUnknown(FailedPrecondition):
    """There is no such video to play."""

    reason = "VIDEO_UNKNOWN"


class VideoTaken(FailedPrecondition):
    """The video plays for another title."""

    reason = "VIDEO_TAKEN"


class TitleHasParts(FailedPrecondition):
    """Other titles are part of it."""

    reason = "TITLE_HAS_PARTS"


class ImportUnstarted(InvalidArgument):
    """Rows came before it was said how to import them."""

    reason = "IMPORT_UNSTARTED"


class ImportStarted(InvalidArgument):
    """It was said a second time how to import."""

    reason = "IMPORT_STARTED"

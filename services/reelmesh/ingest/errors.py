"""What can go wrong with an upload; the reasons are part of the contract."""

from __future__ import annotations

from reelmesh.mesh.errors import Aborted, FailedPrecondition, InvalidArgument, NotFound, OutOfRange, PermissionDenied


class UploadUnknown(NotFound):
    """There is no such upload."""

    reason = "UPLOAD_UNKNOWN"


class UploadExpired(FailedPrecondition):
    """Nothing was written for too long; its bytes are gone."""

    reason = "UPLOAD_EXPIRED"


class UploadCancelled(FailedPrecondition):
    """Its owner cancelled it."""

    reason = "UPLOAD_CANCELLED"


class UploadFailed(FailedPrecondition):
    """Its bytes did not match what was declared."""

    reason = "UPLOAD_FAILED"


class UploadFinished(FailedPrecondition):
    """It is complete, so it cannot be cancelled."""

    reason = "UPLOAD_FINISHED"


class WriterReplaced(Aborted):
    """A newer writer has taken over; the older one must stop."""

    reason = "WRITER_REPLACED"


class OffsetMismatch(OutOfRange):
    """The bytes would leave a gap. Metadata persisted_size says where to go on."""

    reason = "OFFSET_MISMATCH"


class SizeExceeded(OutOfRange):
    """There are more bytes than total_size says."""

    reason = "SIZE_EXCEEDED"


class SizeMismatch(InvalidArgument):
    """The file was called finished before total_size was reached."""

    reason = "SIZE_MISMATCH"


class ChecksumMismatch(InvalidArgument):
    """The bytes are not those that the client sent; none of them was kept."""

    reason = "CHECKSUM_MISMATCH"


class EmptyUpload(InvalidArgument):
    """A file without a byte is no video."""

    reason = "EMPTY_UPLOAD"


class UploadTooLarge(InvalidArgument):
    """The file is larger than this installation accepts."""

    reason = "UPLOAD_TOO_LARGE"


class SliceTooLarge(InvalidArgument):
    """A slice with a checksum must fit into memory."""

    reason = "SLICE_TOO_LARGE"


class WrongOrganization(PermissionDenied):
    """The upload and its video would belong to different organizations."""

    reason = "WRONG_ORGANIZATION"

"""What can go wrong with recommendations and their models; the reasons are part of the contract."""

from __future__ import annotations

from reelmesh.mesh.errors import FailedPrecondition, InvalidArgument, NotFound


class ModelUnknown(NotFound):
    """There is no such model."""

    reason = "MODEL_UNKNOWN"


class TrainingUnderWay(FailedPrecondition):
    """A model of the organization is being trained; another may be begun when it is done."""

    reason = "TRAINING_UNDER_WAY"


class ModelNotReady(FailedPrecondition):
    """The model cannot choose: it is being trained, was never made, or what was kept of it is damaged."""

    reason = "MODEL_NOT_READY"


class NoEarlierModel(FailedPrecondition):
    """No model ran before the one that runs."""

    reason = "NO_EARLIER_MODEL"


class ViewersRemoved(FailedPrecondition):
    """The list of those whom the model learned from was removed when another ran."""

    reason = "VIEWERS_REMOVED"


class TooFewViewings(FailedPrecondition):
    """There is too little to learn from, or to judge by."""

    reason = "TOO_FEW_VIEWINGS"


class TitleUnknown(NotFound):
    """There is no such title, or the viewer may not find it."""

    reason = "TITLE_UNKNOWN"


class NotAnEpisode(FailedPrecondition):
    """Only episodes have a next one."""

    reason = "NOT_AN_EPISODE"


class ViewerMissing(InvalidArgument):
    """Nobody signed in, and no viewer was named."""

    reason = "VIEWER_MISSING"

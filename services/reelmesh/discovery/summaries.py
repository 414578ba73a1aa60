"""Titles as rows, lists and pages show them to one viewer."""

from __future__ import annotations

import math
from collections.abc import Mapping

from reelmesh.catalog.v1.title_pb2 import Title
from reelmesh.discovery import availability
from reelmesh.discovery.analysis import base_language
from reelmesh.discovery.localization import localization
from reelmesh.discovery.model import Viewer
from reelmesh.discovery.v1.discovery_service_pb2 import GetTitleDetailsResponse, TitleSummary

Seasons = Mapping[str, tuple[str, int]]
"""Of each season, by its name, the name of the series and the number."""


def summary(title: Title, viewer: Viewer, now: float, seasons: Seasons) -> TitleSummary:
    """Return a title as rows show it."""
    told = localization(title, viewer.language)
    made = TitleSummary(
        title=title.name,
        kind=title.kind,
        video=title.video,
        display_title=told.title,
        synopsis=told.synopsis,
        year=title.release_date.year,
        genres=title.genres,
    )
    _add_place(made, title, seasons)
    _add_images(made, title, viewer.language, told.language)
    if title.availabilities:
        until = availability.open_until(availability.windows(title), viewer.territory, now)
        if math.isfinite(until):
            made.available_until.FromNanoseconds(round(until * 1e3) * 1_000_000)
    rating = availability.rating_where(title.age_ratings, viewer.territory)
    if rating is not None:
        made.minimum_age = rating.minimum_age
    if title.HasField("running_time"):
        made.running_time.CopyFrom(title.running_time)
    return made


def details(title: Title, viewer: Viewer, summed: TitleSummary) -> GetTitleDetailsResponse:
    """Return what a title's page shows of the title itself."""
    told = localization(title, viewer.language)
    made = GetTitleDetailsResponse(
        title=summed,
        description=told.description,
        credits=title.credits,
        tags=title.tags,
        original_language=title.original_language,
    )
    rating = availability.rating_where(title.age_ratings, viewer.territory)
    if rating is not None:
        made.age_rating.CopyFrom(rating)
    return made


def _add_place(made: TitleSummary, title: Title, seasons: Seasons) -> None:
    if title.kind == Title.KIND_SEASON:
        made.series = title.parent_title
        made.season_number = title.number
    elif title.kind == Title.KIND_EPISODE:
        made.episode_number = title.number
        # Not of a season: then it is the series' own.
        made.series, made.season_number = seasons.get(title.parent_title, (title.parent_title, 0))


def _add_images(made: TitleSummary, title: Title, *languages: str) -> None:
    """Add the pictures in the viewer's language, or that of what they are told, and those without words.

    A purpose of which there is none of these gets those of any language: a picture is better than none.
    """
    known = {base_language(each) for each in languages if each} | {""}
    fit = [each for each in title.images if base_language(each.language) in known]
    purposes = {each.purpose for each in fit}
    made.images.extend(fit)
    made.images.extend(each for each in title.images if each.purpose not in purposes)

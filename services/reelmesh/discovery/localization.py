"""Which of a title's texts a viewer is shown."""

from __future__ import annotations

from reelmesh.catalog.v1.title_pb2 import Localization, Title
from reelmesh.discovery.analysis import base_language


def localization(title: Title, language: str) -> Localization:
    """Return a title's texts in a language (BCP 47), or else in its original one; empty where it has none at all.

    A text in the same language of another region comes before one in another language.
    """
    for wanted in (language, title.original_language):
        if wanted:
            found = _in_language(title, wanted)
            if found is not None:
                return found
    return title.localizations[0] if title.localizations else Localization()


def _in_language(title: Title, language: str) -> Localization | None:
    alike: Localization | None = None
    lower, base = language.lower(), base_language(language)
    for each in title.localizations:
        if each.language.lower() == lower:
            return each
        if alike is None and base_language(each.language) == base:
            alike = each
    return alike

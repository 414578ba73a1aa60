"""Rows of a library: what is written is read again, wherever it is cut, and a broken row costs the others nothing."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import pytest

from reelmesh.catalog.rowcodecs import cells
from reelmesh.catalog.rowcodecs.csv_rows import CsvRows, Header
from reelmesh.catalog.rowcodecs.json_rows import JsonRows
from reelmesh.catalog.rowcodecs.model import ROW_BYTES, HeaderInvalid, Row, RowFormat, RowRefused
from reelmesh.catalog.rowcodecs.reading import Numbered, Reader
from reelmesh.catalog.title_model import OURS
from reelmesh.catalog.v1.title_pb2 import AgeRating, Availability, Credit, Image, Localization, Title
from reelmesh_tools.library.generator import titles

NASTY = (
    *("", " ", ";", "|", "\\", '"', "'", ",", "\n", "\r\n", "\r", "\t"),
    *("é", "静", "\u2028", "a", "B", "[de]", "\x00", "=1"),
)
LANGUAGES = ("en", "de", "pt-BR", "ja")


def words(chance: random.Random, least: int = 1) -> str:
    while True:
        text = "".join(chance.choice(NASTY) for _ in range(chance.randint(least, 6)))
        if len(text) >= least:
            return text


def any_title(chance: random.Random, number: int) -> Title:
    """Make a title of whatever the contract allows, in the worst words."""
    title = Title(
        kind=Title.Kind.ValueType(chance.randint(1, 6)),
        external_id=f"{number} {words(chance)}",
        number=chance.choice((0, 1, 10_000)),
        state=Title.State.ValueType(chance.randint(0, 3)),
        audience=Title.Audience.ValueType(chance.randint(0, 3)),
        original_language=chance.choice(("", "de")),
        genres={words(chance) for _ in range(chance.randint(0, 3))},
        tags={words(chance) for _ in range(chance.randint(0, 3))},
    )
    for language in chance.sample(LANGUAGES, chance.randint(1, 4)):
        title.localizations.append(
            Localization(language=language, title=words(chance), sort_title=words(chance, 0), synopsis=words(chance, 0))
        )
    for _ in range(chance.randint(0, 2)):
        title.credits.append(Credit(person=words(chance), role=Credit.ROLE_ACTOR, character=words(chance, 0)))
        title.age_ratings.append(AgeRating(system=words(chance), rating=words(chance), territories=["DE", "AT"]))
        title.images.append(Image(purpose=Image.PURPOSE_POSTER, uri="/a;b|c#d", width=1, height=2, language="de"))
    if chance.random() < 0.5:
        title.release_date.year = 1999
        title.running_time.FromJsonString("5400.5s")
        title.availabilities.append(Availability())
        title.availabilities.append(Availability(territories=["JP"]))
        title.availabilities[1].end_time.FromJsonString("2027-01-01T00:00:00.000000001Z")
    return title


def file_of(rows: Sequence[Row], row_format: RowFormat) -> bytes:
    if row_format is RowFormat.JSON:
        return b"".join(map(JsonRows().encode, rows))
    header = Header.of({each.language for row in rows for each in row.title.localizations})
    return header.encode() + b"".join(map(CsvRows(header).encode, rows))


def read(data: bytes, row_format: RowFormat, cuts: Sequence[int] = ()) -> Iterator[Numbered]:
    reader = Reader(row_format)
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        yield from reader.feed(data[start:end])
    yield from reader.finish()


def refusal(data: bytes, row_format: RowFormat) -> RowRefused:
    (found,) = read(data, row_format)
    assert isinstance(found.row, RowRefused)
    return found.row


@pytest.mark.parametrize("row_format", RowFormat)
def test_what_is_written_is_read_again_wherever_it_is_cut(row_format: RowFormat) -> None:
    for seed in range(40):
        chance = random.Random(seed)  # noqa: S311 - no secret
        rows = [Row(any_title(chance, number)) for number in range(8)]
        rows[3] = Row(rows[3].title, parent_external_id=words(chance) + "x")
        rows[4] = Row(rows[4].title, member_external_ids=(words(chance) + "x", words(chance) + "y"))
        data = file_of(rows, row_format)
        cuts = sorted(chance.sample(range(len(data)), 12))
        assert [each.row for each in read(data, row_format, cuts)] == rows
        assert [each.row for each in read(data, row_format, range(1, len(data)))] == rows


@pytest.mark.parametrize("row_format", RowFormat)
def test_a_generated_library_is_read_again(row_format: RowFormat) -> None:
    rows = [Row(title) for title in titles(400, 3)]
    found = list(read(b"\xef\xbb\xbf" + file_of(rows, row_format), row_format, [1, 2, 1000, 70_000]))
    assert [each.row for each in found] == rows
    assert [each.number for each in found] == list(range(1, 401))


def test_each_field_of_a_title_has_its_column() -> None:
    columns = set(Header.of(["en"]).columns)
    for field in Title.DESCRIPTOR.fields:
        if field.name not in {*OURS, "localizations"}:
            assert field.name in columns
    for field in Localization.DESCRIPTOR.fields:
        assert field.name == "language" or f"{field.name}[en]" in columns


def test_a_name_stands_only_where_there_is_no_external_id() -> None:
    name = "organizations/acme/titles/0190a0a0-0000-7000-8000-000000000001"
    made_here = Title(name=name, kind=Title.KIND_FILM, localizations=[Localization(language="en", title="Here")])
    imported = Title(external_id="x", **{key.name: value for key, value in made_here.ListFields()})
    for row_format in RowFormat:
        here, there = (each.row for each in read(file_of([Row(made_here), Row(imported)], row_format), row_format))
        assert isinstance(here, Row)
        assert isinstance(there, Row)
        assert (here.title.name, there.title.name) == (name, "")


@pytest.mark.parametrize(
    ("data", "reason", "field"),
    [
        (b"{", "ROW_UNREADABLE", ""),
        (b"[" * 100_000, "ROW_UNREADABLE", ""),
        (b"3", "ROW_UNREADABLE", ""),
        (b'{"kind": NaN}', "ROW_UNREADABLE", ""),
        (b'{"externalId": "\xff"}', "ROW_UNREADABLE", ""),
        (b'{"externalId": "' + b"x" * ROW_BYTES + b'"}', "ROW_UNREADABLE", ""),
        (b'{"externalId": "a", "genre": []}', "FIELD_UNKNOWN", "genre"),
        (b'{"localizations": [{}, {"titel": ""}]}', "FIELD_UNKNOWN", "localizations[1].titel"),
        (b'{"releaseDate": {"year": 1, "hour": 2}}', "FIELD_UNKNOWN", "releaseDate.hour"),
        (b'{"externalId": 3}', "VALUE_INVALID", "externalId"),
        (b'{"externalId": "\\ud800"}', "VALUE_INVALID", "externalId"),
        (b'{"kind": "KIND_OPERA"}', "VALUE_INVALID", "kind"),
        (b'{"kind": true}', "VALUE_INVALID", "kind"),
        (b'{"genres": "drama"}', "VALUE_INVALID", "genres"),
        (b'{"genres": ["drama", null]}', "VALUE_INVALID", "genres[1]"),
        (b'{"credits": [{"role": "ROLE_ACTOR", "person": []}]}', "VALUE_INVALID", "credits[0].person"),
        (b'{"number": 4294967296}', "VALUE_INVALID", "number"),
        (b'{"number": "1e3"}', "VALUE_INVALID", "number"),
        (b'{"number": ' + b"9" * 5000 + b"}", "ROW_UNREADABLE", ""),
        (b'{"runningTime": "1h"}', "VALUE_INVALID", "runningTime"),
        (b'{"availabilities": [{"startTime": "tomorrow"}]}', "VALUE_INVALID", "availabilities[0].startTime"),
        (b'{"etag": "x"}', "VALUE_INVALID", "etag"),
        (b'{"createTime": null}', "VALUE_INVALID", "createTime"),
        (b'{"number": 1, "number": 2}', "VALUE_INVALID", "number"),
        (b'{"externalId": "a", "external_id": "b"}', "VALUE_INVALID", "external_id"),
    ],
)
def test_hostile_rows_of_json(data: bytes, reason: str, field: str) -> None:
    found = refusal(data + b"\n", RowFormat.JSON)
    assert (found.reason, found.field) == (reason, field)
    assert found.message


def test_a_refused_row_tells_its_external_id() -> None:
    assert refusal(b'{"externalId": "a", "genre": []}', RowFormat.JSON).external_id == "a"
    assert refusal(b"external_id,number\na,many\n", RowFormat.CSV).external_id == "a"


@pytest.mark.parametrize(
    ("columns", "cell", "reason"),
    [
        ("kind", "opera", "VALUE_INVALID"),
        ("number", "1.5", "VALUE_INVALID"),
        ("release_date", "27.11.2026", "VALUE_INVALID"),
        ("running_time", "90 min", "VALUE_INVALID"),
        ("credits", "singer|Ada", "VALUE_INVALID"),
        ("credits", "Ada", "VALUE_INVALID"),
        ("age_ratings", "FSK|12|twelve", "VALUE_INVALID"),
        ("availabilities", "DE|yesterday", "VALUE_INVALID"),
        ("images", "poster|large|/a.png", "VALUE_INVALID"),
        ("genres", "drama|comedy", "VALUE_INVALID"),
        ("genres", "drama\\", "VALUE_INVALID"),
        ("languages", "fr", "VALUE_INVALID"),
    ],
)
def test_hostile_cells(columns: str, cell: str, reason: str) -> None:
    found = refusal(f"{columns}\n{cell}\n".encode(), RowFormat.CSV)
    assert (found.reason, found.field) == (reason, columns)


def test_columns_are_in_any_order_and_words_as_people_write_them() -> None:
    data = (
        "title[de],kind,external_id,credits,genres,availabilities,state,title[en],release_date\r\n"
        '"Der ""lange"" Weg\r\nzurück",Film,a, director | Ada Voß ;KIND|x,,,,,\r\n'
        "Der Weg,FILM,b,director|Ada Voß; actor|Bo|The Cook,drama; road movie,DE AT||2027-01-01T00:00:00Z,Published,"
    ).encode()
    broken, good = read(data, RowFormat.CSV)
    assert isinstance(broken.row, RowRefused)
    assert broken.row.field == "credits"
    assert isinstance(good.row, Row)
    title = good.row.title
    assert (title.kind, title.state, title.external_id) == (Title.KIND_FILM, Title.STATE_PUBLISHED, "b")
    assert list(title.genres) == ["drama", "road movie"]
    assert [(each.role, each.person, each.character) for each in title.credits] == [
        (Credit.ROLE_DIRECTOR, "Ada Voß", ""),
        (Credit.ROLE_ACTOR, "Bo", "The Cook"),
    ]
    assert list(title.availabilities[0].territories) == ["DE", "AT"]
    assert not title.availabilities[0].HasField("start_time")
    assert title.availabilities[0].end_time.seconds == 1798761600


@pytest.mark.parametrize(
    ("header", "column"),
    [("kind,genre", "genre"), ("kind,kind", "kind"), ("title", "title"), ("title[de],title[d]", "title[d]")],
)
def test_a_header_that_no_title_has(header: str, column: str) -> None:
    with pytest.raises(HeaderInvalid) as found:
        list(read(header.encode() + b"\n1,2\n", RowFormat.CSV))
    assert found.value.violations[0][0] == column


@pytest.mark.parametrize(
    "broken",
    [
        b'b,"2\n',
        b'b,"2"x\n',
        b'b,2,"x\n',
        b"b,\xff\n",
        b"b,2,3,4\n",
        b"b," + b"9" * (ROW_BYTES + 10) + b"\n",
        b'b,"' + b"9" * (ROW_BYTES + 10) + b"\n",
    ],
)
def test_a_broken_record_costs_the_others_nothing(broken: bytes) -> None:
    data = b"external_id,number,title[en]\na,1,one\n" + broken + b'c,3,"three\nlines\n"\n\nd,4,"four"\n'
    for cuts in ((), (40, 300_000), range(50, len(data), 1000)):
        found = list(read(data, RowFormat.CSV, [cut for cut in cuts if cut < len(data)]))
        assert [each.number for each in found] == [1, 2, 3, 4]
        assert [isinstance(each.row, RowRefused) for each in found] == [False, True, False, False]
        last = found[2].row
        assert isinstance(last, Row)
        assert last.title.localizations[0].title == "three\nlines\n"


def test_a_broken_line_of_json_costs_the_others_nothing() -> None:
    data = b'{"externalId":"a"}\r\n{"externalId":"b"\n\n  \n' + b"x" * (3 * ROW_BYTES) + b'\n{"externalId":"c"}'
    for cuts in ((), range(10, len(data), 5000)):
        found = list(read(data, RowFormat.JSON, list(cuts)))
        assert [isinstance(each.row, RowRefused) for each in found] == [False, True, True, False]


@pytest.mark.parametrize("row_format", RowFormat)
def test_a_file_without_rows(row_format: RowFormat) -> None:
    assert not list(read(b"", row_format))
    assert not list(read(b"\xef\xbb\xbf", row_format))
    assert not list(read(b"\n\r\n", row_format))


def test_cells_keep_what_is_in_them() -> None:
    for seed in range(300):
        chance = random.Random(seed)  # noqa: S311 - no secret
        items = [[words(chance) for _ in range(chance.randint(1, 4))] for _ in range(chance.randint(0, 4))]
        assert cells.split(cells.joined(items)) == items
    assert cells.split(" a ; ; b | c ;") == [["a"], ["b", "c"]]

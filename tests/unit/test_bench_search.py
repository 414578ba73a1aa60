"""The benchmark of searches, on a small library."""

from __future__ import annotations

from reelmesh_tools.bench.commands import _search_table
from reelmesh_tools.bench.search import measure


def test_searches_are_judged_beside_plain_ones_and_timed() -> None:
    said: list[str] = []
    result = measure(1000, 5, said.append, measured=20, crowd_seconds=0.05)
    assert said == ["makes the library", "indexes", "searches", "indexes and searches plainly"]
    good = result["ndcg_at_10"]
    assert result["queries"] >= 60
    assert good["lexical"]["all"] > max(good["plain"]["all"], good["plain_all_words"]["all"]) + 0.1
    assert good["hybrid"]["meaning"] > good["lexical"]["meaning"]
    assert result["index"]["vectors"] == 1000
    assert set(result["latency_ms"]) >= {"search", "search_hybrid", "suggest", "browse_popular"}
    assert all(0 < took["p50"] <= took["p99"] <= took["max"] for took in result["latency_ms"].values())
    assert result["searches_per_second_by_threads"].keys() == {"1", "2", "4"}
    assert _search_table(result).row_count == len(good["lexical"]) + len(result["latency_ms"])

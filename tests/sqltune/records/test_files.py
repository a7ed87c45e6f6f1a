"""What names these records elsewhere."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from sqltune.records.files import home, installation


def test_records_have_one_name_whoever_asks_first(tmp_path, monkeypatch):
    monkeypatch.setenv("SQLTUNE_HOME", str(tmp_path / "one"))
    with ThreadPoolExecutor(8) as pool:
        names = set(pool.map(lambda _: installation(), range(32)))
    assert len(names) == 1
    assert [p.name for p in home().iterdir()] == ["installation"]
    monkeypatch.setenv("SQLTUNE_HOME", str(tmp_path / "two"))
    assert installation() not in names

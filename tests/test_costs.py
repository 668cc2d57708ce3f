"""What each source of AudioSet costs, as docs/audioset.md has it."""

import pytest
from conftest import ROOT

from benchmarks import costs
from glat.data.sources.huggingface import COPIES
from glat.data.sources.registry import SOURCES

PAGE = (ROOT / "docs/audioset.md").read_text()


def test_the_table_in_the_document_is_the_one_that_is_computed():
    assert PAGE.split("<!-- costs -->\n")[1].split("<!-- /costs -->")[0] == f"{costs.table()}\n"


def test_every_source_of_audioset_has_its_costs_and_its_line():
    kinds = {way.kind for way in costs.ways()}
    assert kinds <= SOURCES.keys() and all(f"| [`{kind}`](#" in PAGE for kind in kinds)
    assert {way.how.strip("`") for way in costs.ways() if way.kind == "huggingface"} == COPIES.keys()


def test_open_copies_cost_what_is_there():
    ways = {(way.kind, way.how): way for way in costs.ways()}
    parquet = ways["huggingface", "`agkphysics/AudioSet`"]
    assert parquet.audio.clips == {"balanced + eval": 18_685 + 17_142, "all": 18_685 + 1_738_788 + 17_142}
    assert parquet.audio.bytes["balanced + eval"] == pytest.approx(49.8e9, rel=1e-3)
    assert parquet.audio.bytes["all"] == pytest.approx(2.43e12, rel=2e-3)
    tars = ways["huggingface", "`confit/audioset-16khz-wds`"]
    assert tars.audio.clips == {"balanced + eval": 20_550 + 18_886, "all": 20_550 + 1_912_024 + 18_886}
    assert tars.audio.bytes["all"] == 32_000 * 10 * tars.audio.clips["all"]
    for way, alone in ((parquet, ways["parquet", ""]), (tars, ways["webdataset", ""])):
        assert way.download("all") == way.audio.bytes["all"] / 12.5e6 and not alone.download("all")
        assert way.packing("all", 640_000, 0) == alone.packing("all", 640_000, 0)


def test_a_download_at_a_pace_and_packing_by_the_slower_of_disk_and_processors():
    audio = costs.Audio.of_size(1000, {"all": 500})
    assert costs.Way("x", "", audio, 0, download_seconds=2).download("all") == 1000
    assert costs.Way("x", "", audio, 16).packing("all", 0, 0) == 1000  # eight cores
    assert costs.Way("x", "", audio, 0).packing("all", 1e9 / 3, 0) == pytest.approx(1000)

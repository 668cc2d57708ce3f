"""Strong labels for the classes of weak ones: on real branches of AudioSet's ontology, and what is told of them."""

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from glat.config.params import load
from glat.data.lists import metadata
from glat.data.lists.framed import read_framed
from glat.data.lists.ontology import ancestors, certain_ancestors, parents
from glat.lib.errors import GlatError
from glat.scoring.localisation import localise
from glat.scoring.strong import framed_labels, roll_up, sentences, strong_labels

SPEECH, MALE, DOG, PETS, ANIMAL, CAT, HISS = (
    "/m/09x0r",
    "/m/05zppz",
    "/m/0bt9lr",
    "/m/068hy",
    "/m/0jbk",
    "/m/01yrx",
    "/m/07rjwbb",
)
COLUMNS = ["clip", "start", "end", "label"]


def test_the_ontology_is_whole():
    assert len(parents()) == 632 and sum(not of for of in parents().values()) == 7
    assert {parent for of in parents().values() for parent in of} <= parents().keys()
    assert {PETS, ANIMAL} == ancestors(DOG) and certain_ancestors(DOG) == ancestors(DOG)
    assert CAT in ancestors(HISS) and not certain_ancestors(HISS)  # or a snake's, or steam


def test_labels_are_rolled_up_where_they_are_certain_or_weak_labels_say_so():
    strong = pd.DataFrame(
        [("x", 1, 2, MALE), ("x", 3, 4, HISS), ("y", 1, 2, HISS), ("y", 5, 6, DOG), ("z", 0, 1, "/m/none")],
        columns=COLUMNS,
    )
    classes = [SPEECH, MALE, CAT, ANIMAL, HISS]
    rolled = roll_up(strong, classes, {"y": [CAT]})
    found = rolled.groupby("event")["label"].agg(list).tolist()
    assert found == [[MALE, SPEECH], [HISS], [HISS, CAT], [DOG, ANIMAL], ["/m/none"]]
    told = sentences(strong, rolled, classes)
    assert told[0] == (
        "strong labels: 3 of 5 count for classes above their own, too: 1 on average (localisation.roll_up)"
    )
    assert "1 of 5 match no class and are left out, '/m/none' the first; give ids or display names" in told[1]


def test_a_window_for_speech_hits_a_man_who_speaks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "data/mini/metadata"
    folder.mkdir(parents=True)
    (folder / "class_labels_indices.csv").write_text(f"index,mid,display_name\n0,{SPEECH},Speech\n1,{ANIMAL},Animal\n")
    (folder / "eval_segments.csv").write_text(f"YTID,start_seconds,end_seconds,positive_labels\nx,0,10,{SPEECH}\n")
    header = "segment_id\tstart_time_seconds\tend_time_seconds\tlabel"
    (folder / "eval_strong.tsv").write_text(f"{header}\nx_0\t4\t5\t{MALE}\nx_0\t8\t9\tnothing\n")
    framed = folder / "eval_strong_framed_posneg.tsv"
    framed.write_text(f"{header}\tpresent\nx_0\t3.84\t4.8\t{SPEECH}\tPRESENT\nx_0\t0\t0.96\tAnimal\tNOT_PRESENT\n")
    told = []
    params = load(ROOT / "params.yaml")
    strong = strong_labels(params, told.append)
    assert strong["label"].tolist() == [MALE, SPEECH, "nothing"] and len(told) == 2
    assert (
        "1 of 2 count for classes above their own" in told[0]
        and "1 of 2 match no class and are left out, 'nothing' the first" in told[1]
    )
    kept = {"clip": ["x_0"], "mid": [SPEECH, ANIMAL], "windows": np.array([[3.0]]), "classes": np.array([[0]])}
    assert localise(kept, strong, 3.0, 10.0)["hit"].tolist() == [1.0]
    off = strong_labels(load(ROOT / "params.yaml", {"localisation.roll_up": False}))
    assert off["label"].tolist() == [MALE, "nothing"] and localise(kept, off, 3.0, 10.0).empty
    pieces = framed_labels(params)
    assert pieces[["label", "present"]].to_numpy().tolist() == [[SPEECH, True], [ANIMAL, False]]
    framed.write_text(framed.read_text().replace("NOT_PRESENT", "ABSENT"))
    with pytest.raises(
        GlatError, match=r"line 3: expected segment_id, 0 <= start < end in seconds, label, PRESENT or NOT_PRESENT"
    ):
        read_framed(framed)


def test_names_where_ids_belong_and_labels_of_no_class_are_told(tmp_path, capsys):
    folder = tmp_path / "lists"
    folder.mkdir()
    (folder / "class_labels_indices.csv").write_text("index,mid,display_name\n0,dog,Dog bark\n1,siren,Siren\n")
    for split, clip in (("train", "a"), ("test", "b")):
        (folder / f"{split}_segments.csv").write_text(
            f"YTID,start_seconds,end_seconds,positive_labels\n{clip},0,3,dog\n"
        )
    header = "segment_id\tstart_time_seconds\tend_time_seconds\tlabel"
    (folder / "test_strong.tsv").write_text(f"{header}\nb_0\t0.5\t1.0\tDog bark\nb_0\t1\t2\tBark\n")
    metadata.check(folder, "mine", 2, {"train": 1, "test": 1})
    error = capsys.readouterr().err
    assert (
        "1 of 2 labels are display names where ids belong, 'Dog bark' the first; they are read as these classes"
        in error
    )
    assert "1 of 2 strong labels are of none of the classes and are left out, 'Bark' the first" in error

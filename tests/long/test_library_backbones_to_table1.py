"""Backbones of timm and transformers, and one of one's own, to Table 1 by the README's command, on the tiny corpus."""

import pandas as pd
import transformers
import yaml
from test_library_backbones import OWN
from tiny_project import copy_of_the_project, reruns, run, snakemake


def test_networks_of_libraries_and_of_one_s_own_get_their_rows(tmp_path):
    transformers.ASTForAudioClassification(
        transformers.ASTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    ).save_pretrained(tmp_path / "ast")
    transformers.ASTFeatureExtractor().save_pretrained(tmp_path / "ast")
    copy = copy_of_the_project(tmp_path / "project")
    (copy / "own_network.py").write_text(OWN)
    (copy / "own_layer.py").write_text("from torch.nn import Conv1d as Layer\n")
    settings = yaml.safe_load((copy / "params.yaml").read_text())
    settings["networks"] = {"ast": {"model": f"transformers:{tmp_path / 'ast'}", "pretrained": True}}
    settings["backbones"] = ["timm:mobilenetv3_small_100", "ast", "own_network:Mine"]
    settings["table1"]["two_networks"], settings["table2"] = [], {"backbone": "ast"}
    (copy / "params.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    snakemake(copy, "results/table1.csv", "results/table1.md", "--cores", "8")
    scores = pd.read_csv(copy / "results/table1.csv")
    titles = ["mobilenetv3_small_100 (timm)", "ast", "own_network:Mine"]
    assert scores["method"].tolist() == [f"{title}{glat}" for title in titles for glat in ("", " + GL-AT")]
    assert scores["mAP"].between(0, 1).all()
    assert not reruns(copy, "results/table1.csv")
    (copy / "own_layer.py").write_text("from torch import nn\n\n\nclass Layer(nn.Conv1d):\n    pass\n")
    repeated = snakemake(copy, "-n", "--cores", "2", "results/table1.csv").stdout
    assert "own_network-Mine" in repeated and "runs/mini/ast-s0/checkpoint.pt" not in repeated
    listed = run(copy, "python", "-m", "glat.cli", "backbones").stdout
    assert "ast" in listed and "resnet38" in listed

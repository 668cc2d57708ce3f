"""Backbones of timm, of transformers, and of one's own outside of the package: made with random weights, saved as the library
saves them, and loaded by the real code. Nothing is downloaded."""

import json
import os
import re
import shutil
import subprocess
import sys
import time

import numpy as np
import onnxruntime
import pytest
import timm
import torch
import transformers
from conftest import ROOT, TINY
from own_backbone import LAYER, OWN
from source_fixtures import step
from test_training import train
from typer.testing import CliRunner

import glat
from glat.cli import app
from glat.config.faults import faults_of
from glat.config.network import Network, short
from glat.config.params import load
from glat.config.runs import completed, resolve
from glat.lib.errors import GlatError
from glat.models import architecture, build, library, timm_network
from glat.models.audio_front_ends import BandLogMel, KaldiLogMel, Samples, WhisperLogMel
from glat.models.heads import HEADS
from glat.models.registry import BACKBONES
from glat.models.transformers_kinds import KINDS
from glat.training import checkpoints, checks
from glat.training.transfer import backbone_of
from glat.use import onnx_file

LABELS = ["Dog", "Cat", "Cow"]


@pytest.fixture
def project(corpus_project):
    return corpus_project


SMALL = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 24, "num_labels": 3}


def saved(folder, network, extractor):
    """A network and its feature extractor in the form in which transformers saves them. All weights are random, and large
    enough for each layer to change the scores."""
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in network.parameters():
            weight += 0.4 * torch.randn_like(weight)
    network.save_pretrained(folder)
    extractor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def ast(tmp_path_factory):
    """A tiny AST; it hears 128 bands and 1024 frames, as the published one."""
    names = {"id2label": dict(enumerate(LABELS)), "label2id": {name: i for i, name in enumerate(LABELS)}}
    network = transformers.ASTForAudioClassification(transformers.ASTConfig(**SMALL, **names, num_hidden_layers=2))
    return saved(tmp_path_factory.mktemp("ast"), network, transformers.ASTFeatureExtractor())


@pytest.fixture(scope="module")
def wav2vec2(tmp_path_factory):
    config = transformers.Wav2Vec2Config(
        **SMALL, num_hidden_layers=1, conv_dim=[8, 8], conv_stride=[20, 16], conv_kernel=[20, 16],
        num_feat_extract_layers=2, num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2, classifier_proj_size=8,
    )  # fmt: skip
    network = transformers.Wav2Vec2ForSequenceClassification(config)
    return saved(tmp_path_factory.mktemp("wav2vec2"), network, transformers.Wav2Vec2FeatureExtractor())


WHISPER = {"d_model": 16, "encoder_attention_heads": 2, "encoder_ffn_dim": 24, "encoder_layers": 2, "num_labels": 3,
           "max_source_positions": 200, "classifier_proj_size": 8, "decoder_layers": 1, "decoder_attention_heads": 2,
           "decoder_ffn_dim": 24, "vocab_size": 20, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
           "decoder_start_token_id": 1}  # fmt: skip


@pytest.fixture(scope="module")
def whisper(tmp_path_factory):
    """A tiny Whisper, which was made for 4 s where the published ones were for 30 s."""
    network = transformers.WhisperForAudioClassification(transformers.WhisperConfig(**WHISPER))
    return saved(tmp_path_factory.mktemp("whisper"), network, transformers.WhisperFeatureExtractor(chunk_length=4))


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    config = transformers.Wav2Vec2BertConfig(**SMALL, num_hidden_layers=1, classifier_proj_size=8)
    network = transformers.Wav2Vec2BertForSequenceClassification(config)
    return saved(tmp_path_factory.mktemp("bert"), network, transformers.SeamlessM4TFeatureExtractor())


def made(model, classes=3, glat=None, sample_rate=16000, **settings):
    network = Network(model=model, **settings)
    return build("other", classes, sample_rate=sample_rate, glat=glat, network=network).eval()


def noise(seconds, rate=16000, clips=2):
    return 0.1 * torch.randn(clips, round(seconds * rate), generator=torch.Generator().manual_seed(3))


NAMES = [
    "mobilenetv3_small_100",
    "vit_tiny_patch16_224",
    "swin_tiny_patch4_window7_224",
    "dla46_c",
    "xcit_nano_12_p8_224",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_network_of_timm_scores_clips_frames_and_windows(name):
    tagger = made(f"timm:{name}", classes=7, glat={"n": 2, "tau": 2.0}, sample_rate=32000)
    streams = tagger.streams(noise(10, 32000))
    assert streams.fused.shape == (2, 7) and streams.windows.shape == (2, 2)
    backbone = tagger.backbones()["global"]
    m = backbone.features(tagger.front_end(noise(10, 32000)))
    frames = backbone.frame_scores(m)
    assert frames.shape == (*m.shape[:2], 7)
    assert m.shape[1] == {NAMES[0]: 32, NAMES[1]: 63, NAMES[2]: 31, NAMES[3]: 31, NAMES[4]: 126}[name]
    assert backbone.stride == {NAMES[1]: 16, NAMES[4]: 8}.get(name, 32)
    assert ((frames >= 0) & (frames <= 1)).all()


def test_the_feature_map_is_the_networks_own_averaged_over_frequency():
    tagger = made("timm:vit_tiny_patch16_224", head="mean")
    backbone, logmel = tagger.network, tagger.front_end(noise(10))
    image = backbone.bn0(logmel.transpose(1, 3)).permute(0, 3, 1, 2)
    tokens = backbone.trunk.forward_features(image)[:, 1:]  # 4 rows of 63 patches
    torch.testing.assert_close(backbone.features(logmel)[:, 5], tokens[:, [5, 68, 131, 194]].mean(1))


def test_a_network_whose_blocks_do_not_divide_the_clip_hears_it_padded_with_each_bands_mean():
    backbone = made("timm:dla46_c", sample_rate=32000).network
    assert backbone.multiple == 32 and made("timm:resnet10t").network.multiple == 1
    logmel = 10 * torch.randn(2, 1, 1001, 64, generator=torch.Generator().manual_seed(0))
    mean = backbone.bn0.running_mean.view(1, 1, 1, 64).expand(2, 1, 23, 64)
    m, padded = backbone.features(logmel), backbone.features(torch.cat((logmel, mean), 2))
    assert m.shape[1] < padded.shape[1]
    torch.testing.assert_close(m, padded[:, : m.shape[1]])
    later = torch.cat((logmel[:, :, :900], logmel[:, :, 900:] + 30), 2)  # M goes on in time as the clip does
    assert (backbone.features(later) - m).abs().mean((0, 2)).argmax() > 0.8 * m.shape[1]


@pytest.mark.parametrize("channels", ["sum", "mean"])
def test_weights_for_three_colours_become_weights_for_one_channel(monkeypatch, channels):
    torch.manual_seed(0)
    colours = timm.create_model("resnet10t", num_classes=0)
    create, first = timm.create_model, "conv1.0.weight"

    def created(name, pretrained=False, **how):
        network = create(name, **how)
        if pretrained:  # what timm does with the weights it downloads
            state = colours.state_dict()
            state[first] = timm.models.adapt_input_conv(1, state[first])
            network.load_state_dict(state)
        return network

    monkeypatch.setattr(timm, "create_model", created)
    monkeypatch.setattr(timm_network, "on_hub", lambda *_: True)
    backbone = made("timm:resnet10t", channels=channels).network
    assert backbone.load_pretrained(["a", "b", "c"]) == ["a", "b", "c"]
    summed = colours.state_dict()[first].sum(1, keepdim=True)
    torch.testing.assert_close(backbone.trunk.state_dict()[first], summed if channels == "sum" else summed / 3)


def test_attention_pooling_is_that_of_psla():
    torch.manual_seed(0)
    head, m = HEADS["attention"](6, 5), torch.randn(2, 4, 6)
    head.weight.data = torch.tensor([0.1, 0.2, 0.3, 0.4]).log()
    expected = torch.zeros(2, 5)
    for h, weight in enumerate((0.1, 0.2, 0.3, 0.4)):  # as its authors write it, a head at a time
        rows = slice(5 * h, 5 * h + 5)
        attention = torch.sigmoid(m @ head.attention.weight[rows].T + head.attention.bias[rows])
        score = torch.sigmoid(m @ head.score.weight[rows].T + head.score.bias[rows])
        expected += weight * (attention / attention.sum(1, keepdim=True) * score).sum(1)
    torch.testing.assert_close(head.clip(m), expected)
    one = m[:, :1]
    torch.testing.assert_close(head.clip(one), head.frames(one)[:, 0])


@pytest.mark.parametrize("head", ["mean", "pooled"])
def test_a_clip_of_one_frame_is_that_frame(head):
    made_head, m = HEADS[head](6, 5).eval(), torch.randn(2, 1, 6)
    m = m if head == "mean" else m / 2  # PANNs add the maximum and the mean
    clip = made_head.clip(m)
    torch.testing.assert_close(clip, made_head.frames(m if head == "mean" else 2 * m)[:, 0])


def test_asts_front_end_is_its_feature_extractor(ast):
    extractor = transformers.AutoFeatureExtractor.from_pretrained(ast)
    wave = noise(10)
    theirs = extractor(list(wave.numpy()), sampling_rate=16000, return_tensors="pt")["input_values"]
    ours = KaldiLogMel(16000)(wave)
    assert ours.shape == (2, 1, 998, 128)
    torch.testing.assert_close(ours[:, 0], theirs[:, :998], atol=2e-4, rtol=1e-4)
    assert theirs[0, 998:].unique().item() == pytest.approx(KaldiLogMel(16000).silence)
    integers = (wave * 2**15).round().clamp(-(2**15), 2**15 - 1)
    torch.testing.assert_close(KaldiLogMel(16000)(integers.short()), KaldiLogMel(16000)(integers * 2.0**-15))


def test_a_published_ast_scores_as_it_does_in_its_own_library(ast):
    wave, names = noise(10), ["Cow", "Bird", "Dog"]
    tagger = made(f"transformers:{ast}", pretrained=True)
    backbone = tagger.network
    assert backbone.load_pretrained(LABELS) == []
    extractor = transformers.AutoFeatureExtractor.from_pretrained(ast)
    theirs = transformers.ASTForAudioClassification.from_pretrained(ast).eval()
    with torch.no_grad():
        inputs = extractor(list(wave.numpy()), sampling_rate=16000, return_tensors="pt")
        expected = theirs(**inputs).logits.sigmoid()
        torch.testing.assert_close(tagger(wave), expected, atol=1e-4, rtol=1e-3)
        # Classes of another list are found by their names; one that is new to the weights stays as it was.
        fresh = made(f"transformers:{ast}")
        before = fresh.network.head.layers.dense.weight[1].clone()
        assert fresh.network.load_pretrained(names) == ["Bird"]
        torch.testing.assert_close(fresh(wave)[:, [0, 2]], expected[:, [2, 0]], atol=1e-4, rtol=1e-3)
        assert fresh.network.head.layers.dense.weight[1].equal(before)


def test_windows_of_ast_have_the_middle_positions_or_stretched_ones(ast):
    crop, stretched = (made(f"transformers:{ast}", positions=how).network for how in ("crop", "interpolate"))
    for one in (crop, stretched):
        one.load_pretrained(LABELS)
        assert one.stride == 10
        assert one.kind.positions(one, 101).equal(one.trunk.embeddings.position_embeddings)
    grid = crop.trunk.embeddings.position_embeddings[:, 2:].unflatten(1, (12, 101))
    assert crop.kind.positions(crop, 29)[:, 2:].unflatten(1, (12, 29)).equal(grid[:, :, 36:65])
    found = stretched.kind.positions(stretched, 29)[:, 2:].unflatten(1, (12, 29))
    assert found.shape == (1, 12, 29, 16) and not found.equal(grid[:, :, 36:65])
    assert crop.kind.positions(crop, 150).shape == (1, 2 + 12 * 150, 16)
    streams = made(f"transformers:{ast}", glat={"n": 2, "tau": 3.0}).streams(noise(10))
    assert streams.local.shape == (2, 3)


def test_whispers_front_end_is_its_feature_extractor_without_padding():
    wave = noise(10)
    for mels in (80, 128):
        extractor = transformers.WhisperFeatureExtractor(feature_size=mels)
        how = {"sampling_rate": 16000, "return_tensors": "pt", "padding": "do_not_pad"}
        theirs = extractor(list(wave.numpy()), **how)["input_features"]
        ours = WhisperLogMel(16000, mels)(wave)
        assert ours.shape == (2, 1, 1000, mels)
        torch.testing.assert_close(ours[:, 0].transpose(1, 2), theirs, atol=1e-4, rtol=1e-4)


def test_wav2vec2_berts_front_end_is_its_feature_extractor(bert):
    wave = noise(10)
    theirs = transformers.AutoFeatureExtractor.from_pretrained(bert)(
        list(wave.numpy()), sampling_rate=16000, return_tensors="pt"
    )["input_features"]  # pairs of frames
    ours = BandLogMel(16000)(wave)
    assert ours.shape == (2, 1, 998, 80)
    torch.testing.assert_close(ours.reshape(2, 499, 160), theirs, atol=1e-3, rtol=1e-3)
    assert BandLogMel(16000)(torch.zeros(1, 16000)).equal(torch.zeros(1, 1, 98, 80))  # silence is no NaN


@pytest.mark.parametrize(
    ("front_end", "extractor", "frames"),
    [
        (KaldiLogMel, transformers.ASTFeatureExtractor(), 98),
        (BandLogMel, transformers.SeamlessM4TFeatureExtractor(), 98),
        (Samples, transformers.Wav2Vec2FeatureExtractor(), 16000),
    ],
)
def test_a_short_clip_that_its_pack_filled_up_is_heard_as_the_short_clip_alone(front_end, extractor, frames):
    """Extractors normalise a clip before they fill it up."""
    short, hears = noise(1), front_end(16000)
    full = torch.cat((short, torch.zeros(2, 32000)), 1)
    found, whole = hears(full), hears(short)
    torch.testing.assert_close(found[:, :, :frames], whole, atol=2e-3, rtol=1e-3)
    theirs = extractor(list(short.numpy()), sampling_rate=16000, return_tensors="pt")
    theirs = theirs["input_values" if "input_values" in theirs else "input_features"].reshape(2, -1, whole.shape[3])
    torch.testing.assert_close(whole[:, 0], theirs[:, :frames], atol=2e-3, rtol=1e-3)
    behind = hears.silence if front_end is KaldiLogMel else 0.0
    assert found[:, :, frames:].unique().tolist() == pytest.approx([behind])
    assert hears(torch.zeros(1, 16000)).isfinite().all()


def with_head_of(theirs, backbone):
    backbone.load_pretrained(None)
    parts = {"projector": theirs.projector, "classifier": theirs.classifier}
    backbone.head.load_state_dict({f"{a}.{k}": v for a, one in parts.items() for k, v in one.state_dict().items()})


def theirs_middle(theirs, inputs, folder):
    """What the window of the next test would score with the middle position embeddings."""
    full = transformers.WhisperForAudioClassification.from_pretrained(folder).encoder.embed_positions.weight
    theirs.encoder.embed_positions = torch.nn.Embedding.from_pretrained(full[60:135].clone())
    return theirs(inputs[..., 100:250]).logits.sigmoid()


def test_whisper_scores_as_in_its_own_library_and_a_shorter_clip_has_the_first_positions(whisper):
    tagger, wave = made(f"transformers:{whisper}"), noise(4)
    theirs = transformers.WhisperForAudioClassification.from_pretrained(whisper).eval()
    with_head_of(theirs, tagger.network)
    assert tagger.network.stride == 2
    extractor = transformers.AutoFeatureExtractor.from_pretrained(whisper)
    with torch.no_grad():
        inputs = extractor(list(wave.numpy()), sampling_rate=16000, return_tensors="pt")["input_features"]
        ours = tagger.network(inputs.transpose(1, 2).unsqueeze(1))
        torch.testing.assert_close(ours, theirs(inputs).logits.sigmoid(), atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(tagger(wave), ours, atol=2e-3, rtol=1e-2)  # by our log-mel
        theirs.config.max_source_positions = 75  # its encoder then takes 150 frames
        embedding = torch.nn.Embedding.from_pretrained(theirs.encoder.embed_positions.weight[:75].clone())
        theirs.encoder.embed_positions = embedding
        alone = theirs(inputs[..., 100:250]).logits.sigmoid()
        window = tagger.network(inputs[..., 100:250].transpose(1, 2).unsqueeze(1))
        torch.testing.assert_close(window, alone, atol=1e-6, rtol=1e-6)
        assert (alone - theirs_middle(theirs, inputs, whisper)).abs().max() > 1e-3  # positions matter


def test_whisper_takes_longer_clips_than_it_was_made_for_and_stretches_its_positions(whisper):
    crop, stretched = (made(f"transformers:{whisper}", positions=how).network for how in ("crop", "interpolate"))
    table = crop.trunk.embed_positions.weight
    assert crop.kind.positions(crop, 200).equal(table) and crop.kind.positions(crop, 60).equal(table[:60])
    longer = crop.kind.positions(crop, 400)
    torch.testing.assert_close(longer[1::2][:-1], 0.75 * table[:-1] + 0.25 * table[1:])
    assert stretched.kind.positions(stretched, 60).shape == (60, 16)
    assert not stretched.kind.positions(stretched, 60).equal(table[:60])
    assert crop(WhisperLogMel(16000)(noise(9))).shape == (2, 3)


def test_a_whisper_that_transcribes_gives_its_encoder(whisper, tmp_path):
    """As OpenAI published it: with a decoder, and without a classifier."""
    full = transformers.WhisperForConditionalGeneration(transformers.WhisperConfig(**WHISPER))
    folder = saved(tmp_path, full, transformers.WhisperFeatureExtractor())
    backbone = made(f"transformers:{folder}").network
    assert backbone.load_pretrained(LABELS) == LABELS
    for name, weight in full.model.encoder.state_dict().items():
        torch.testing.assert_close(backbone.trunk.state_dict()[name], weight)
    with pytest.raises(ValueError, match="are of another network than its settings: they lack encoder.layers.2"):
        made(f"transformers:{folder}", settings={"encoder_layers": 3}).network.load_pretrained(LABELS)


def test_wav2vec2_bert_scores_as_in_its_own_library_and_its_windows_are_normalised_with_their_clip(bert):
    tagger, wave = made(f"transformers:{bert}", glat={"n": 2, "tau": 1.0}), noise(4)
    theirs = transformers.Wav2Vec2BertForSequenceClassification.from_pretrained(bert).eval()
    for backbone in tagger.backbones().values():
        assert backbone.stride == 2
        with_head_of(theirs, backbone)
    frames = BandLogMel(16000)(wave)
    with torch.no_grad():
        streams = tagger.streams(wave)
        clip = theirs(frames.reshape(2, 199, 160)).logits.sigmoid()
        torch.testing.assert_close(streams.global_, clip, atol=1e-5, rtol=1e-4)
        window = theirs(frames[:, :, 51:151].reshape(2, 50, 160)).logits.sigmoid()
        found = tagger.backbones()["local"](frames[:, :, 51:151])
        torch.testing.assert_close(found, window, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["ast", "whisper", "bert"])
def test_onnxruntime_scores_as_pytorch_does(kind, request):
    tagger = made(f"transformers:{request.getfixturevalue(kind)}")
    wave = torch.cat((noise(7), torch.zeros(2, 48000)), 1)  # short clips
    model = onnx_file.translate(tagger, 160000, 18)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    scores, frames = session.run(None, {"waveform": wave.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(scores, tagger(wave), atol=1e-4)
        m = tagger.network.features(tagger.front_end(wave))
        np.testing.assert_allclose(frames, tagger.network.frame_scores(m), atol=1e-4)


def test_layers_of_whisper_follow_settings_by_both_of_their_names(whisper, tmp_path):
    folder = shutil.copytree(whisper, tmp_path / "whisper")  # as published by transformers 5.0, which wrote both
    config = json.loads((folder / "config.json").read_text())
    assert config["encoder_layers"] == 2
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 2}))
    for name in ("encoder_layers", "num_hidden_layers"):
        assert len(made(f"transformers:{folder}", settings={name: 1}).network.trunk.layers) == 1


def test_numbers_of_dropout_in_a_librarys_layers_follow_the_datasets(whisper):
    network = Network(model=f"transformers:{whisper}", settings={"dropout": 0.4, "attention_dropout": 0.2})
    trunk = build("other", 3, sample_rate=16000, network=network, dropout=0.5).network.trunk
    assert (trunk.dropout, trunk.layers[0].dropout, trunk.layers[0].self_attn.dropout) == (0.2, 0.2, 0.1)


def test_filters_in_a_published_extractor_are_not_kept(whisper, tmp_path):
    folder = shutil.copytree(whisper, tmp_path / "whisper")
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"mel_filters": [[0.0] * 80] * 201}))
    assert "mel_filters" not in architecture.read(str(folder))["extractor"]


def test_all_audio_classifiers_of_the_library_are_known():
    from transformers.models.auto.modeling_auto import MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING_NAMES as THEIRS

    assert set(KINDS) == set(THEIRS)


@pytest.mark.parametrize("name", ["whisper", "bert"])
def test_a_training_moves_all_weights_but_whispers_positions(name, request, project):
    networks = {name: {"model": f"transformers:{request.getfixturevalue(name)}", "pretrained": True}}
    params = load(ROOT / "params.yaml", TINY | {"backbones": [name], "networks": networks})
    run = completed(resolve(params, name, 0, {"n": 2}))
    settings = run.training.model_copy(update={"steps": 3, "freeze_backbone": 1})
    run = run.model_copy(update={"training": settings})
    folder = project / run.name
    train(run, folder)
    before = checkpoints.build(run, checkpoints.read(folder / "checkpoint.pt")["classes"]).state_dict()
    after = glat.load(folder).network.state_dict()
    still = {key for key, weight in after.items() if weight.is_floating_point() and weight.equal(before[key])}
    assert {key.rpartition(".trunk.")[2] for key in still} == (
        {"embed_positions.weight"} if name == "whisper" else set()
    )
    assert glat.load(folder)(np.zeros((1, 320000), np.float32)).shape == (1, 16)


def test_a_network_on_the_waveform_scores_as_in_its_own_library(wav2vec2):
    tagger = made(f"transformers:{wav2vec2}", glat={"n": 2, "tau": 1.0})
    theirs = transformers.Wav2Vec2ForSequenceClassification.from_pretrained(wav2vec2).eval()
    for backbone in tagger.backbones().values():
        assert backbone.stride == 320
        with_head_of(theirs, backbone)
    wave = noise(4)
    extractor = transformers.AutoFeatureExtractor.from_pretrained(wav2vec2)
    with torch.no_grad():
        inputs = extractor(list(wave.numpy()), sampling_rate=16000, return_tensors="pt")["input_values"]
        torch.testing.assert_close(Samples(16000)(wave)[:, 0, :, 0], inputs, atol=1e-4, rtol=1e-4)
        streams = tagger.streams(wave)
        torch.testing.assert_close(streams.global_, theirs(inputs).logits.sigmoid(), atol=1e-5, rtol=1e-4)
        # A window of the waveform is what the network would have heard of it alone, normalised with its clip.
        begin = round(streams.windows[0, 0].item() * 16000)
        alone = theirs(inputs[:1, begin : begin + 16000]).logits.sigmoid()
        first = tagger.backbones()["local"](Samples(16000)(wave)[:1, :, begin : begin + 16000])
        torch.testing.assert_close(first, alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("model", "how", "told"),
    [
        ("timm:mobilenetv3_smal_100", {}, "timm has no network 'mobilenetv3_smal_100'; near are mobilenetv3_small_100"),
        ("timm:inception_v3", {}, "timm:inception_v3 takes no clip of 1001 frames by 64 bands: "),
        (
            "timm:resnet10t",
            {"settings": {"pretrained_cfg": {}}},
            "settings.pretrained_cfg of timm:resnet10t is not known",
        ),
        ("timm:resnet10t", {"settings": {"drop_rate": 0.5}}, "settings.drop_rate of timm:resnet10t is not known"),
        (
            "timm:resnet10t.nonsense",
            {},
            "timm has no weights 'resnet10t.nonsense'; of resnet10t, it has resnet10t.c3_in1k",
        ),
        ("timm:densenet121", {"settings": {"drop_path_rate": 0.1}}, "timm can't make densenet121 with settings "),
        ("timm:resnet10t", {"settings": {"drop_path_rate": "abc"}}, "timm can't make resnet10t with settings "),
        (
            "timm:resnet10t",
            {"positions": "interpolate"},
            "positions is a setting of transformers, and does nothing for timm",
        ),
        ("json:JSONDecoder", {"head": "mean"}, "head is a setting of timm and transformers, and does nothing for json"),
        (
            "transformers:/no/such",
            {"front_end": {"mels": 64}},
            "front_end is a setting of timm and a class of one's own",
        ),
        ("transformers:/no/such", {}, "/no/such: no such folder"),
        ("no_such_module:Mine", {}, "no_such_module:Mine: no such class in a file that Python finds"),
        ("json:JSONDecoder", {}, "json:JSONDecoder is no subclass of glat.models.Backbone"),
        ("this:NoClass", {}, "this:NoClass: no such class"),
        (
            "timm:crossvit_9_240",
            {},
            "timm:crossvit_9_240 takes no clip of 1001 frames by 64 bands: it has no feature map that",
        ),
        (
            "glat.models.cnn10:Cnn10",
            {"settings": {"depth": 3}},
            "Cnn10 can't be made with the number of classes, width, mels, depth (",
        ),
        ("glat.models.backbone:Backbone", {}, "Backbone can't be made with the number of classes, width, mels ("),
    ],
)
def test_what_is_no_network_is_one_sentence(model, how, told):
    with pytest.raises(ValueError, match=told.replace("(", r"\(")):
        made(model, sample_rate=32000, **how)
    assert "this" not in sys.modules  # a module without such a class is not run


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"hiden_size": 32}, "settings.hiden_size of transformers:.* is not known to audio-.*; near are hidden_size"),
        ({"hidden_act": "nonsense"}, "can't be made with its settings: "),
        ({"hidden_size": "x"}, "can't be made with its settings: "),
    ],
)
def test_settings_that_a_network_of_transformers_has_not_are_one_sentence(ast, settings, told):
    with pytest.raises(ValueError, match=told):
        made(f"transformers:{ast}", settings=settings)


def test_a_window_shorter_than_the_networks_least_is_refused(ast):
    with pytest.raises(ValueError, match=r"takes no window of 10 frames by 128 bands: 10 frames are less than a patch"):
        made(f"transformers:{ast}", glat={"tau": 0.1})


def test_other_kinds_of_transformers_and_damaged_folders_are_refused(tmp_path, ast):
    transformers.ClapConfig().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"preprocessor_config.json: no such file"):
        architecture.read(str(tmp_path))
    transformers.ClapFeatureExtractor(sampling_rate=16000).save_pretrained(tmp_path)
    with pytest.raises(
        ValueError,
        match=r"^transformers:\S+ is of the kind 'clap'; transformers' audio classifiers are audio-spectrogram",
    ):
        made(f"transformers:{tmp_path}")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json: can't be read as JSON"):
        architecture.read(str(tmp_path))


def test_the_hub_without_a_network_is_one_sentence(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        ValueError, match=r"^MIT/no-such-ast: no such folder, HF_HUB_OFFLINE is set, and its config.json was"
    ):
        architecture.read("MIT/no-such-ast")


def test_a_hub_that_cannot_be_reached_is_one_sentence_at_once(monkeypatch, capfd, ast):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    begun, told = (
        time.monotonic(),
        "127.0.0.1:9 cannot be reached, and its {} was not fetched before; give a folder, or connect",
    )
    with pytest.raises(ValueError, match=told.format("config.json")):
        architecture.read("MIT/no-such-ast")
    with pytest.raises(ValueError, match=told.format("weights")):
        made("timm:resnet10t", pretrained=True).network.load_pretrained(None)
    network = made(f"transformers:{ast}").network
    network.network = network.network.model_copy(update={"model": "transformers:MIT/no-such-ast"})
    with pytest.raises(ValueError, match=told.format("model.safetensors")):
        network.load_pretrained(None)
    assert time.monotonic() - begun < 15 and "Retry" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"hidden_size": 32}, "are of another network than its settings: they have another size of "),
        ({"num_hidden_layers": 1}, "are of another network than its settings: they have "),
        ({"num_hidden_layers": 3}, "are of another network than its settings: they lack "),
    ],
)
def test_weights_of_another_architecture_are_one_sentence(ast, settings, told):
    with pytest.raises(ValueError, match=told):
        made(f"transformers:{ast}", settings=settings).network.load_pretrained(None)


def test_damaged_weights_are_one_sentence(ast, tmp_path):
    folder = shutil.copytree(ast, tmp_path / "ast")
    (folder / "model.safetensors").write_bytes(b"half of")
    with pytest.raises(ValueError, match="the weights of transformers:.* are damaged: "):
        made(f"transformers:{folder}").network.load_pretrained(None)


def test_a_library_that_is_not_installed_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(
        ValueError, match=r"timm is not installed; `pip install glat\[timm\]` or `uv sync --locked --extra timm`"
    ):
        library.library("timm")


def test_names_of_runs_and_wrong_names(tmp_path):
    params = load(ROOT / "params.yaml", TINY | {
        "backbones": ["cnn10", "timm:resnet10t", "mine"],
        "networks": {"mine": {"model": "timm:resnet10t", "head": "attention"}},
    })  # fmt: skip
    run = resolve(params, "timm:resnet10t", 0, {"n": 3})
    assert run.name == "timm-resnet10t-glat-n3-s0" and run.entry.title == "resnet10t (timm)" and run.width == 1
    assert resolve(params, "mine", 0).entry.title == "mine" and not faults_of(params, run)
    assert short("transformers:/some/where/tiny ast/") == "transformers-tiny_ast"
    for change, told in (
        (
            {"backbones": ["mine"]},
            "'mine' is not a backbone; allowed are talnet, cnn10, resnet38, atsca, and those of timm",
        ),
        ({"backbones": ["timm:"]}, "names no network: write timm:NAME"),
        ({"backbones": ["timm:a", "timm:a"]}, "backbones"),
        ({"networks": {"cnn10": {"model": "timm:resnet10t"}}}, "'cnn10' is the name of a backbone of the project"),
        ({"networks": {"mine": {"model": "resnet10t"}}}, r"networks.mine.model: 'resnet10t' names no network"),
    ):
        with pytest.raises(GlatError, match=told):
            load(ROOT / "params.yaml", TINY | change)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"backbones": ["timm:mobilenetv3_smal_100"]},
            "^backbones: timm has no network 'mobilenetv3_smal_100'; near are",
        ),
        ({"backbones": ["tim:mobilenetv3_small_100"]}, r"PYTHONPATH\? \(or is timm: meant\?\)"),
        ({"backbones": ["x"], "networks": {"x": {"model": "nomod:Mine"}}}, "^networks.x: nomod:Mine: no such class"),
        (
            {"backbones": ["x"], "networks": {"x": {"model": "timm:resnet10t", "settings": {"depth": 3}}}},
            "^networks.x: settings.depth of timm:resnet10t is not known",
        ),
    ],
)
def test_a_network_that_cannot_be_made_is_told_before_any_job(changes, told, project, monkeypatch):
    params = load(ROOT / "params.yaml", TINY | changes)
    for settings in (None, {}):
        run = resolve(params, changes["backbones"][0], 0, settings)
        assert re.search(told, faults_of(params, run)[-1])
    monkeypatch.setenv("GLAT_SETTINGS", json.dumps(TINY | changes))
    assert re.search(told.lstrip("^"), step("configure", run.name) or "")


def test_the_hop_of_a_network_of_one_s_own_counts_for_its_shortest_window(project, monkeypatch):
    (project / "own_network.py").write_text(OWN)
    (project / "own_layer.py").write_text(LAYER)
    monkeypatch.syspath_prepend(str(project))
    for hop, tau, fits in ((160, 0.3, True), (3200, 0.5, False), (None, 0.1, False)):
        network = {"model": "own_network:Mine", "front_end": {"hop": hop} if hop else {}}
        params = load(ROOT / "params.yaml", TINY | {"backbones": ["mine"], "networks": {"mine": network}})
        least = params.entry("mine").min_frames * (hop or 640) / 32000
        run = resolve(params, "mine", 0, {"tau": tau})
        assert (tau >= least) == fits == (not faults_of(params, run)), (hop, least, faults_of(params, run))


def test_a_network_beside_params_yaml_is_found_by_the_command_itself(project):
    (project / "own_network.py").write_text(OWN)
    (project / "own_layer.py").write_text(LAYER)
    code = f"import sys; sys.path = [{str(ROOT)!r}, *[p for p in sys.path if p]]; from glat.cli import main; main()"
    call = [sys.executable, "-c", code, "--set", "dataset=mini", "backbones", "own_network:Mine"]
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(call, check=False, capture_output=True, text=True, cwd=project, env=clean)
    assert done.returncode == 0 and "own_network:Mine" in done.stdout, done.stderr


def test_the_list_of_backbones_goes_on_behind_one_that_cannot_be_made(project, monkeypatch):
    changes = {"networks": {"ast": {"model": "transformers:/no/such"}, "dark": {"model": "timm:cs3darknet_s"}}}
    monkeypatch.setenv("GLAT_SETTINGS", json.dumps(TINY | changes))
    monkeypatch.setattr("glat.use.backbones.BACKBONES", {"cnn10": BACKBONES["cnn10"]})  # the others take a while
    done = CliRunner().invoke(app, ["backbones", "timm:resnet10t"])
    rows = {line.split()[0]: line for line in done.stdout.splitlines()[1:]}
    assert rows.keys() == {"cnn10", "dark", "timm:resnet10t"} and done.exit_code == 0
    assert " - " in rows["dark"] and "of timm (pretrained: true)" in rows["timm:resnet10t"] and "PANNs" in rows["cnn10"]
    assert "networks.ast: /no/such: no such folder" in done.stderr and "at the published width" in done.stderr
    assert "'cnn11' is not a backbone; near are cnn10" in str(CliRunner().invoke(app, ["backbones", "cnn11"]).exception)


def test_backbones_of_libraries_and_of_one_s_own_train_score_and_tag(project, ast, monkeypatch):
    (project / "own_network.py").write_text(OWN)
    (project / "own_layer.py").write_text(LAYER)
    monkeypatch.syspath_prepend(str(project))
    networks = {
        "mine": {"model": "own_network:Mine", "settings": {"channels": 6}},
        "ast": {"model": f"transformers:{ast}", "pretrained": True},
    }
    params = load(ROOT / "params.yaml", TINY | {"backbones": ["mine", "ast"], "networks": networks})
    for backbone, method in (("mine", {}), ("ast", {"n": 2}), ("ast", None)):
        run = completed(resolve(params, backbone, 0, method))
        folder = project / run.name
        train(run.model_copy(update={"training": run.training.model_copy(update={"steps": 2})}), folder)
        made_tagger = glat.load(folder)
        assert made_tagger(np.zeros((1, 320000), np.float32)).shape == (1, 16)
        assert checkpoints.read(folder / "checkpoint.pt")["run"]["network"] == run.network.model_dump()
    assert backbone_of(resolve(params, "mine", 0), 4).conv.weight.shape == (6, 64, 20)
    # Whoever takes the checkpoint elsewhere needs neither the folder nor the hub.
    monkeypatch.setattr(architecture, "read", lambda source: pytest.fail(f"reads {source}"))
    assert glat.load(project / "ast-glat-n2-s0").run.network.architecture["config"]["hidden_size"] == 16


def test_a_folder_in_half_precision_is_float32_and_brings_no_code(tmp_path, ast):
    shutil.copytree(ast, tmp_path / "half")
    config = json.loads((tmp_path / "half/config.json").read_text())
    config |= {
        "dtype": "float16",
        "torch_dtype": "float16",
        "attn_implementation": "some/kernel",
        "auto_map": {"a": "b"},
    }
    (tmp_path / "half/config.json").write_text(json.dumps(config))
    backbone = made(f"transformers:{tmp_path / 'half'}").network
    assert {weight.dtype for weight in backbone.parameters()} == {torch.float32}
    many = {"num_hidden_layers": 10**8}
    with pytest.raises(ValueError, match="num_hidden_layers is 100000000, and not 1 to 1000"):
        made(f"transformers:{ast}", settings=many)


def test_a_frozen_stream_with_classes_that_its_weights_do_not_know_is_refused(project, params, ast):
    networks = {"ast": {"model": f"transformers:{ast}", "pretrained": True}}
    own = load(ROOT / "params.yaml", TINY | {"backbones": ["ast"], "networks": networks})
    for method in ({"training": "frozen_global"}, {"training": "none", "sharing": "backbone"}):
        run = resolve(own, "ast", 0, method)
        classes = [{"mid": str(i), "display_name": f"class {i}"} for i in range(16)]
        with pytest.raises(
            GlatError, match=r"networks.ast: not trained on 16 of the 16 classes.*set glat.training: joint"
        ):
            checkpoints.build(run, classes)


def test_frame_dropout_reaches_the_head_of_a_librarys_network():
    tagger = made("timm:mobilenetv3_small_100", head="mean", glat={"n": 1, "tau": 3.0, "frame_dropout": True})
    m = torch.ones(1, 4, tagger.network.global_stream.trunk.num_features)
    tagger.network.train()
    assert not tagger.network.frame_scores(m).equal(tagger.network.frame_scores(m))


EXTRACTOR, CONFIG = "preprocessor_config.json", "config.json"


@pytest.mark.parametrize(
    ("kind", "file", "change", "told"),
    [
        ("whisper", EXTRACTOR, {"hop_length": 320}, "its feature extractor has hop_length 320, but only 160 is known here"),
        ("whisper", EXTRACTOR, {"dither": 0.1}, "its feature extractor has dither 0.1, but only 0.0 is known here"),
        ("whisper", EXTRACTOR, {"feature_size": 128}, "takes no clip of 1000 frames by 128 bands: "),
        ("whisper", EXTRACTOR, {"sampling_rate": 8000}, "hears 8000 Hz, but only networks of 16000 Hz are known here"),
        ("bert", EXTRACTOR, {"stride": 3}, "its feature extractor stacks 3 frames, but only pairs are known here"),
        ("ast", EXTRACTOR, {"num_mel_bins": 10**9}, "has 1000000000 mel bands, and not 1 to 1024"),
        ("ast", EXTRACTOR, {"num_mel_bins": None}, "has None mel bands, and not 1 to 1024"),
        ("ast", EXTRACTOR, {"mean": "x"}, "its feature extractor has mean 'x', which is no finite number"),
        ("ast", EXTRACTOR, {"std": float("nan")}, "its feature extractor has std nan, which is no finite number"),
        ("ast", EXTRACTOR, {"std": 0}, "its feature extractor has std 0, and not one above 0"),
        ("ast", CONFIG, {"model_type": ["ast"]}, r"^transformers:\S+ is of the kind \['ast'\]; transformers' audio"),
        ("whisper", CONFIG, {"encoder_layers": -1}, "encoder_layers is -1, and not 1 to 1000"),
        ("ast", CONFIG, {"num_hidden_layers": None}, "num_hidden_layers is None, and not 1 to 1000"),
        ("whisper", CONFIG, {"max_source_positions": 10**10}, "would have 160,000,.* weights, more than the 10,000,000,000"),
        ("bert", CONFIG, {"left_max_position_embeddings": 10**10}, "weights, more than the 10,000,000,000 allowed"),
    ],
)  # fmt: skip
def test_a_folder_that_is_of_no_such_network_is_one_sentence(kind, file, change, told, request, tmp_path):
    folder = shutil.copytree(request.getfixturevalue(kind), tmp_path / kind)
    content = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps(content | change))
    with pytest.raises(ValueError, match=told):
        made(f"transformers:{folder}")


def test_positions_of_a_network_without_a_table_are_refused(bert, wav2vec2):
    for folder in (bert, wav2vec2):
        with pytest.raises(
            ValueError, match="positions is a setting of AST and Whisper, and does nothing for transfor"
        ):
            made(f"transformers:{folder}", positions="interpolate")


def test_weights_behind_another_front_end_are_refused():
    for ours, theirs in ((KaldiLogMel(16000), KaldiLogMel(16000, mean=0.0)), (Samples(16000), Samples(16000, False))):
        checks.check_front_end(ours, type(ours)(16000))
        with pytest.raises(ValueError, match="behind another front end"):
            checks.check_front_end(ours, theirs)

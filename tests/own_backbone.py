"""A backbone of one's own, as a user writes it: a module, and one beside it that it imports."""

LAYER = "from torch.nn import Conv1d as Layer\n"
OWN = """
import torch
from own_layer import Layer
from glat.models import Backbone

class Mine(Backbone):
    min_frames = 20
    classifier = ("out",)

    def __init__(self, classes, width=1.0, mels=64, channels=4):
        super().__init__()
        self.conv, self.out = Layer(mels, channels, 20, stride=20), torch.nn.Linear(channels, classes)

    def features(self, logmel):
        return self.conv(logmel[:, 0].transpose(1, 2) / 100).relu().transpose(1, 2)

    def clip_scores(self, features):
        return self.frame_scores(features).mean(1)

    def frame_scores(self, features):
        return torch.sigmoid(self.out(features).float())
"""

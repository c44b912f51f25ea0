"""Networks: timm backbones, the heads trained on them, and the two as one classifier."""

from rarecall.models.backbones import Backbone, differing_layers, image_size, load_backbone
from rarecall.models.classifier import Architecture, Classifier, architecture_of, initialised, parameter_groups
from rarecall.models.devices import cores, resolve_device
from rarecall.models.heads import build_head, head_defaults

__all__ = [
    "Architecture",
    "Backbone",
    "Classifier",
    "architecture_of",
    "build_head",
    "cores",
    "differing_layers",
    "head_defaults",
    "image_size",
    "initialised",
    "load_backbone",
    "parameter_groups",
    "resolve_device",
]

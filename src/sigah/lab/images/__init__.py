"""Images, the features that backbones have for them, and both as data of experiments."""

from __future__ import annotations

from sigah.lab.images.backbones import BACKBONES, Backbone, open_backbone
from sigah.lab.images.features import FeatureSet, cached_features, extract, open_features
from sigah.lab.images.folders import open_images
from sigah.lab.images.sets import ImageFiles, Images, ImageSet, PixelImages, squares

__all__ = [
    "BACKBONES",
    "Backbone",
    "FeatureSet",
    "ImageFiles",
    "ImageSet",
    "Images",
    "PixelImages",
    "cached_features",
    "extract",
    "open_backbone",
    "open_features",
    "open_images",
    "squares",
]

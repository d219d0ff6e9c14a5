"""SIFT: histograms of gradients around the keypoints of an image, found by OpenCV.

Lowe, "Distinctive image features from scale-invariant keypoints", IJCV 2004.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["require_opencv", "sift"]

CONTRAST = 0.009  # OpenCV's is 0.04: wanted are many keypoints, not the most stable ones


def sift(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Detect and describe the keypoints of a grey image.

    Parameters
    ----------
    image : ndarray of uint8, shape (height, width)

    Returns
    -------
    ndarray of uint8, shape (n, 128)
        One descriptor a keypoint and orientation, in OpenCV's order; n is 0 for a blank image.

    Raises
    ------
    ValueError
        If the image is not such an array.
    OSError
        If OpenCV is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.lab.datasets.descriptors.sift import sift
    >>> image = np.zeros((64, 64), dtype=np.uint8)
    >>> image[24:40, 24:40] = 255
    >>> sift(image).shape[1]  # doctest: +SKIP
    128
    """
    if image.dtype != np.uint8 or image.ndim != 2 or not image.size:
        raise ValueError(
            "an image must be uint8 of shape (height, width), not"
            f" {image.dtype} of shape {image.shape}"
        )
    cv2 = require_opencv()
    _, found = cv2.SIFT_create(contrastThreshold=CONTRAST).detectAndCompute(image, None)
    # OpenCV rounds to whole numbers of 0 to 255, and hands them over as float32.
    return np.empty((0, 128), np.uint8) if found is None else found.astype(np.uint8)


def require_opencv() -> Any:
    """Return the module of OpenCV, or raise an OSError that tells how to install it."""
    try:
        import cv2
    except ImportError as error:
        raise OSError(
            "OpenCV is not installed; install it with `pip install 'sigah[photos]'`"
        ) from error
    return cv2

"""What an engineer writes in a day: whole planes with tifffile, SciPy and scikit-image, one channel after the other.

Per channel: read the plane, subtract a background, blur, Otsu's threshold, label, area and mean of each object. No masks, zones or
distances, and no splitting of touching nuclei.

    python benchmarks/peers/scikit_image_plain.py FILE.ome.tif --background gaussian
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tifffile
from scipy import ndimage
from skimage import filters, measure, morphology, restoration

BLUR_PX = 1.5
BACKGROUND_PX = 50
SMALLEST_PX = 80

Plane = npt.NDArray[np.float32]


def background(plane: Plane, how: str) -> Plane | float:
    """Return what is subtracted: a wide blur, an opening (both of what is coarser than a cell), or ImageJ's rolling ball."""
    if how == "gaussian":
        return np.asarray(ndimage.gaussian_filter(plane, BACKGROUND_PX))
    if how == "opening":
        disk = morphology.disk(BACKGROUND_PX // 2, decomposition="sequence")
        return np.asarray(morphology.opening(plane, disk))
    if how == "rolling":
        return np.asarray(restoration.rolling_ball(plane, radius=BACKGROUND_PX))
    return 0.0


def one_channel(plane: Plane, how: str) -> dict[str, float]:
    """Return number of objects, share of the image that is positive, and mean intensity of the positive."""
    blurred = ndimage.gaussian_filter(plane - background(plane, how), BLUR_PX)
    labels = measure.label(blurred > filters.threshold_otsu(blurred))
    table = measure.regionprops_table(labels, plane, properties=("label", "area", "intensity_mean"))
    keep = table["area"] >= SMALLEST_PX
    area = table["area"][keep]
    mean = float(np.average(table["intensity_mean"][keep], weights=area)) if area.size else float("nan")
    return {"objects": int(keep.sum()), "positive_pct": 100 * float(area.sum()) / plane.size, "mean": mean}


def main() -> None:
    """Measure every channel of the file and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--background", choices=("none", "gaussian", "opening", "rolling"), default="gaussian")
    args = parser.parse_args()
    with tifffile.TiffFile(args.file) as file:
        found = [one_channel(page.asarray().astype(np.float32), args.background) for page in file.series[0].levels[0].pages]
    print(json.dumps(found))


if __name__ == "__main__":
    main()

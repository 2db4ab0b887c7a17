"""Pictures in asset metadata."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from medpipe import asset_metadata
from medpipe.asset_metadata import MOST_PICTURE_WIDTH


def test_a_wide_picture_fits_into_the_dialog_and_keeps_its_rare_colours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Below what this picture has, so that its colours have to be reduced.
    monkeypatch.setattr(asset_metadata, "MOST_PICTURE_BYTES", 15_000)
    figure = Figure(figsize=(16, 5), layout="constrained")
    axes = figure.subplots()
    change = np.random.default_rng(0).uniform(-9, 60, (4, 9))
    figure.colorbar(axes.imshow(change, cmap="RdBu_r", vmin=-60, vmax=60, aspect="auto"))
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=110)
    shown = asset_metadata.picture(drawn.getvalue(), caption="a colour bar").md_str
    png = base64.b64decode(shown.rpartition(",")[2].removesuffix(")"))
    assert len(png) <= 15_000
    with Image.open(io.BytesIO(png)) as image:
        assert image.width == MOST_PICTURE_WIDTH
        colours = {colour for _, colour in image.convert("RGB").getcolors(1 << 24) or []}
    # The lower half of the bar is blue and is nowhere else in the picture.
    assert any(blue > 120 and blue - red > 80 for red, _, blue in colours)

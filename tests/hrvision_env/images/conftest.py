"""Image files that the tests of the store share."""

from __future__ import annotations

import pytest

from hrvision_env.records import ImageRef

from ..conftest import picture


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[ImageRef]:
    """PNG and JPEG in turn."""
    refs, folder = [], tmp_path_factory.mktemp("photos")
    for k in range(6):
        path = folder / f"{k}.{'jpg' if k % 2 else 'png'}"
        picture(800 + k, 600, seed=k).save(path)
        refs.append(ImageRef(path=path))
    return refs

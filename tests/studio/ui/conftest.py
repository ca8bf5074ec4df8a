"""The site on an empty home, asked as a browser on this machine would ask."""

import asyncio
from collections.abc import Callable, Iterator

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from studio.core.catalog import STARTER
from studio.services.context import Studio
from studio.settings import Settings
from studio.ui.app import build

HOST = "127.0.0.1:7860"


async def in_a_loop(make: Callable[[], object]) -> object:
    """Gradio leaves an open event loop behind for every lock that it makes outside of one."""
    return make()


@pytest.fixture(scope="module")
def site_studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """The studio behind `site`: one for a whole module, because building a site takes a second."""
    home = tmp_path_factory.mktemp("site")
    models = home / "models" / STARTER
    models.mkdir(parents=True)
    (models / "config.json").write_text("{}")
    (models / "model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    opened = Studio.open(Settings(home=home))
    yield opened
    opened.errands.close()


@pytest.fixture(scope="module")
def site(site_studio: Studio) -> FastAPI:
    made = asyncio.run(in_a_loop(lambda: build(site_studio)))
    assert isinstance(made, FastAPI)
    return made


@pytest.fixture(scope="module")
def browser(site: FastAPI) -> TestClient:
    return TestClient(site, base_url=f"http://{HOST}", raise_server_exceptions=False)


@pytest.fixture
def settings(studio: Studio) -> Callable[..., Settings]:
    """The studio's settings with some of them changed."""
    return lambda **changes: studio.settings.model_copy(update=changes)

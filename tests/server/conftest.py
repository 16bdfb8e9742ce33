"""A browser for the tests of the page: Chromium, by Playwright. They are skipped without it, unless
NYBBLE_REQUIRE_BROWSER is set."""

import contextlib
import importlib
import os
import shutil

import pytest
from forge import GGUFForge
from served import client

import nybble
from nybble.testing import tiny_model

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def browser():
    name = "playwright.sync_api"
    if not os.environ.get("NYBBLE_REQUIRE_BROWSER"):
        pytest.importorskip(name, reason="no package playwright")
        if CHROMIUM is None:
            pytest.skip("no chromium")
    with importlib.import_module(name).sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(browser):
    """Opens pages. None of them may ask another server, break the policy or write an error to the console."""
    with contextlib.ExitStack() as stack:
        problems = []

        def open_page(url, may_fail=False, **options):
            context = browser.new_context(**options)
            stack.callback(context.close)
            context.set_default_timeout(20_000)
            page = context.new_page()
            page.on(
                "request", lambda asked: asked.url.startswith((url, "blob:")) or problems.append(asked.url)
            )
            page.on("pageerror", lambda error: problems.append(str(error)))
            if not may_fail:
                page.on("console", lambda said: said.type == "error" and problems.append(said.text))
            page.goto(url)
            return page

        yield open_page
        assert not problems


@pytest.fixture(scope="module")
def filling(tmp_path_factory):
    """A model with marks around a gap, and a client of it."""
    path = tiny_model(tmp_path_factory.mktemp("filling") / "m.gguf")
    forge = GGUFForge.parse(path.read_bytes())
    for id_, name in enumerate(("fim_pre", "fim_suf", "fim_mid"), 200):  # tokens of bytes that no text has
        forge.set(f"tokenizer.ggml.{name}_token_id", id_)
    path.write_bytes(forge.build())
    with nybble.LLM(path, n_ctx=256, n_threads=1) as llm:
        yield llm, client(llm)

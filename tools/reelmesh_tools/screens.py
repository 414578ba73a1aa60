"""Pictures of the analytics page for docs/, of a local platform that somebody has watched: ``make screens``.

Run ``reelmesh up``, upload a few films, let ``reelmesh simulate`` watch them first, and ``reelmesh simulate --live``
meanwhile.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, expect, sync_playwright

from reelmesh_tools.extras import chromium
from reelmesh_tools.stack.client import Stack
from reelmesh_tools.stack.layout import Layout
from reelmesh_tools.stack.owner import Credentials

DOCS = Path(__file__).parents[2] / "docs"
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
WIDTH, HEIGHT = 1280, 900
PATIENCE = 60_000
"""Milliseconds that the figures may take."""
LIVE = """() => [...document.querySelectorAll("reelmesh-chart")]
  .some(({ data }) => data?.title === "Watching now" && data.x.length >= 8)"""
"""Whether the live chart is more than a dot."""


def main() -> None:
    """Write docs/analytics-light.png and -dark.png; the argument is the time to show, such as 1h."""
    stack = Stack(Layout.from_environment(os.environ))
    credentials = Credentials.load(stack.layout.credentials_file)
    path = chromium()
    if credentials is None or path is None:
        sys.exit("screens: a local platform (reelmesh up) and Chromium (or REELMESH_CHROMIUM) are needed")
    time = sys.argv[1] if len(sys.argv) > 1 else "1h"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        for scheme in SCHEMES:
            _picture(browser, stack.plan.gateway_url, credentials, scheme, time)
        browser.close()


def _picture(browser: Browser, url: str, credentials: Credentials, scheme: Literal["light", "dark"], time: str) -> None:
    context = browser.new_context(
        base_url=url, color_scheme=scheme, viewport={"width": WIDTH, "height": HEIGHT}, locale="en-GB"
    )
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.goto("/sign-in")
    page.get_by_label("Email").fill(credentials.email)
    page.get_by_label("Password").fill(credentials.password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda reached: "/sign-" not in reached)
    page.goto(f"/analytics?range={time}")
    expect(page.locator(".breakdown tbody tr").first).to_be_visible(timeout=PATIENCE)
    expect(page.locator(".live .dot[data-connected]")).to_be_visible(timeout=PATIENCE)
    expect(page.locator("#retention")).to_be_visible(timeout=PATIENCE)
    expect(page.locator(".reports")).to_have_attribute("aria-busy", "false", timeout=PATIENCE)
    page.wait_for_function(LIVE)
    DOCS.mkdir(exist_ok=True)
    file = DOCS / f"analytics-{scheme}.png"
    page.screenshot(path=file, full_page=True)
    sys.stdout.write(f"{file}\n")
    context.close()


if __name__ == "__main__":
    main()

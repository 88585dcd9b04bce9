"""The page behind a password or with accounts, in real Chromium: log in, stream, follow a link, log out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from playwright.sync_api import Browser, BrowserContext, Page, expect

from kimi_ui import users_file
from kimi_ui.config import Auth
from kimi_ui.core.events import CONNECTED, Answer, Finish, Phase, Reasoning
from kimi_ui.core.lane import LaneSpec
from kimi_ui.users_file import UsersFile
from tests.support.browser import SLOW_MS, lane, listening, send, served, wait_phase
from tests.support.chat_site import ask, open_site
from tests.support.engine_run import started, turns_at
from tests.support.openid_provider import app_over, client_of, provider
from tests.support.scripted import ScriptedProvider, ScriptedRoster

PASSWORD = "open sesame, friend & co"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    script = [Phase(CONNECTED), *(part for i in range(20) for part in (Reasoning(f"word{i} "), 0.01))]
    provider = ScriptedProvider(
        LaneSpec("kimi", "Kimi", "openai", model="k"), [[*script, Answer("**Yes**."), Finish("stop")]]
    )
    roster = ScriptedRoster(provider)
    with started(roster) as run, served(run, roster, password=PASSWORD) as url:
        yield url


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context()
    context.set_default_timeout(SLOW_MS)
    yield context
    context.close()


def log_in(page: Page, password: str = PASSWORD) -> None:
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Enter").click()


def test_log_in_stream_and_log_out(context: BrowserContext, url: str) -> None:
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(url)
    log_in(page, "guess")
    expect(page.get_by_role("alert")).to_have_text("That is not the password.")
    log_in(page)
    page.locator("[data-lane]").first.wait_for()
    send(page)
    wait_phase(page, "kimi", "done")
    expect(lane(page, "kimi", "answer").locator("strong")).to_have_text("Yes")
    cookies = {cookie["name"]: cookie for cookie in context.cookies()}
    for name in ("kimi_session", "kimi_owner"):
        assert cookies[name]["httpOnly"]
        assert cookies[name]["sameSite"] == "Strict"
    assert page.evaluate("document.cookie") == ""

    page.get_by_role("link", name="Log out").click()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("Password")).to_be_visible()
    page.goto(url)
    expect(page.get_by_label("Password")).to_be_visible()
    assert problems == []


def test_a_link_on_another_site_finds_the_visitor_logged_in(context: BrowserContext, url: str) -> None:
    page = context.new_page()
    page.goto(f"{url}/?x=1")
    log_in(page)
    page.locator("[data-lane]").first.wait_for()
    assert page.url.endswith("/?x=1")
    # "localhost" is another site than 127.0.0.1, so a link there sends no strict cookie.
    elsewhere = context.new_page()
    elsewhere.route(
        "http://localhost:9/",
        lambda route: route.fulfill(body=f"<a href='{url}/?x=2'>go</a>", content_type="text/html"),
    )
    elsewhere.goto("http://localhost:9/")
    elsewhere.get_by_text("go").click()
    elsewhere.locator("[data-lane]").first.wait_for()
    assert elsewhere.url.endswith("/?x=2")


def test_two_people_share_a_browser_and_nothing_else(
    context: BrowserContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(users_file, "HASHER", PasswordHasher(time_cost=1, memory_cost=64))  # in a hundredth of the time
    file = UsersFile(tmp_path / "users.toml")
    people = ("ada.lovelace@analytical.example", "bob")
    for name in people:
        file.add(name, PASSWORD)
    page = context.new_page()

    def sign_in(name: str, password: str = PASSWORD) -> None:
        page.get_by_label("Name").fill(name)
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Sign in").click()

    with open_site(tmp_path, auth=Auth(users=file.path)) as site:
        page.goto(site.url)
        sign_in(people[0], "guess")
        expect(page.get_by_role("alert")).to_have_text("The name or the password is wrong.")
        expect(page.get_by_label("Name")).to_have_value(people[0])
        sign_in(people[0])
        expect(page.locator(".history-person")).to_have_text(people[0])
        ask(page, "Ada's question")
        page.locator("#prompt textarea").fill("Ada's draft")
        expect(page.locator(".history-title")).to_have_text("Ada's question")
        page.get_by_role("link", name="Sign out").click()
        page.get_by_role("button", name="Sign out", exact=True).click()
        sign_in(people[1])
        expect(page.locator(".history-person")).to_have_text("bob")
        expect(page.locator(".history-title")).to_have_count(0)
        expect(page.locator("#prompt textarea")).to_have_value("")


def test_a_person_signs_in_at_a_provider_and_out(context: BrowserContext) -> None:
    """The provider is another site, so the browser sends no strict cookie on the way back."""
    page = context.new_page()
    link = page.get_by_role("link", name="Sign in with localhost")
    with provider() as at, turns_at() as turns, listening(app_over(turns, client_of(at))) as url:
        at.refusal = "access_denied"
        page.goto(f"{url}/?x=1")
        link.click()
        expect(page.get_by_role("alert")).to_contain_text("did not let you in")
        at.reset()
        page.goto(f"{url}/?x=1")
        link.click()
        expect(page.locator("#who")).to_contain_text("member ada@example.org")
        assert page.url == f"{url}/?x=1"
        assert {cookie["name"]: cookie["sameSite"] for cookie in context.cookies()} == {"kimi_session": "Strict"}
        page.get_by_role("link", name="Sign out").click()
        expect(page.get_by_text("You are signed in as")).to_contain_text("ada@example.org")
        page.get_by_role("button", name="Sign out", exact=True).click()
        expect(link).to_be_visible()

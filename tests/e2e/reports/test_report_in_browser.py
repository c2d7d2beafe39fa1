"""Does a browser show the report as it is meant: alone, quietly, at every width, with nothing from outside acting?"""

from typing import Any

import pytest

# One worker draws the pages and starts the browser, for all of them.
pytestmark = pytest.mark.xdist_group("browser")

WIDTHS = (390, 768, 1440)


@pytest.mark.parametrize("name", ["pair", "awkward"])
@pytest.mark.parametrize("width", WIDTHS)
def test_loads_alone_and_fits(browser: Any, reports_of: dict[str, str], name: str, width: int) -> None:
    page = browser.open(reports_of[name], width=width)
    assert page.requests == [reports_of[name]]
    assert page.said == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # The verdict is seen without scrolling.
    box = page.evaluate("(({top, bottom, width}) => ({top, bottom, width}))(verdict.getBoundingClientRect())")
    assert 0 <= box["top"] < box["bottom"] < 600
    assert box["width"] > 0


def test_nothing_sticks_out(browser: Any, reports_of: dict[str, str]) -> None:
    """No text leaves its column; what is wider than the page scrolls in a box of its own."""
    for name in reports_of:
        page = browser.open(reports_of[name], width=390)
        outside = page.evaluate(
            """[...document.querySelectorAll("main *, header *")].filter((one) =>
                !one.closest(".scroll, svg, .unseen, thead") && one.getBoundingClientRect().right > innerWidth + 1
            ).map((one) => one.outerHTML.slice(0, 200))"""
        )
        assert outside == []


def test_text_from_outside_does_not_act(browser: Any, reports_of: dict[str, str]) -> None:
    page = browser.open(reports_of["awkward"], width=1440)
    assert page.dialogs == []
    assert page.evaluate("document.title") != "pwned"
    assert page.evaluate("document.images.length") == 0
    assert page.evaluate("document.scripts.length") == 1
    assert "<script>alert(1)</script>" in page.evaluate("document.body.innerText")
    assert page.evaluate("document.querySelectorAll('svg b, svg script, svg img').length") == 0


def test_the_policy_stops_what_escaping_would_have_missed(browser: Any, reports_of: dict[str, str]) -> None:
    page = browser.open(reports_of["pair"], width=1440)
    page.evaluate(
        """(() => { const one = document.createElement("div");
        one.innerHTML = "<img src='data:,x' onerror='document.title = 1'>"; document.body.append(one);
        const two = document.createElement("script"); two.textContent = "document.title = 2"; document.body.append(two);
        return new Promise((done) => setTimeout(done, 100)); })()"""
    )
    assert page.evaluate("document.title").startswith("Ship hardened")
    assert any("Content Security Policy" in line for line in page.said)


@pytest.mark.parametrize("dark", [False, True])
def test_plots_and_text_are_legible_on_their_ground(browser: Any, reports_of: dict[str, str], dark: bool) -> None:
    page = browser.open(reports_of["pair"], width=1440, dark=dark)
    contrasts = page.evaluate(
        """(() => {
          const light = (colour) => {
            const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255)
              .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
          };
          const ground = (one) => {
            for (let at = one; at; at = at.parentElement) {
              const colour = getComputedStyle(at).backgroundColor;
              if (colour !== "rgba(0, 0, 0, 0)") return colour;
            }
          };
          const ratio = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
          const found = {};
          for (const one of document.querySelectorAll("h1, p, td, th, .badge, .quiet, .dot, a, summary, svg text")) {
            const style = getComputedStyle(one);
            const colour = one.tagName === "text" ? style.fill : style.color;
            const name = one.tagName + "." + one.getAttribute("class");
            found[name] = Math.min(found[name] ?? 99, ratio(light(colour), light(ground(one))));
          }
          return found;
        })()"""
    )
    assert len(contrasts) > 15
    assert {name: round(ratio, 2) for name, ratio in contrasts.items() if ratio < 4.5} == {}


def test_the_keyboard_reaches_everything(browser: Any, reports_of: dict[str, str]) -> None:
    page = browser.open(reports_of["pair"], width=390)
    unreachable = page.evaluate(
        """[...document.querySelectorAll("a, button, summary, pre, .scroll")].filter((one) => one.tabIndex < 0)
          .map((one) => one.outerHTML.slice(0, 200))"""
    )
    assert unreachable == []
    page.call("Input.dispatchKeyEvent", type="keyDown", key="Tab", code="Tab", windowsVirtualKeyCode=9)
    assert page.evaluate("document.activeElement.textContent") == "Skip to the scenarios"


def test_the_replay_command_can_be_copied(browser: Any, reports_of: dict[str, str]) -> None:
    page = browser.open(reports_of["pair"], width=1440)
    page.call("Page.bringToFront")
    page.evaluate("document.querySelector('button[data-copies]').click()")
    said = page.evaluate(
        "new Promise((done) => setTimeout(() => done(document.querySelector('button[data-copies]').textContent), 200))"
    )
    assert said in ("Copied", "Selected")
    assert page.evaluate("document.querySelector('.replay code').textContent").startswith("harness run upstream_outage")


def test_japanese_korean_and_emoji_are_kept(browser: Any, reports_of: dict[str, str]) -> None:
    text = browser.open(reports_of["awkward"], width=1440).evaluate("document.body.innerText")
    assert "안녕하세요😀こんにちは🇰🇷" in text

"""The report in a real browser: it shows what it holds, obeys keys and pointers, asks nobody, and runs nothing of a guest's."""

from __future__ import annotations

from pathlib import Path

import pytest

from ring3.trace.html.report import write_document
from tests.browser.conftest import HOSTILE
from tests.browser.driver import Browser
from tests.browser.runs import made

ROWS = "[...document.querySelectorAll('.calls .list-row:not([hidden])')]"
VIEWS = ("overview", "calls", "programs", "files")


def see(browser: Browser, view: str) -> None:
    """Go to a view and wait until it is drawn."""
    browser.click(f"#tab-{view}")
    browser.wait_for(f"document.body.dataset.view === '{view}'")
    browser.run("return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def shown(browser: Browser) -> int:
    """How many calls the table says it shows."""
    words = browser.text("#shown").replace("\u202f", "").split()
    return int(words[0])


def search(browser: Browser, text: str) -> None:
    browser.run("const box = document.getElementById('search'); box.value = ''; box.focus()")
    browser.type("#search", text)


def test_nothing_is_asked_for_and_nothing_complains(browser: Browser, report: str) -> None:
    for view in VIEWS:
        see(browser, view)
    assert browser.requests() == [report]
    assert browser.console() == []


def test_the_head_says_what_ran_and_how_it_ended(browser: Browser) -> None:
    assert "sh -c make" in browser.text("h1")
    assert "exited with 0" in browser.text(".head")
    assert "linux" in browser.text(".head")


@pytest.mark.parametrize("view", VIEWS)
def test_hostile_names_stay_text(browser: Browser, view: str) -> None:
    see(browser, view)
    assert browser.run("return document.querySelectorAll('img, iframe, object, [onerror]').length") == 0
    assert browser.run("return document.scripts.length") == 2            # the data and our own
    if view in ("overview", "files"):
        assert HOSTILE in browser.text("main")
    assert HOSTILE in browser.run("return document.title")


def test_a_script_that_did_get_in_would_not_run(browser: Browser) -> None:
    browser.run("const s = document.createElement('script'); s.textContent = 'document.title = 1'; document.body.append(s)")
    assert browser.run("return document.title") != "1"
    assert any("Content Security Policy" in line for line in browser.console())


def test_search_narrows_and_every_word_counts(browser: Browser) -> None:
    see(browser, "calls")
    assert shown(browser) == 5000
    search(browser, "openat(")
    only_opens = shown(browser)
    assert 0 < only_opens < 5000
    assert browser.run(f"return {ROWS}.every((row) => row.textContent.includes('openat('))")
    search(browser, "openat( enoent")
    assert 0 < shown(browser) < only_opens
    assert browser.run(f"return {ROWS}.every((row) => row.textContent.includes('ENOENT'))")
    search(browser, "no such thing")
    assert shown(browser) == 0
    browser.click("#filter-clear")
    assert shown(browser) == 5000


def test_filters_add_up(browser: Browser) -> None:
    see(browser, "calls")
    browser.click("#filter-errors")
    errors = shown(browser)
    assert 0 < errors < 5000
    assert browser.run(f"return {ROWS}.every((row) => row.classList.contains('failed'))")
    browser.run("const box = document.getElementById('filter-process'); box.value = '4'; box.dispatchEvent(new Event('change'))")
    of_one = shown(browser)
    assert 0 < of_one < errors
    browser.run("const box = document.getElementById('filter-call'); box.selectedIndex = 1; box.dispatchEvent(new Event('change'))")
    assert shown(browser) < of_one
    browser.click("#filter-clear")
    browser.click(".s-memory")
    assert browser.run(f"return {ROWS}.every((row) => /mmap|munmap|brk/.test(row.textContent))")


def test_only_the_rows_in_sight_are_drawn_and_all_can_be_reached(browser: Browser) -> None:
    see(browser, "calls")
    assert browser.run(f"return {ROWS}.length") < 100
    browser.run("document.querySelector('.calls').focus()")
    browser.press("End")
    browser.wait_for(f"{ROWS}.some((row) => row.dataset.index === '4999')")
    active = browser.run("return document.querySelector('.calls').getAttribute('aria-activedescendant')")
    assert browser.run("return document.getElementById(arguments[0]).dataset.index", active) == "4999"
    browser.press("Home")
    browser.wait_for(f"{ROWS}.some((row) => row.dataset.index === '0')")


def test_keys_alone_open_a_call_and_lead_back(browser: Browser) -> None:
    see(browser, "calls")
    browser.run("document.querySelector('.calls').focus()")
    for key in ("ArrowDown", "ArrowDown", "PageDown", "ArrowUp", "Enter"):
        browser.press(key)
    browser.wait_for("!document.querySelector('.view-calls .detail').hidden")
    chosen = browser.run("return document.querySelector('.calls [aria-selected=true] .c-call b').textContent")
    assert browser.text(".detail h3") == chosen
    browser.run("document.querySelector('.detail .close').focus()")
    browser.press("Enter")
    assert browser.run("return document.activeElement.classList.contains('calls')")


def test_the_longest_calls_come_first_when_asked(browser: Browser) -> None:
    see(browser, "calls")
    browser.click(".calls .c-ns button")
    in_order = f"{ROWS}.sort((a, b) => a.dataset.index - b.dataset.index)"
    times = browser.run(f"return {in_order}.slice(0, 9).map((row) => row.lastChild.textContent)")
    values = [float(text.split()[0]) for text in times]
    assert values == sorted(values, reverse=True)
    assert browser.run("return document.querySelector('.calls .list-head .c-ns').getAttribute('aria-sort')") == "descending"


def test_programs_show_the_address_space_before_and_after(browser: Browser) -> None:
    see(browser, "programs")
    browser.run("document.querySelectorAll('.execs .list-row')[1].click()")
    assert browser.run("return document.querySelectorAll('.exec-detail svg.map').length") == 2
    after = browser.run("return document.querySelectorAll('.exec-detail figure')[1].textContent")
    assert "[heap]" in after
    assert "libc.so.6" in after
    # To scale: r-x of libc is larger than its r-- in the same measure.
    every = "[...document.querySelectorAll('figure:last-child rect')]"
    boxes = browser.run(f"return {every}.map((box) => [box.getAttribute('height'), box.textContent])")
    heights = {text.split("\n")[1]: float(height) for height, text in boxes if "libc" in text}
    code, data = (next(h for text, h in heights.items() if text.startswith(kind)) for kind in ("r-x", "rw-"))
    assert 20 < code / data < 40            # 60 % against 2 %


def test_a_refused_exec_says_why(browser: Browser) -> None:
    see(browser, "programs")
    browser.run("[...document.querySelectorAll('.execs .list-row')].find((row) => row.textContent.includes('/opt/tool')).click()")
    assert "No such file or directory" in browser.text(".exec-detail")


def test_files_can_be_searched_and_filtered(browser: Browser) -> None:
    see(browser, "files")
    rows = "[...document.querySelectorAll('.files .list-row:not([hidden])')]"
    browser.type("#search-files", "file12")
    assert browser.run(f"return {rows}.length > 0 && {rows}.every((row) => row.textContent.includes('file12'))")
    assert "\\xff\\x1b[31m\\u202ecba" not in browser.text(".files")
    browser.run("const box = document.getElementById('search-files'); box.value = 'cba'; box.dispatchEvent(new Event('input'))")
    assert "\\xff\\x1b[31m\\u202ecba" in browser.text(".files")


def test_the_time_line_zooms_by_keys_and_leads_to_the_calls_in_sight(browser: Browser) -> None:
    browser.run("document.querySelector('.timeline').focus()")
    whole = browser.text(".tl-said")
    for _ in range(4):
        browser.press("+")
    browser.wait_for(f"document.querySelector('.tl-said').textContent !== {whole!r}")
    browser.run("[...document.querySelectorAll('.timeline button')].find((b) => b.textContent === 'calls ↓').click()")
    browser.wait_for("document.body.dataset.view === 'calls'")
    assert 0 < shown(browser) < 1000
    browser.click("#filter-range")
    assert shown(browser) == 5000


def test_wake_ups_are_arrows_and_refusals_are_marked(browser: Browser) -> None:
    assert "wake-up" in browser.text(".legend")
    assert "refused" in browser.text(".legend")
    browser.wait_for("document.querySelector('.tl-canvas').dataset.wakes === '8'")
    browser.click("main .note")                 # a policy's no: the time line goes there, where nobody woke
    browser.wait_for("document.querySelector('.tl-canvas').dataset.wakes === '0'")


def test_keys_alone_choose_calls_on_the_time_line(browser: Browser) -> None:
    chosen = "document.querySelector('.tl-card h3')?.textContent"
    browser.run("document.querySelector('.timeline').focus()")
    for _ in range(5):
        browser.press("+")
    browser.press("n")
    browser.wait_for("!document.querySelector('.tl-card').hidden")
    first = browser.run("return document.querySelector('.tl-card').textContent")
    for _ in range(30):                 # out of what was in sight
        browser.press("n")
    browser.wait_for(f"document.querySelector('.tl-card').textContent !== {first!r}")
    for _ in range(30):
        browser.press("p")
    browser.wait_for(f"document.querySelector('.tl-card').textContent === {first!r}")
    browser.press("ArrowDown")
    browser.wait_for(f"document.querySelector('.tl-card').textContent !== {first!r}")
    browser.press("ArrowUp")
    name = browser.run(f"return {chosen}")
    browser.press("Enter")
    browser.wait_for("document.body.dataset.view === 'calls'")
    assert browser.run("return document.querySelector('.calls [aria-selected=true] .c-call b').textContent") == name
    see(browser, "overview")
    browser.run("document.querySelector('.timeline').focus()")
    browser.press("\ue00c")             # Escape
    browser.wait_for("document.querySelector('.tl-card').hidden")


def test_a_click_on_the_time_line_shows_the_call(browser: Browser) -> None:
    box = "document.querySelector('.tl-canvas').getBoundingClientRect()"
    point = browser.run(f"return [{box}.left + 60, {box}.top + 26]")
    for kind in ("mousePressed", "mouseReleased"):
        browser.devtools("Input.dispatchMouseEvent", type=kind, x=point[0], y=point[1], button="left", clickCount=1)
    browser.wait_for("!document.querySelector('.tl-card').hidden")
    name = browser.text(".tl-card h3")
    browser.run("[...document.querySelectorAll('.tl-card button')].find((b) => b.textContent === 'in the call table').click()")
    browser.wait_for("document.body.dataset.view === 'calls'")
    assert browser.run("return document.querySelector('.calls [aria-selected=true] .c-call b').textContent") == name


def test_tabs_obey_the_arrows(browser: Browser) -> None:
    browser.run("document.getElementById('tab-overview').focus()")
    for view in (*VIEWS[1:], VIEWS[0]):
        browser.press("ArrowRight")
        browser.wait_for(f"document.body.dataset.view === '{view}'")
        assert browser.run("return document.activeElement.id") == f"tab-{view}"
    browser.press("ArrowLeft")
    browser.wait_for(f"document.body.dataset.view === '{VIEWS[-1]}'")


def test_a_long_call_that_begins_in_a_crowded_pixel_is_drawn(browser: Browser, tmp_path: Path) -> None:
    document, head = made(0, processes=1)
    for number in range(50):
        document.call_ended(document.call_began(0, "read", 100 * number), 100 * number + 50, "3", "1")
    document.call_ended(document.call_began(0, "wait4", 6000), 900_000_000, "-1", "3")
    page = tmp_path / "run.html"
    with page.open("w", encoding="utf-8") as file:
        write_document(document, file, head._replace(ns=10**9), made_by="test")
    browser.open(page.as_uri())
    browser.wait_for("document.documentElement.dataset.ready")
    place = "document.querySelector('.tl-canvas').getBoundingClientRect()"
    box = browser.run(f"return [{place}.left, {place}.top, {place}.width]")
    browser.devtools("Input.dispatchMouseEvent", type="mouseMoved", x=box[0] + box[2] / 2, y=box[1] + 26)
    assert "wait4" in browser.text(".tip")
    pixel = browser.run("""
        const canvas = document.querySelector('.tl-canvas'), y = 26 * devicePixelRatio;
        return [...canvas.getContext('2d').getImageData(canvas.width / 2, y, 1, 1).data]""")
    assert pixel[3] > 100                   # something is painted in the middle of it


def test_light_and_dark(browser: Browser) -> None:
    def paper() -> str:
        return str(browser.run("return getComputedStyle(document.documentElement).backgroundColor"))

    light = paper()
    browser.click(".theme")
    dark = paper()
    assert light != dark
    browser.open(str(browser.run("return location.href")))
    browser.wait_for("document.documentElement.dataset.ready")
    assert paper() == dark                  # it is remembered
    browser.click(".theme")
    assert paper() == light


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("width", [390, 1280, 1920])
def test_no_view_is_wider_than_the_window(browser: Browser, width: int, view: str) -> None:
    try:
        browser.devtools("Emulation.setDeviceMetricsOverride", width=width, height=844, deviceScaleFactor=1, mobile=width < 500)
        see(browser, view)
        assert browser.run("return document.documentElement.scrollWidth") <= width
        cut = browser.run("""
            return [...document.querySelectorAll('main button, main .tile, main h2')].filter((node) => {
              const box = node.getBoundingClientRect();
              return box.width > 0 && box.right > innerWidth + 1 && !node.closest('.subjects');
            }).map((node) => node.textContent)""")
        assert cut == []
    finally:
        browser.devtools("Emulation.setDeviceMetricsOverride", width=1280, height=900, deviceScaleFactor=1, mobile=False)


def test_every_control_has_a_name(browser: Browser) -> None:
    for view in VIEWS:
        see(browser, view)
        tree = browser.devtools("Accessibility.getFullAXTree")["nodes"]
        nameless = [
            node["role"]["value"] for node in tree
            if not node.get("ignored") and node["role"]["value"] in ("button", "textbox", "combobox", "searchbox", "grid", "tab")
            and not node.get("name", {}).get("value")
        ]
        assert nameless == []

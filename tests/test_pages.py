"The page of sources in a real browser: sorting, filtering, two sizes, and names that others made."
import shutil
from importlib.resources import files

import pandas as pd
import pytest

from radiogal.cutouts import read_cutout
from radiogal.pages import draw_thumbnail, view_cutout, write_sources

CHROMIUM = shutil.which("chromium")
HOSTILE = '<img src=x onerror="document.title=1">"\'</script><script>document.title=2</script>'


@pytest.fixture
def page(tmp_path):
    "A page of three sources."
    sample = files("radiogal")/"samples"/"FIRST"/"J135214.56+123401.7.fits"
    picture = draw_thumbnail(view_cutout(read_cutout(sample, "FIRST")))
    rows = pd.DataFrame({"name": ["b", HOSTILE, "a"], "ra": [10., 20., float("nan")], "dec": [0., -5., float("nan")],
                         "class": ["FRI", "FRII", ""], "p_FRI": [0.9, 0.4, None], "p_FRII": [0.1, 0.6, None],
                         "flags": ["", "neighbours", ""], "state": ["ok", "ok", "reject"],
                         "reason": ["", "", "no image in it"]})
    return write_sources(rows, [picture, picture, ""], tmp_path/"page.html", "Three <sources>", {HOSTILE: HOSTILE})


def test_what_others_wrote_is_text_and_the_page_needs_nothing_else(page):
    text = page.read_text()
    assert text.count("<script>") == 1 and "<img src=x" not in text and "Three &lt;sources&gt;" in text
    assert "default-src &#39;none&#39;" in text or "default-src 'none'" in text
    assert text.count('rel="noopener noreferrer"') == 4 and ' src="http' not in text and "url(" not in text


@pytest.mark.full
@pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed: on Debian, apt-get install chromium")
@pytest.mark.parametrize("width", [1400, 400])
def test_the_table_is_sorted_and_filtered_in_a_browser(page, width):
    from playwright.sync_api import sync_playwright
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        seen, errors = browser.new_page(viewport=dict(width=width, height=800)), []
        seen.on("console", lambda message: errors.append(message.text))
        seen.on("pageerror", lambda error: errors.append(str(error)))
        seen.goto(page.as_uri())
        shown = lambda: [each[:1] for each in seen.locator("tbody th").all_inner_texts() if each]
        assert shown() == ["b", "<", "a"] and seen.evaluate("document.title") == "Three <sources>"
        assert seen.evaluate("document.documentElement.scrollWidth") <= width
        seen.get_by_role("button", name="Name").click()
        assert shown() == ["<", "a", "b"]
        seen.get_by_role("button", name="Probabilities").click()
        assert shown() == ["b", "<", "a"]
        seen.get_by_role("button", name="Probabilities").click()
        assert shown() == ["a", "<", "b"]
        for select, text, least, n in (("FRI", "", "0", 1), ("-", "", "0", 1), ("", "neighbours", "0", 1),
                                       ("", "", "0.5", 2), ("", "", "0", 3)):
            seen.select_option("#kind", select); seen.fill("#text", text); seen.fill("#least", least)
            assert seen.inner_text("#shown") == f"{n} of 3 shown"
            assert seen.locator("tbody tr:visible").count() == n
        assert errors == []
        browser.close()

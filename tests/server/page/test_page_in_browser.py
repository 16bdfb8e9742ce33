"""The page at `/` in Chromium, with a server and scripted answers."""

import importlib
import json

import pytest
from served import served, wait_for
from stuck_backend import StuckBackend

from nybble import ChatMessage, ToolCall
from nybble.engine.chat.message import FunctionCall
from nybble.testing import MockBackend

pytestmark = pytest.mark.xdist_group("browser")

MARKDOWN = """# Heading <script>alert(1)</script>

Some **bold *and italic***, `code <b>`, snake_case_name and ~~gone~~.
<img src=x onerror=alert(1)> [good](https://example.org/a_(b)) [bad](javascript:alert(1)) ![image](https://example.org/x.png)

1. one
   - inner
2. two

| left | right |
|------|------:|
| a | `b|c` |

> quoted

```python
print("<script>alert(2)</script>")
```

---
the end
"""
CALL = ToolCall("call_1", FunctionCall("weather", '{"city":"Oslo"}'))
ANSWER = ChatMessage(content=MARKDOWN, reasoning="I think <b>so</b>", tool_calls=(CALL,))


@pytest.fixture
def page(opened):
    with served(MockBackend([ANSWER, "second", "third"])) as url:
        yield opened(url)


def expect(locator):
    """Playwright's, which the package need not be there for."""
    return importlib.import_module("playwright.sync_api").expect(locator)


def say(page, text):
    """Types a message, sends it and waits for the answer."""
    n = page.locator("[data-role=assistant]").count()
    page.get_by_label("Message", exact=True).fill(text)
    page.keyboard.press("Enter")
    expect(page.locator("[data-role=assistant]:not([aria-busy])")).to_have_count(n + 1)
    return page.locator("[data-role=assistant]").last


def test_markdown_is_shown_and_html_stays_text(page):
    answer = say(page, "Hi <b>you</b>")
    content = answer.locator(".content")
    assert page.locator("[data-role=user] .content").inner_text() == "Hi <b>you</b>"
    assert content.locator("h3").inner_text() == "Heading <script>alert(1)</script>"
    assert content.locator("strong > em").inner_text() == "and italic"
    assert (
        content.locator("p code").inner_text() == "code <b>" and content.locator("del").inner_text() == "gone"
    )
    assert (
        "snake_case_name" in content.inner_text() and "<img src=x onerror=alert(1)>" in content.inner_text()
    )
    assert content.locator("ol > li").count() == 2 and content.locator("ol ul > li").inner_text() == "inner"
    assert content.locator("td").all_inner_texts() == ["a", "b|c"]
    assert content.locator("td").last.get_attribute("class") == "right"
    assert content.locator("blockquote").inner_text() == "quoted" and content.locator("hr").count() == 1
    assert content.locator("pre").inner_text().strip() == 'print("<script>alert(2)</script>")'
    assert content.locator("script, img, b").count() == 0
    hrefs = [link.get_attribute("href") for link in content.locator("a").all()]
    assert hrefs == ["https://example.org/a_(b)", "https://example.org/x.png"]
    assert "[bad](javascript:alert(1))" in content.inner_text()


def test_reasoning_is_folded_and_calls_and_speed_are_shown(page):
    answer = say(page, "Hi")
    thoughts = answer.locator("details > div")
    assert not thoughts.is_visible()
    answer.locator("summary").press("Enter")
    assert thoughts.is_visible() and thoughts.inner_text() == "I think <b>so</b>"
    assert "weather" in answer.inner_text() and '{"city":"Oslo"}' in answer.inner_text()
    assert "tokens" in answer.locator(".speed").inner_text()
    assert "about" not in answer.locator(".speed").inner_text()
    assert page.locator("#status").text_content().startswith("# Heading")  # said once, as a whole


def test_an_answer_comes_in_pieces_and_escape_stops_it(opened):
    backend = StuckBackend("**of** the you is on " * 20)
    with served(backend) as url:
        page = opened(url)
        page.get_by_label("Message", exact=True).fill("Hi")
        page.keyboard.press("Shift+Enter")
        page.keyboard.type("there")
        page.keyboard.press("Control+Enter")
        answer = page.locator("[data-role=assistant]")
        expect(answer).to_have_attribute("aria-busy", "true")
        wait_for(lambda: backend.streams)
        backend.open(20)
        expect(answer.locator("strong").first).to_have_text("of")
        assert page.locator("#status").text_content() == "The model answers."  # not every token
        assert page.get_by_role("button", name="Stop").is_visible() and not page.locator("#send").is_visible()
        page.keyboard.press("Escape")
        expect(answer.locator(".speed")).to_contain_text("stopped · about")
        assert page.locator("#send").is_visible()
        wait_for(lambda: len(backend.cancelled) == 1)
        assert backend.requests[0].asked[-1]["content"] == "Hi\nthere"
        assert page.evaluate("document.activeElement.id") == "prompt"


def test_two_conversations_answer_side_by_side(opened):
    backend = StuckBackend("of the you is on " * 3)
    with served(backend) as url:
        page = opened(url)
        for text in ("first", "second"):
            page.get_by_role("button", name="New conversation").first.click()
            page.get_by_label("Message", exact=True).fill(text)
            page.keyboard.press("Enter")
            expect(page.locator("[data-role=assistant]")).to_have_attribute("aria-busy", "true")
        wait_for(lambda: len(backend.streams) == 2)
        backend.open(1000)
        for text in ("second", "first"):
            page.get_by_role("button", name=text, exact=True).click()
            expect(page.locator("[data-role=assistant] .content")).to_contain_text("of the you is on")
            expect(page.locator("[data-role=assistant]:not([aria-busy])")).to_have_count(1)


def test_regenerate_and_edit(opened):
    backend = MockBackend(["one", "two", "three", "four"])
    with served(backend) as url:
        page = opened(url)
        say(page, "Hi")
        page.get_by_role("button", name="Regenerate").click()
        expect(page.locator("[data-role=assistant] .content")).to_have_text("two")
        assert backend.requests[1].asked == [{"role": "user", "content": "Hi"}]
        say(page, "More")
        page.get_by_role("button", name="Edit").first.click()
        assert page.evaluate("document.activeElement.ariaLabel") == "Message to edit"
        page.keyboard.press("Escape")
        assert page.evaluate("document.activeElement.textContent") == "Edit"
        page.keyboard.press("Enter")
        page.get_by_label("Message to edit").fill("Hello")
        page.keyboard.press("Enter")
        expect(page.locator("[data-role=assistant] .content")).to_have_text(["four"])
        assert backend.requests[-1].asked == [{"role": "user", "content": "Hello"}]
        page.get_by_role("button", name="Edit").last.click()
        page.get_by_label("Message to edit").fill("I said four")
        page.get_by_role("button", name="Save").click()
        say(page, "What?")
        assert [each["content"] for each in backend.requests[-1].asked] == ["Hello", "I said four", "What?"]


def test_conversations_are_kept_exported_and_deleted(page, tmp_path):
    say(page, "The first")
    page.get_by_role("button", name="New conversation").first.click()
    say(page, "The second")
    page.reload()
    assert page.locator("#conversations .open").all_inner_texts() == ["The second", "The first"]
    page.get_by_role("button", name="The first", exact=True).click()
    assert page.locator("#conversations [aria-current]").inner_text() == "The first"
    expect(page.locator("[data-role=assistant] .content h3")).to_have_count(1)
    with page.expect_download() as download:
        page.get_by_role("button", name="Export").click()
    download.value.save_as(tmp_path / "out.json")
    found = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert download.value.suggested_filename == "The-first.json"
    assert [each["content"] for each in found["messages"]] == ["The first", MARKDOWN]
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete The first").click()
    page.reload()
    assert page.locator("#conversations .open").all_inner_texts() == ["The second"]


def test_what_is_stored_and_no_conversation_is_left_alone(page):
    page.evaluate("""() => {
        localStorage.setItem("nybble.conversation.a", "{");
        localStorage.setItem("nybble.conversation.b", '{"id": "b", "messages": [{"role": "user"}]}');
        localStorage.setItem("nybble.settings", '[7]');
    }""")
    page.reload()
    say(page, "Hi")
    assert page.locator("#conversations .open").count() == 1


def test_settings_and_the_system_prompt_are_sent(opened):
    backend = MockBackend(["one"])
    with served(backend) as url:
        page = opened(url)
        page.get_by_role("button", name="Settings").click()
        page.get_by_label("System prompt").fill("Be brief.")
        page.get_by_label("Temperature").fill("0.5")
        page.get_by_label("Top k").fill("7")
        page.get_by_label("Seed").fill("11")
        page.get_by_label("Top p").fill("3")
        page.get_by_role("button", name="Done").click()
        assert page.get_by_label("Top p").is_visible()  # 3 is no such sum
        page.get_by_label("Top p").fill("")
        page.get_by_role("button", name="Done").click()
        say(page, "Hi")
        asked = backend.requests[-1]
        assert asked.asked[0] == {"role": "system", "content": "Be brief."}
        assert (asked.params.temperature, asked.params.top_k, asked.params.seed) == (0.5, 7, 11)
        page.reload()
        page.get_by_role("button", name="Settings").click()
        assert page.get_by_label("Temperature").input_value() == "0.5"
        assert page.get_by_label("System prompt").input_value() == "Be brief."
        page.get_by_role("button", name="Empty all samplers").click()
        page.keyboard.press("Escape")
        say(page, "Again")
        assert backend.requests[-1].params.temperature == 1.0


def test_a_key_is_asked_for_and_kept_for_the_tab(opened):
    with served(MockBackend(["one"]), keys=("secret",)) as url:
        page = opened(url, may_fail=True)
        key = page.get_by_label("Key", exact=True)
        expect(key).to_be_focused()
        key.fill("wrong")
        page.keyboard.press("Enter")
        expect(page.locator("#key-reason")).to_contain_text("does not know this key")
        key.fill("secret")
        page.keyboard.press("Enter")
        expect(page.locator("#model")).to_have_value("m")
        say(page, "Hi")
        assert "secret" not in page.evaluate("JSON.stringify(localStorage)")
        page.reload()
        expect(page.locator("#model")).to_have_value("m")
        page.evaluate("sessionStorage.clear()")
        page.reload()
        page.get_by_role("button", name="Cancel").click()
        expect(page.get_by_role("alert")).to_contain_text("API key is needed")


def test_a_refusal_is_shown_and_the_next_question_holds_both(opened):
    backend = MockBackend(["one"], n_ctx=64)
    with served(backend) as url:
        page = opened(url, may_fail=True)
        answer = say(page, "far too long " * 200)
        assert "shorten it" in answer.locator(".error").inner_text()
        page.get_by_role("button", name="New conversation").first.click()
        assert say(page, "Hi").locator(".content").inner_text() == "one"
    answer = say(page, "Are you there?")
    assert answer.locator(".error").inner_text() == "The server cannot be reached."
    stored = page.evaluate("Object.values(localStorage).find((text) => text.includes('there?'))")
    asked = page.evaluate(
        "async (text) => (await import('/page/conversation.js')).asked(JSON.parse(text))", stored
    )
    assert [each["content"] for each in asked] == ["Hi", "one", "Are you there?"]


def test_light_dark_and_narrow(opened, page):
    def ground(of):
        return of.evaluate("getComputedStyle(document.body).backgroundColor")

    light = ground(page)
    page.get_by_label("Colours").select_option("dark")
    dark = ground(page)
    page.reload()
    assert ground(page) == dark != light
    url = page.url
    other = opened(url, color_scheme="dark", viewport={"width": 360, "height": 640})
    assert ground(other) == dark
    other.get_by_label("Message", exact=True).fill("x")
    say(other, "Hi")
    assert other.evaluate("document.documentElement.scrollWidth") <= 360
    toggle = other.get_by_role("button", name="Conversations")
    toggle.press("Enter")
    assert toggle.get_attribute("aria-expanded") == "true"
    other.keyboard.press("Escape")
    assert toggle.get_attribute("aria-expanded") == "false" and not other.locator("#sidebar").is_visible()


def test_everything_can_be_reached_and_has_a_name(page):
    say(page, "Hi")
    seen = []
    for _ in range(60):
        page.keyboard.press("Tab")
        name = page.evaluate("""() => {
            const it = document.activeElement;
            return it === document.body ? null
                : it.ariaLabel || it.labels?.[0]?.textContent || it.textContent.trim() || "NONE";
        }""")
        seen.append(name)
    assert "NONE" not in seen
    for name in (
        "Skip to the message box",
        "New conversation",
        "Colours",
        "Model",
        "Settings",
        "Reasoning",
        "Edit",
        "Regenerate",
    ):
        assert name in seen

"""The page at `/` as it is served: its headers, and that its files fit each other."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from served import client

import nybble
from nybble.server.page.page import page_files
from nybble.testing import MockBackend

FOLDER = Path(nybble.__file__).parent / "server" / "page"
FILES = {
    path.name: path.read_text(encoding="utf-8")
    for path in FOLDER.iterdir()
    if path.suffix != ".py" and path.is_file()
}
SCRIPTS = {name: text for name, text in FILES.items() if name.endswith(".js")}
VOID = {"meta", "link", "input", "br", "hr"}


class Elements(HTMLParser):
    """The elements of a page; it must close what it opens."""

    def __init__(self, text):
        super().__init__()
        self.found, self.open = [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


ELEMENTS = Elements(FILES["index.html"]).found
IDS = [attributes["id"] for _, attributes in ELEMENTS if "id" in attributes]


@pytest.fixture(scope="module")
def guarded():
    return client(MockBackend(), keys=("secret",))


@pytest.mark.parametrize("path", ["/", *(f"/page/{name}" for name in FILES if name != "index.html")])
def test_every_file_is_served_without_a_key_and_under_a_strict_policy(guarded, path):
    answer = guarded.get(path)
    assert answer.status_code == 200 and answer.text == FILES[path.rpartition("/")[2] or "index.html"]
    policy = dict(each.strip().split(" ", 1) for each in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'" and policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["base-uri"] == policy["form-action"] == "'none'" and policy["img-src"] == "'self' data:"
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers.get_list("x-content-type-options") == ["nosniff"]
    assert answer.headers["referrer-policy"] == "no-referrer"
    kind = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}.get(
        path.rpartition(".")[2], "text/html"
    )
    assert answer.headers["content-type"].startswith(kind)


def test_what_has_not_changed_is_not_sent_again(guarded):
    etag = guarded.get("/").headers["etag"]
    assert len({file.etag for file in page_files().values()}) == len(FILES)
    for known in (etag, f"W/{etag}", f'"other", {etag}'):
        answer = guarded.get("/", headers={"if-none-match": known})
        assert answer.status_code == 304 and not answer.content and answer.headers["etag"] == etag
        assert "content-security-policy" in answer.headers
    assert guarded.get("/", headers={"if-none-match": '"other"'}).status_code == 200


def test_only_the_files_are_open(guarded):
    assert guarded.head("/").status_code == 200
    for path in (
        "/page/",
        "/page/page.py",
        "/page/..%2fpage.py",
        "/page/%2e%2e/keys.py",
        "/page/page.js/",
    ):
        assert guarded.get(path).status_code == 401
        assert guarded.get(path, headers={"x-api-key": "secret"}).status_code == 404
    assert guarded.post("/").status_code == 405


def test_nothing_comes_from_elsewhere():
    for name, text in FILES.items():
        addresses = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s\"']*", text))
        assert addresses <= {"http://www.w3.org/2000/svg"}, name
    for _, attributes in ELEMENTS:
        for name in ("src", "href"):
            assert attributes.get(name, "#")[0] in "#/" and not attributes.get(name, "").startswith("//")


def test_no_text_becomes_html_or_code():
    for name, text in SCRIPTS.items():
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|new Function|DOMParser", text
        ), name
    for tag, attributes in ELEMENTS:
        assert not any(name.startswith("on") or name == "style" for name in attributes)
        assert tag != "style" and (tag != "script" or "src" in attributes)


def test_ids_are_there_and_once():
    assert len(IDS) == len(set(IDS))
    used = {found for text in SCRIPTS.values() for found in re.findall(r'byId\("([^"]+)"\)', text)}
    assert used and used <= set(IDS)
    for _, attributes in ELEMENTS:
        for name in ("for", "aria-labelledby", "aria-describedby", "aria-controls"):
            assert attributes.get(name, IDS[0]) in IDS
    assert set(re.findall(r"#([a-z][a-z-]*)(?=[ .,:>{])", re.sub(r"#\w{6}\b", "", FILES["page.css"]))) <= set(
        IDS
    )


def test_every_module_is_used_and_imports_names_that_there_are():
    exported = {
        name: set(re.findall(r"^export (?:async )?(?:function\*?|class|const) (\w+)", text, re.M))
        for name, text in SCRIPTS.items()
    }
    used = {"page.js": set()}
    for text in SCRIPTS.values():
        for names, file in re.findall(r'import \{([^}]+)\} from "\./([^"]+)"', text):
            used.setdefault(file, set()).update(name.strip() for name in names.split(","))
    assert used == exported


def test_every_field_has_a_label():
    labels = {attributes.get("for") for tag, attributes in ELEMENTS if tag == "label"}
    fields = {attributes["id"] for tag, attributes in ELEMENTS if tag in ("input", "textarea", "select")}
    assert fields <= labels


def luminance(colour: str) -> float:
    """WCAG 2.2's relative luminance."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_contrast(scheme):
    pairs = re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)", FILES["page.css"])
    colours = {name: luminance(values[scheme]) for name, *values in pairs}

    def contrast(one: str, other: str) -> float:
        low, high = sorted((colours[one], colours[other]))
        return (high + 0.05) / (low + 0.05)

    for text in ("text", "quiet", "accent", "error"):
        assert min(contrast(text, "ground"), contrast(text, "panel")) >= 4.5, text
    assert contrast("on-accent", "accent") >= 4.5
    assert min(contrast("edge", "ground"), contrast("edge", "panel")) >= 3


def test_files_are_small():
    assert max(text.count("\n") for text in FILES.values()) <= 300

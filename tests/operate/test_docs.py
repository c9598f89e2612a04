"""The contract's page: it says all that the contract says, text in it stays text, and a browser shows it well."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from html.parser import HTMLParser
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from markdown_it import MarkdownIt

from gateway import contract as contracts
from gateway.contract.document import Document
from gateway.documents import yaml_file
from gateway.errors import ConfigurationError
from gateway.observe.http import HttpServer, Pages
from gateway.observe.peer_state import Health
from gateway.operate import docs
from gateway.page.html import Page
from tests.stack.browser import Browser
from tests.stack.gateway import ROOT, Gateway
from tests.stack.preloaded import run

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

OURS = ROOT / "asyncapi.yaml"
EVERYTHING = Path(__file__).parents[1] / "documented" / "asyncapi.yaml"
CONTRACTS = pytest.mark.parametrize("path", [OURS, EVERYTHING], ids=["ours", "everything"])

UNSHOWN = {"$ref", "action", "asyncapi", "namespace"}  # followed, described in words, or part of a full name
VOID = {"meta", "path", "rect", "wbr"}
BLOCKS = {"p", "li", "td", "th", "dt", "dd", "h1", "h2", "h3", "h4", "pre", "caption", "figcaption", "text", "title"}
TAGS = BLOCKS | VOID | {
    "html", "head", "style", "body", "a", "nav", "main", "ul", "dl", "div", "code", "strong", "figure", "table",
    "thead", "tbody", "tr", "svg", "defs", "marker", "g",
}  # fmt: skip
ATTRIBUTES = {
    "lang", "charset", "http-equiv", "content", "name", "class", "href", "id", "rel", "aria-label", "aria-labelledby",
    "role", "tabindex", "scope", "data-head", "viewbox", "width", "height", "refx", "refy", "markerwidth", "orient",
    "markerheight", "d", "x", "y", "rx", "text-anchor", "marker-end",
}  # fmt: skip
HOSTILE = (
    "</title></style></pre><script>alert(1)</script>\"'><img src=https://evil.example/x onerror=alert(2)>"
    "[click](javascript:alert(3)) ![see](https://evil.example/y) `</code><svg onload=alert(4)>` | \x1b[2J \u202e"
)


class Parsed(HTMLParser):
    """A page taken apart."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.pieces: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.style = ""
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert not self._open, "every tag is closed"

    @property
    def text(self) -> str:
        """What can be read, in one line."""
        return flat("".join(self.pieces))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open."""
        self.tags.append((tag, dict(attrs)))
        self.pieces += [" "] * (tag in BLOCKS)
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open and close."""
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        """Close what was opened last."""
        assert self._open.pop() == tag
        self.pieces += [" "] * (tag in BLOCKS)

    def handle_data(self, data: str) -> None:
        """Read."""
        if self._open[-1:] == ["style"]:
            self.style += data
        else:
            self.pieces.append(data)


def flat(text: str) -> str:
    """One line without the marks of Markdown that both formats may leave out."""
    return " ".join(re.sub(r"`|\*\*|\[([^\[\]]+)\]\(https?:[^)]*\)", r"\1", text).split())


def visible_markdown(text: str) -> str:
    """What a reader of the Markdown sees."""
    return flat(re.sub(r"\\([\\`*_\[\]<>#|~&$.()+-])", r"\1", text))


def statements(data: Any, key: str = "") -> Iterator[str]:
    """Everything that a document says: text, numbers and names of members."""
    if isinstance(data, dict):
        for name, member in data.items():
            if name not in UNSHOWN:
                yield from statements(member, name)
    elif isinstance(data, list):
        for item in data:
            yield from statements(item, key)
    elif isinstance(data, str):
        yield from sayings(data)
    elif data is not None:
        yield json.dumps(data)


def sayings(text: str) -> Iterator[str]:
    """A text, paragraph by paragraph and point by point; an expression by its pointer."""
    if text.startswith("$message."):
        yield text.partition("#")[2]
        return
    for line in re.split(r"\n\s*\n(?:- )?|\n- ", text):
        yield flat(line)


def files(path: Path) -> list[Any]:
    """The contract's document and its schemas."""
    document = yaml_file.read(path).data
    schemas = [*path.parent.glob("*.avsc"), *path.parent.glob("schemas/*.avsc")]
    return [document, *(json.loads(one.read_text()) for one in schemas)]


def missing(path: Path, text: str) -> list[str]:
    """What the page does not say; a pointer may be written as the path of a field."""
    said = {one for data in files(path) for one in statements(data) if one}
    assert len(said) > 100
    return sorted(one for one in said if one not in text and one.strip("/").replace("/", ".") not in text)


# --- everything is there ---------------------------------------------------------------------------------------------


@CONTRACTS
def test_html_says_all_that_the_contract_says(path: Path) -> None:
    page = Parsed(docs.page(Document(path)).text)
    targets = " ".join(one.get("href") or "" for _, one in page.tags)
    assert missing(path, page.text + targets) == []


@CONTRACTS
def test_markdown_says_all_that_the_contract_says(path: Path) -> None:
    text = docs.markdown(Document(path))
    links = re.compile(r"\[([^\[\]]+)\]\(([^)]*)\)")
    targets = " ".join(target for _, target in links.findall(text))
    assert missing(path, visible_markdown(links.sub(r"\1", text)) + targets) == []


def rows(page: str, first: str) -> list[str]:
    """Rows of tables whose first cell is this."""
    name = "(<wbr>)?".join(map(re.escape, first))
    begins = re.compile(rf'<tr><th scope="row">(<[^>]*>)*{name}<')
    return [Parsed(row).text for row in re.findall(r"<tr>.*?</tr>", page) if begins.match(row)]


def test_routing_table_follows_a_stream_to_its_end() -> None:
    [row] = rows(docs.page(Document(EVERYTHING)).text, "takeVibration")[:1]
    key = "serial or, if that is empty, pump"
    assert row == f"takeVibration plant/{{pump}}/vibration floor Vibration plant.vibration {key} plant.refused"


def test_diagram_has_every_route() -> None:
    """An arrow into and out of each check, and a dashed one for what does not fit."""
    page = docs.page(Document(OURS)).text
    count = len(contracts.load(OURS).streams)
    assert page.count('<path class="route"') == 2 * count
    assert page.count('<path class="failing"') == count
    assert docs.markdown(Document(OURS)).count(" -.-> ") == count


def test_stream_that_forwards_to_several_topics_shows_them_all(tmp_path: Path) -> None:
    text = EVERYTHING.read_text().replace(
        "x-forward-to: {$ref: '#/operations/storeVibration'}",
        "x-forward-to: [{$ref: '#/operations/storeVibration'}, {$ref: '#/operations/latest'}]",
    )
    path = tmp_path / "asyncapi.yaml"
    path.write_text(
        text.replace("  setAside:", "  latest: {action: send, channel: {$ref: '#/channels/refused'}}\n  setAside:")
    )
    shutil.copy(EVERYTHING.with_name("vibration.avsc"), tmp_path)
    page = docs.page(Document(path)).text
    assert "Valid readings go to plant.vibration, plant.refused." in Parsed(page).text
    assert page.count('<path class="route"') == 3


@pytest.mark.parametrize("path", ["first", "second", "history[]", "by_bearing{}"])
def test_named_type_is_opened_wherever_it_is_used(path: str) -> None:
    """By its short name, by its full name, in a union, an array and a map: fields, units and symbols are there."""
    page = docs.page(Document(EVERYTHING)).text
    assert rows(page, f"{path}.peak") == [f"{path}.peak double mm/s Highest speed. minimum: 0."]
    [state] = rows(page, f"{path}.state")
    assert "plant.motion.Verdict: good, alarm, trip" in state


def test_operation_of_several_messages_says_where_each_goes() -> None:
    text = docs.markdown(Document(ROOT / "docs" / "steps" / "20" / "asyncapi.yaml"))
    section = text.partition("### `receiveClimate`")[2].partition("\n### ")[0]
    assert "must fit exactly one of the messages" in section
    _, climate, contact, button = section.split("#### Message: ")
    assert "`climate`" in climate.partition("Payload")[0]
    assert "`contacts`" in contact.partition("Payload")[0]
    assert "are dropped and counted" in button


def test_enum_used_by_its_name_shows_its_symbols() -> None:
    [row] = rows(docs.page(Document(EVERYTHING)).text, "overall")
    assert row == "overall enum plant.motion.Verdict: good, alarm, trip good The worst of all. default: good."


def test_record_that_contains_itself_ends() -> None:
    page = docs.page(Document(EVERYTHING)).text
    assert rows(page, "tree.inner") == ["tree.inner array of record plant.motion.Part What it is made of."]
    assert rows(page, "tree.inner[].label") == []


def test_unit_and_default_have_their_columns() -> None:
    [row] = rows(docs.page(Document(OURS)).text, "energy_import_wh")
    assert row.startswith("energy_import_wh null or double Wh null OBIS 1-0:1.8.0.")
    assert row.endswith("Read from /1-0:1.8.0/value.")


def test_extensions_are_sentences() -> None:
    text = Parsed(docs.page(Document(EVERYTHING)).text).text
    for sentence in (
        "Valid readings go to plant.vibration.",
        "Invalid readings go, unchanged, to plant.refused.",
        "Keyed by serial or, if that is empty, pump; records with the same key stay in order.",
        "Keyed by the header mqtt.topic;",
        "Timestamped by taken;",
        "by the arrival of the reading, if that is null or outside the times that the topic keeps.",
        "Read from the first of these that is present: /axes/other~1side, /across.",
        "x-owner maintenance crew",
    ):
        assert sentence in text
    assert "Read from all members that no other field reads." in Parsed(docs.page(Document(OURS)).text).text
    text = Parsed(docs.page(Document(ROOT / "docs/steps/11/asyncapi.yaml")).text).text
    assert "The power drawn now. The value is the whole payload." in text
    assert "In the middle of the oven. Read from /probe/dC times 0.1." in text
    assert (
        "A message is an array of readings. Each becomes a record; if one of them is invalid, the message is." in text
    )


def test_words_of_x_source_are_sentences() -> None:
    text = Parsed(docs.page(Document(ROOT / "docs/steps/18/asyncapi.yaml")).text).text
    for sentence in (
        "Read from /time. A time without a zone is local time in Europe/Vienna;",
        "; in the hour that repeats in autumn, the first one.",
        "Read from /ts times 1000. Digits that the type cannot hold are cut off.",
        'A text is read as a number. "", n/a mean null.',
        "ON means true. OFF means false.",
        "A text is read as base64.",
    ):
        assert sentence in text


def test_every_part_has_an_anchor_and_every_link_leads_to_one() -> None:
    for path in (OURS, EVERYTHING):
        tags = Parsed(docs.page(Document(path)).text).tags
        anchors = [one["id"] for _, one in tags if "id" in one]
        targets = {href[1:] for _, one in tags if (href := one.get("href") or "").startswith("#")}
        assert len(set(anchors)) == len(anchors)
        assert targets <= set(anchors)
        assert {f"operation-{name}" for name in yaml_file.read(path).data["operations"]} <= targets


# --- the command -----------------------------------------------------------------------------------------------------


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return run("docs", *arguments)


def test_command_writes_a_file(tmp_path: Path) -> None:
    file = tmp_path / "docs.html"
    done = command("-o", file)
    assert (done.returncode, done.stdout) == (0, "")
    assert file.read_text(encoding="utf-8") == docs.page(Document(OURS)).text


def test_command_writes_markdown_to_standard_output() -> None:
    assert command(EVERYTHING, "--format", "markdown").stdout == docs.markdown(Document(EVERYTHING))


def test_command_refuses_a_contract_that_is_wrong_and_writes_nothing(tmp_path: Path) -> None:
    wrong, file = tmp_path / "asyncapi.yaml", tmp_path / "docs.html"
    wrong.write_text(OURS.read_text())  # without its schemas
    done = command(wrong, "-o", file)
    assert done.returncode == 78
    assert "machine_sensor.avsc" in done.stderr
    assert "Traceback" not in done.stderr
    assert not file.exists()


def test_command_says_that_it_cannot_write(tmp_path: Path) -> None:
    done = command("-o", tmp_path / "no" / "such" / "docs.html")
    assert done.returncode == 1
    assert done.stderr.startswith(f"Cannot write {tmp_path}/no/such/docs.html: No such file or directory.")


# --- text stays text -------------------------------------------------------------------------------------------------


def poisoned(data: Any, key: str = "") -> Any:
    """The same document with hostile text behind everything that people write freely."""
    if isinstance(data, dict):
        return {name: poisoned(member, name) for name, member in data.items()}
    if isinstance(data, list):
        return [poisoned(item, key) for item in data]
    is_prose = key in {"description", "summary", "title", "doc", "x-owner", "unit", "x-rack"}
    return f"{data} {HOSTILE}" if is_prose else data


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    shutil.copytree(EVERYTHING.parent, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "asyncapi.yaml"
    document = poisoned(yaml_file.read(path).data)
    text = json.dumps(document).replace("takeVibration", "take<b>'Vibration")
    path.write_text(text.replace("https://plant.example/terms", "javascript:alert(5)"))
    schema = tmp_path / "vibration.avsc"
    schema.write_text(json.dumps(poisoned(json.loads(schema.read_text()))))
    return path


def test_hostile_text_adds_no_tag_and_no_attribute(hostile: Path) -> None:
    page = Parsed(docs.page(Document(hostile)).text)
    assert {tag for tag, _ in page.tags} <= TAGS
    assert {name for _, attributes in page.tags for name in attributes} <= ATTRIBUTES
    assert "<script>alert(1)</script>" in page.text
    assert "\x1b" not in page.text
    assert "\u202e" not in page.text


def test_links_lead_to_the_web_or_into_the_page(hostile: Path) -> None:
    hrefs = [one.get("href") or "" for _, one in Parsed(docs.page(Document(hostile)).text).tags if "href" in one]
    assert all(re.match(r"#|https?://|mailto:", href) for href in hrefs)
    assert "https://standard.example/20816" in hrefs


def test_hostile_text_is_no_html_in_markdown(hostile: Path) -> None:
    blocks = MarkdownIt().enable("table").parse(docs.markdown(Document(hostile)))
    tokens = [*blocks, *(child for one in blocks for child in one.children or ())]
    html = [one.content for one in tokens if one.type.startswith("html")]
    assert html
    assert all(re.fullmatch(r'<a id="[\w%.~-]+">|</a>', one.strip()) for one in html)
    targets = [str(one.attrs["href"]) for one in tokens if one.type == "link_open"]
    assert all(re.match(r"#|https?://|mailto:", target) for target in targets)
    assert "image" not in {one.type for one in tokens}


@CONTRACTS
def test_page_loads_nothing(path: Path) -> None:
    """No script, no picture, no frame, no font; addresses of the web stand in links only."""
    page = Parsed(docs.page(Document(path)).text)
    assert {tag for tag, _ in page.tags} <= TAGS
    assert all(tag == "a" for tag, one in page.tags if "href" in one)
    assert not {"src", "srcset", "style", "onload"} & {name for _, one in page.tags for name in one}
    assert not re.search(r"url\(|@import|@font-face", page.style)


def test_page_allows_only_its_own_style() -> None:
    page = docs.page(Document(OURS))
    parsed = Parsed(page.text)
    digest = base64.b64encode(hashlib.sha256(parsed.style.encode()).digest()).decode()
    assert page.style == f"'sha256-{digest}'"
    [policy] = [one["content"] or "" for _, one in parsed.tags if one.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith(f"default-src 'none'; style-src {page.style};")


def test_contract_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        docs.page(Document(tmp_path / "asyncapi.yaml"))


# --- served ----------------------------------------------------------------------------------------------------------


def test_running_gateway_serves_its_contract(gateway: Gateway) -> None:
    status, body = gateway.get("/docs")
    assert (status, body) == (200, docs.page(Document(OURS)).text)
    assert '<a href="/docs"' in gateway.get("/")[1]


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    nobody = {"host": "127.0.0.1:1"}
    registry = {"registry": {"url": "http://127.0.0.1:1"}}
    servers = {"factoryBroker": nobody, "meterBroker": nobody, "kafka": nobody | registry}
    with Gateway(servers) as running:
        yield running.start(ready=False)


def ask(page: Page | None, host: str) -> tuple[int, str, bytes]:
    health = Health(alive=True, ready=True)
    with HttpServer("127.0.0.1:0", Pages(lambda: Page("", ""), bytes, lambda: health, page)) as server:
        connection = HTTPConnection("127.0.0.1", server.port, timeout=30)
        connection.request("GET", "/docs", headers={"Host": host})
        answer = connection.getresponse()
        return answer.status, answer.headers["Content-Security-Policy"], answer.read()


def test_served_page_may_use_its_style_and_nothing_else() -> None:
    page = docs.page(Document(OURS))
    status, policy, body = ask(page, "localhost")
    assert (status, body.decode()) == (200, page.text)
    assert policy == (
        "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; style-src " + page.style
    )


def test_page_is_served_under_names_of_this_machine_only() -> None:
    status, policy, body = ask(docs.page(Document(OURS)), "evil.example")
    assert (status, "style-src" in policy) == (421, False)
    assert b"IoT" not in body


def test_server_without_a_page_has_no_docs() -> None:
    assert ask(None, "localhost")[0] == 404


# --- in a browser ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as running:
        yield running


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1000, 1280])
def test_browser_shows_the_served_page(browser: Browser, gateway: Gateway, width: int, scheme: str) -> None:
    """Nothing is complained of, nothing else is asked for, the fields are there to read, and nothing is cut off."""
    address = f"http://127.0.0.1:{gateway.port}/docs"
    loaded = browser.load(address, width=width, scheme=scheme)
    assert loaded.complaints == []
    assert loaded.requests == [address]
    text = flat(browser.ask("document.body.innerText"))
    for shown in ("energy_import_wh", "OBIS 1-0:1.8.0. Active energy drawn from the grid.", "other_registers{}.value"):
        assert shown in text
    assert browser.ask("document.documentElement.scrollWidth <= innerWidth")
    assert browser.ask("[...document.querySelectorAll('.table')].every(one => one.scrollWidth <= one.clientWidth)")
    is_dark = browser.ask("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    assert is_dark == (scheme == "dark")


def test_browser_opens_the_file_from_disk(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "docs.html"
    file.write_text(docs.page(Document(EVERYTHING)).text, encoding="utf-8")
    loaded = browser.load(file.as_uri())
    assert (loaded.complaints, loaded.requests) == ([], [file.as_uri()])
    assert "by_bearing{}.peak" in browser.ask("document.body.innerText")


def test_browser_runs_nothing_of_a_hostile_contract(browser: Browser, hostile: Path) -> None:
    file = hostile.with_name("docs.html")
    file.write_text(docs.page(Document(hostile)).text, encoding="utf-8")
    loaded = browser.load(file.as_uri())
    assert (loaded.complaints, loaded.requests) == ([], [file.as_uri()])
    assert browser.ask("document.scripts.length + document.images.length") == 0


def test_a_list_of_times_is_a_sentence() -> None:
    """Which clocks are tried, in their order, with their bounds."""
    text = Parsed(docs.page(Document(ROOT / "docs/steps/23/asyncapi.yaml")).text).text
    expected = (
        "Timestamped by measured_at if it differs from the arrival by 1d at most, else by the uptime running; else by "
        "the arrival of the reading."
    )
    assert expected in " ".join(text.split())

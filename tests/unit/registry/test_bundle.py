"""The modules of the tag as one module, and how much of it goes to another page."""

import gzip
import re

import pytest
from flask import Flask
from flask.testing import FlaskClient

from emostream.registry import page
from emostream.registry.bundle import bundle, without_comments

MODULES = {
    "a.js": 'import { B, two } from "./b.js";\nimport { C } from "./c.js";\nexport const A = [B, two, C];\n',
    "b.js": 'import { C } from "./c.js";\nconst own = 1;\nexport class B {}\nexport async function two() {}\n',
    "c.js": "const own = 2;\nexport function C() {\n  return new URL('x', import.meta.url);\n}\n",
}
# What another page loads to show the tag: the module, and its style beside it.
MAX_COMPRESSED_BYTES = 15 << 10


@pytest.fixture
def client() -> FlaskClient:
    app = Flask("test", static_folder=None)
    page.add_to(app)
    return app.test_client()


def test_each_module_comes_once_after_those_that_it_imports() -> None:
    assert bundle("a.js", MODULES.__getitem__).splitlines() == [
        'const base = new URL("static/", import.meta.url).href;',
        "const $c = (() => {",
        "const own = 2;",
        "function C() {",
        "return new URL('x', base);",
        "}",
        "return { C };",
        "})();",
        "const $b = (() => {",
        "const { C } = $c;",
        "const own = 1;",
        "class B {}",
        "async function two() {}",
        "return { B, two };",
        "})();",
        "const $a = (() => {",
        "const { B, two } = $b;",
        "const { C } = $c;",
        "const A = [B, two, C];",
        "return { A };",
        "})();",
    ]


def test_private_names_are_short_and_stay_apart() -> None:
    source = """class A {
  #count = 1;
  static find = "#count";
  get #sum() {
    return this.#count + other.#count;
  }
  async #run() {
    await this.#run(this.#sum);
  }
}
"""
    lines = bundle("a.js", {"a.js": source}.__getitem__).splitlines()
    assert lines[2:-2] == [
        "class A {",
        "#a = 1;",
        'static find = "#count";',
        "get #b() {",
        "return this.#a + other.#a;",
        "}",
        "async #c() {",
        "await this.#c(this.#b);",
        "}",
        "}",
    ]


@pytest.mark.parametrize("line", ["export default 1;", 'import x from "./x.js";', 'export * from "./x.js";'])
def test_a_form_that_it_does_not_know_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"a\.js has an (import|export) of a form"):
        bundle("a.js", {"a.js": f"{line}\n"}.__getitem__)


def test_comments_that_begin_a_line_are_left_out() -> None:
    source = b'/** a\n * b */\nlet x; // c\n  // d\n/* e */ let y;\n/* f */\nlet z = "//g";\n'
    assert without_comments(source) == b'let x; // c\n/* e */ let y;\nlet z = "//g";\n'


def test_the_tag_is_one_small_module(client: FlaskClient) -> None:
    answer = client.get("/emostream-reactions.js", headers={"Accept-Encoding": "gzip, br"})
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert len(answer.data) <= MAX_COMPRESSED_BYTES
    text = gzip.decompress(answer.data).decode()
    assert text == client.get("/emostream-reactions.js").text
    assert re.findall(r"^(?:import|export)\b.*", text, flags=re.MULTILINE) == []
    assert 'customElements.define("emostream-reactions"' in text


def test_a_page_loads_scripts_and_styles_of_its_own_alone(client: FlaskClient) -> None:
    for path in ("/", "/static/topology.html"):
        policy = client.get(path).headers["Content-Security-Policy"].split("; ")
        assert {"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'self'"} <= {*policy}
        assert "unsafe" not in str(policy)
    # Other pages load these, or show them.
    for path in ("/static/page.js", "/static/example.html", "/emostream-reactions.js"):
        answer = client.get(path)
        assert "Content-Security-Policy" not in answer.headers
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_file_is_sent_again_only_if_it_has_changed(client: FlaskClient) -> None:
    for encoding in ("gzip", "identity"):
        headers = {"Accept-Encoding": encoding}
        first = client.get("/static/page.js", headers=headers)
        assert first.headers.get("Content-Encoding", "identity") == encoding
        again = client.get("/static/page.js", headers=headers | {"If-None-Match": first.headers["ETag"]})
        assert (again.status_code, again.data) == (304, b"")
    assert "Content-Encoding" not in client.get("/static/emoji.woff2", headers={"Accept-Encoding": "gzip"}).headers

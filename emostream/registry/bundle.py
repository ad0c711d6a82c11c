"""Puts modules into one, so that another page loads the tag in one request. Pure.

It knows the forms that the page's modules have, and no others: `import { a, b } from "./other.js";` at the top, and
`export` before a class, a function or a constant. Each module keeps its own scope.
"""

import itertools
import re
import string
from collections.abc import Callable

# Comments that begin their line. They are half of some modules, and no browser needs them.
_COMMENTS = re.compile(rb"^[ \t]*(/\*(?:(?!\*/).)*\*/[ \t]*|//[^\n]*)\n", re.DOTALL | re.MULTILINE)
_IMPORT = re.compile(r'^import \{([^}]*)\} from "\./([\w-]+\.js)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:async )?(?:class|function|const) (\w+))", re.MULTILINE)
# A private name of a class: where it is declared, and after a dot.
_PRIVATE = re.compile(r"(^(?:async |get |set )?|\.)#(\w+)", re.MULTILINE)
_BASE = 'const base = new URL("static/", import.meta.url).href;\n'


def without_comments(source: bytes) -> bytes:
    return _COMMENTS.sub(b"", source)


def bundle(name: str, read: Callable[[str], str]) -> str:
    """Return the module `name` and all that it imports as one. `read` returns the text of a module, without comments.

    The addresses in it begin at the folder `static`, beside the bundle.
    """
    parts: dict[str, str] = {}
    _add(name, read, parts)
    return _BASE + "".join(parts.values())


def _add(name: str, read: Callable[[str], str], parts: dict[str, str]) -> None:
    source = read(name)
    for _, other in _IMPORT.findall(source):
        if other not in parts:
            _add(other, read, parts)
    exported = [name for _, name in _EXPORT.findall(source)]
    inner = _IMPORT.sub(lambda found: f"const {{{found[1]}}} = {_variable(found[2])};\n", source)
    inner = _EXPORT.sub(r"\1", inner).replace("import.meta.url", "base")
    if left := re.search(r"^(import|export)\b", inner, flags=re.MULTILINE):
        raise ValueError(f"{name} has an {left[1]} of a form that cannot be put into one module.")
    inner = re.sub(r"^\s+", "", inner, flags=re.MULTILINE)
    inner = _with_short_private_names(inner)
    parts[name] = f"const {_variable(name)} = (() => {{\n{inner}return {{ {', '.join(exported)} }};\n}})();\n"


def _with_short_private_names(source: str) -> str:
    """Rename the private names of a module, which nobody else can use: that saves a fortieth of the compressed size."""
    found = dict.fromkeys(name for _, name in _PRIVATE.findall(source))
    letters = ("".join(word) for length in (1, 2) for word in itertools.product(string.ascii_letters, repeat=length))
    short = dict(zip(found, letters, strict=False))
    return _PRIVATE.sub(lambda use: f"{use[1]}#{short[use[2]]}", source)


def _variable(name: str) -> str:
    return "$" + name.removesuffix(".js").replace("-", "_")

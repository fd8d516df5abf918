"""Links to files of the repository that are no pages (`../src/voxgate/endpoints/asgi.py`, `../deploy`) lead to a page
with that file, as it was when the site was built. Where the pages are read in the repository, the same links lead to
the files themselves.
"""

from __future__ import annotations

import html
import os
import posixpath
import subprocess
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from docutils import nodes
from pygments.lexers import get_lexer_for_filename
from pygments.util import ClassNotFound
from sphinx import addnodes

PREFIX = "repository/"


def files_in(folder: Path) -> list[str]:
    """Those that git knows; where there is no git, all that nobody hides."""
    try:
        command = ["git", "-C", str(folder), "ls-files"]
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        listed = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    return sorted(file for file in listed if not {"__pycache__", ".git"} & set(PurePosixPath(file).parts))


def named(env: Any, docname: str, target: str) -> str | None:
    """The file or folder of the repository that a link means, if it is one and no page."""
    docs = Path(env.srcdir)
    path = Path(os.path.normpath(docs / posixpath.dirname(docname) / target.partition("#")[0]))
    if not target or not path.exists() or not path.is_relative_to(docs.parent):
        return None
    return None if env.path2doc(str(path)) in env.found_docs else path.relative_to(docs.parent).as_posix()


def link(app: Any, doctree: nodes.document) -> None:
    """Before Sphinx makes downloads of such links, or says that they lead nowhere."""
    env = app.env
    for node in list(doctree.findall(lambda n: isinstance(n, addnodes.download_reference | addnodes.pending_xref))):
        if node.get("reftype") != "myst":
            continue
        target = node["reftarget"]
        if node.get("refdomain") == "doc":  # the name of a page, or what would be one: a file of Markdown elsewhere
            target = f"{Path(env.srcdir) / target}.md"
        name = named(env, env.docname, target)
        if name is not None:
            uri = "../" * env.docname.count("/") + PREFIX + app.builder.get_target_uri(name)
            node.replace_self(nodes.reference("", "", *node.children, refuri=uri, internal=True))
            env.voxgate_sources = getattr(env, "voxgate_sources", {})
            env.voxgate_sources.setdefault(env.docname, set()).add(name)


def forget(app: Any, env: Any, docname: str) -> None:
    getattr(env, "voxgate_sources", {}).pop(docname, None)


def pages(app: Any) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Each file that is linked, and each of a folder that is linked."""
    root = Path(app.srcdir).parent
    linked = set().union(*getattr(app.env, "voxgate_sources", {}).values())
    bodies = {}
    for name in linked:
        if (root / name).is_dir():
            inside = files_in(root / name)
            bodies[name] = listing(name, inside)
            linked = linked | {f"{name}/{file}" for file in inside}
    for name in sorted(linked):
        head = f'<h1 class="repository-file"><code>{html.escape(name)}</code></h1>'
        body = bodies.get(name) or text(app, root / name)
        yield PREFIX + name, {"title": name, "body": head + body}, "page.html"


def listing(name: str, files: list[str]) -> str:
    folder = posixpath.basename(name)
    items = "".join(f'<li><a href="{folder}/{file}.html"><code>{html.escape(file)}</code></a></li>' for file in files)
    return f"<ul>{items}</ul>"


def text(app: Any, path: Path) -> str:
    try:
        code = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return "<p>(a file that is no text)</p>"
    try:
        language = get_lexer_for_filename(path.name).aliases[0]
    except (ClassNotFound, IndexError):
        language = "text"
    return str(app.builder.highlighter.highlight_block(code, language, force=True, linenos="inline"))


def setup(app: Any) -> dict[str, bool]:
    app.connect("doctree-read", link, priority=100)
    app.connect("env-purge-doc", forget)
    app.connect("html-collect-pages", pages)
    return {"parallel_read_safe": False}  # what a reader of several has found would have to be merged

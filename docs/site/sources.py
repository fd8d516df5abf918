"""Links to files of the repository that are no pages (`../src/voxgate/app.py`, `../deploy`) lead to a page with that
file, as it was when the site was built. The same links lead to the files themselves where the pages are read in the
repository.
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

DOCS = Path(__file__).parents[1]
ROOT = DOCS.parent
PREFIX = "repository/"


def tracked() -> list[str]:
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files"], capture_output=True, text=True, check=True)
    return listed.stdout.splitlines()


def named(env: Any, docname: str, target: str) -> str | None:
    """The file or folder of the repository that a link means, if it is one and no page."""
    path = Path(os.path.normpath(DOCS / posixpath.dirname(docname) / target.partition("#")[0]))
    if not target or not path.exists() or not path.is_relative_to(ROOT) or env.path2doc(str(path)) in env.found_docs:
        return None
    return path.relative_to(ROOT).as_posix()


def link(app: Any, doctree: nodes.document) -> None:
    """Before Sphinx makes downloads of such links, or says that they lead nowhere."""
    env = app.env
    for node in list(doctree.findall(lambda n: isinstance(n, addnodes.download_reference | addnodes.pending_xref))):
        if node.get("reftype") != "myst":
            continue
        target = node["reftarget"]
        if node.get("refdomain") == "doc":  # the name of a page, or what would be one: a file of Markdown elsewhere
            target = f"{DOCS / target}.md"
        name = named(env, env.docname, target)
        if name is not None:
            uri = "../" * env.docname.count("/") + PREFIX + app.builder.get_target_uri(name)
            reference = nodes.reference("", "", *node.children, refuri=uri, internal=True)
            node.replace_self(reference)
            env.voxgate_sources = getattr(env, "voxgate_sources", {})
            env.voxgate_sources.setdefault(env.docname, set()).add(name)


def forget(app: Any, env: Any, docname: str) -> None:
    getattr(env, "voxgate_sources", {}).pop(docname, None)


def pages(app: Any) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Each file that is linked, and each of a folder that is linked."""
    files = tracked()
    wanted = set().union(*getattr(app.env, "voxgate_sources", {}).values())
    for name in sorted(wanted):
        if (ROOT / name).is_dir():
            wanted |= {file for file in files if file.startswith(f"{name}/")}
    for name in sorted(wanted):
        inside = [file for file in files if file.startswith(f"{name}/")]
        body = listing(app, name, inside) if inside else text(app, name)
        yield (
            PREFIX + name,
            {"title": name, "body": f'<h1 class="repository-file"><code>{html.escape(name)}</code></h1>{body}'},
            "page.html",
        )


def listing(app: Any, name: str, files: list[str]) -> str:
    items = "".join(
        f'<li><a href="{posixpath.basename(name)}/{PurePosixPath(file).relative_to(name)}.html">'
        f"<code>{html.escape(str(PurePosixPath(file).relative_to(name)))}</code></a></li>"
        for file in files
    )
    return f"<ul>{items}</ul>"


def text(app: Any, name: str) -> str:
    try:
        code = (ROOT / name).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return "<p>(a file that is no text)</p>"
    try:
        language = get_lexer_for_filename(name).aliases[0]
    except (ClassNotFound, IndexError):
        language = "text"
    return str(app.builder.highlighter.highlight_block(code, language, force=True, linenos="inline"))


def setup(app: Any) -> dict[str, bool]:
    app.connect("doctree-read", link, priority=100)
    app.connect("env-purge-doc", forget)
    app.connect("html-collect-pages", pages)
    return {"parallel_read_safe": False}  # what a reader of several has found would have to be merged

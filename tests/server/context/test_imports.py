"""The files that a module specifier names, as data: a tree, an importer, a specifier, the files."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from palimpsest_server.context.imports import LANGUAGES, Importer, inside, neighbours, resolve


class Files:
    """A tree in a dict; `asked` has every path that was asked about."""

    def __init__(self, files: dict[str, str] | Sequence[str]) -> None:
        self.files = files if isinstance(files, dict) else dict.fromkeys(files, "")
        self.asked: list[str] = []

    def exists(self, path: str) -> bool:
        self.asked.append(path)
        return path in self.files

    def names(self, folder: str) -> list[str]:
        self.asked.append(folder)
        return [path[len(folder) + 1 :].split("/")[0] for path in self.files if path.startswith(f"{folder}/")]

    def read(self, path: str) -> str:
        return self.files[path]


PYTHON = [
    "/w/shop/__init__.py",
    "/w/shop/models.py",
    "/w/shop/views.py",
    "/w/shop/util/__init__.py",
    "/w/shop/util/text.py",
    "/w/src/acme/core.py",
    "/w/tools/run.py",
    "/w/stubs.pyi",
    "/elsewhere/secret.py",
]
TS = [
    "/w/web/app.ts",
    "/w/web/api.ts",
    "/w/web/ui/index.tsx",
    "/w/web/old.js",
    "/w/web/data.json",
    "/w/shared.d.ts",
]
GO = {
    "/w/go.mod": "// a comment\nmodule example.com/shop\n\ngo 1.22\n",
    "/w/main.go": "",
    "/w/store/store.go": "",
    "/w/store/cart.go": "",
    "/w/store/cart_test.go": "",
}
RUST = ["/w/src/main.rs", "/w/src/shop.rs", "/w/src/shop/cart.rs", "/w/src/store/mod.rs", "/w/src/store/disk.rs"]
C = ["/w/src/main.c", "/w/src/shop.h", "/w/include/list.h", "/w/src/deep/x.c"]
JAVA = [
    "/w/src/main/java/com/acme/App.java",
    "/w/src/main/java/com/acme/Cart.java",
    "/w/src/main/java/com/acme/model/Order.java",
    "/w/src/main/kotlin/com/acme/model/Item.kt",
]

CASES = [
    # Python: absolute from the file's folder upwards, and below src
    ("python", PYTHON, "/w/shop/views.py", "shop.models", ["/w/shop/models.py"]),
    ("python", PYTHON, "/w/shop/views.py", "models", ["/w/shop/models.py"]),
    ("python", PYTHON, "/w/tools/run.py", "shop", ["/w/shop/__init__.py"]),
    ("python", PYTHON, "/w/tools/run.py", "acme.core", ["/w/src/acme/core.py"]),
    ("python", PYTHON, "/w/tools/run.py", "shop.models.Order", ["/w/shop/models.py"]),
    ("python", PYTHON, "/w/tools/run.py", "stubs", ["/w/stubs.pyi"]),
    ("python", PYTHON, "/w/shop/views.py", ".models", ["/w/shop/models.py"]),
    ("python", PYTHON, "/w/shop/views.py", ".", ["/w/shop/__init__.py"]),
    ("python", PYTHON, "/w/shop/util/text.py", "..models", ["/w/shop/models.py"]),
    ("python", PYTHON, "/w/shop/util/text.py", "..", ["/w/shop/__init__.py"]),
    ("python", PYTHON, "/w/shop/views.py", "....elsewhere.secret", []),
    ("python", PYTHON, "/w/shop/views.py", "os.path", []),
    ("python", PYTHON, "/w/shop/views.py", "views", []),
    ("python", PYTHON, "/w/shop/views.py", "", []),
    ("python", PYTHON, "/w/shop/views.py", "../models", []),
    # JavaScript and TypeScript: relative ones only
    ("typescript", TS, "/w/web/app.ts", "./api", ["/w/web/api.ts"]),
    ("typescript", TS, "/w/web/app.ts", "./api.js", ["/w/web/api.ts"]),
    ("typescript", TS, "/w/web/app.ts", "./ui", ["/w/web/ui/index.tsx"]),
    ("typescriptreact", TS, "/w/web/ui/index.tsx", "../old", ["/w/web/old.js"]),
    ("javascript", TS, "/w/web/app.ts", "./old.js", ["/w/web/old.js"]),
    ("javascript", TS, "/w/web/app.ts", "./data.json", ["/w/web/data.json"]),
    ("typescript", TS, "/w/web/app.ts", "../shared", ["/w/shared.d.ts"]),
    ("typescript", TS, "/w/web/app.ts", "react", []),
    ("typescript", TS, "/w/web/app.ts", "../../../etc/passwd", []),
    # Go: by the module of the nearest go.mod
    ("go", GO, "/w/main.go", "example.com/shop/store", ["/w/store/cart.go", "/w/store/store.go"]),
    ("go", GO, "/w/store/cart.go", "example.com/shop", ["/w/main.go"]),
    ("go", GO, "/w/main.go", "example.com/shopping", []),
    ("go", GO, "/w/main.go", "fmt", []),
    # Rust
    ("rust", RUST, "/w/src/main.rs", "shop", ["/w/src/shop.rs"]),
    ("rust", RUST, "/w/src/main.rs", "crate::shop::cart::Cart", ["/w/src/shop/cart.rs"]),
    ("rust", RUST, "/w/src/main.rs", "crate::shop::{Shop, cart}", ["/w/src/shop.rs"]),
    ("rust", RUST, "/w/src/shop.rs", "self::cart::Cart", ["/w/src/shop/cart.rs"]),
    ("rust", RUST, "/w/src/shop/cart.rs", "super::Shop", ["/w/src/shop.rs"]),
    ("rust", RUST, "/w/src/shop/cart.rs", "crate::store::disk", ["/w/src/store/disk.rs"]),
    ("rust", RUST, "/w/src/store/disk.rs", "super::Store", ["/w/src/store/mod.rs"]),
    ("rust", RUST, "/w/src/shop.rs", "crate::Config", ["/w/src/main.rs"]),
    ("rust", RUST, "/w/src/shop.rs", "super::Config", ["/w/src/main.rs"]),
    ("rust", RUST, "/w/src/store/mod.rs", "mod disk;", ["/w/src/store/disk.rs"]),
    ("rust", RUST, "/w/src/main.rs", "std::fs", []),
    ("rust", RUST, "/w/src/shop.rs", "super::super::super::etc", []),
    # C and C++
    ("c", C, "/w/src/main.c", '"shop.h"', ["/w/src/shop.h"]),
    ("c", C, "/w/src/main.c", "list.h", ["/w/include/list.h"]),
    ("cpp", C, "/w/src/deep/x.c", '"../shop.h"', ["/w/src/shop.h"]),
    ("c", C, "/w/src/main.c", "<shop.h>", []),
    ("c", C, "/w/src/main.c", '"/etc/passwd"', []),
    # Java and Kotlin
    (
        "java",
        JAVA,
        "/w/src/main/java/com/acme/App.java",
        "com.acme.model.Order",
        ["/w/src/main/java/com/acme/model/Order.java"],
    ),
    (
        "java",
        JAVA,
        "/w/src/main/java/com/acme/App.java",
        "import static com.acme.model.Order.Line.MAX;",
        ["/w/src/main/java/com/acme/model/Order.java"],
    ),
    (
        "kotlin",
        JAVA,
        "/w/src/main/java/com/acme/App.java",
        "com.acme.model.Item",
        ["/w/src/main/kotlin/com/acme/model/Item.kt"],
    ),
    (
        "java",
        JAVA,
        "/w/src/main/java/com/acme/App.java",
        "com.acme.model.*",
        ["/w/src/main/java/com/acme/model/Order.java"],
    ),
    ("java", JAVA, "/w/src/main/java/com/acme/App.java", "java.util.List", []),
    ("cobol", JAVA, "/w/src/main/java/com/acme/App.java", "com.acme.model.Order", []),
]


@pytest.mark.parametrize(("language", "files", "path", "specifier", "expected"), CASES)
def test_a_specifier_names_files(language, files, path, specifier, expected) -> None:
    assert list(resolve(specifier, Importer(path, language, ["/w"]), Files(files))) == expected


def test_submodules_that_are_named_are_found_before_their_package() -> None:
    importer = Importer("/w/tools/run.py", "python", ["/w"], {"models", "Order", "views"})
    assert list(resolve("shop", importer, Files(PYTHON))) == [
        "/w/shop/models.py",
        "/w/shop/views.py",
        "/w/shop/__init__.py",
    ]


def test_a_package_without_init_is_one() -> None:
    importer = Importer("/w/run.py", "python", ["/w"], {"text"})
    assert list(resolve("names", importer, Files(["/w/names/text.py"]))) == ["/w/names/text.py"]


@pytest.mark.parametrize(
    ("language", "files", "path", "expected"),
    [
        ("go", GO, "/w/store/store.go", ["/w/store/cart.go"]),
        ("java", JAVA, "/w/src/main/java/com/acme/App.java", ["/w/src/main/java/com/acme/Cart.java"]),
        ("python", PYTHON, "/w/shop/models.py", []),
    ],
)
def test_files_of_the_same_package_need_no_import(language, files, path, expected) -> None:
    assert list(neighbours(Importer(path, language, ["/w"]), Files(files))) == expected


def test_a_file_outside_the_workspace_imports_nothing() -> None:
    for language in LANGUAGES:
        assert resolve(".secret", Importer("/elsewhere/a.py", language, ["/w"]), Files(PYTHON)) == ()


def test_a_package_of_a_thousand_files_is_not_all_looked_at() -> None:
    files = {"/w/go.mod": "module m\n"} | {f"/w/p/f{i}.go": "" for i in range(1000)}
    assert len(resolve("m/p", Importer("/w/main.go", "go", ["/w"]), Files(files))) == 16


class Everything:
    """A tree in which every file exists."""

    def exists(self, path: str) -> bool:
        return True

    def names(self, folder: str) -> list[str]:
        return ["a.py", "a.go", "..", "a.java"]

    def read(self, path: str) -> str:
        return "module a/..\n"


SPECIFIERS = st.text('./\\:ab*"<>{}~ \n\0$%', max_size=20) | st.sampled_from(
    [specifier for _, _, _, specifier, _ in CASES] + ["../" * 9 + "etc/passwd", "super::" * 9 + "a", "..........a"]
)


@example("c", ".", "/w/c.x")  # the folder itself
@given(st.sampled_from(sorted(LANGUAGES)), SPECIFIERS, st.sampled_from(["/w/a/b/c.x", "/w/c.x", "/v/c.x"]))
def test_nothing_outside_the_workspace_is_ever_named(language, specifier, path) -> None:
    importer = Importer(path, language, ["/w", "/w2/"], {"a", ".."})
    for found in resolve(specifier, importer, Everything()):
        assert found.startswith(("/w/", "/w2/"))
        assert ".." not in found.split("/")
        assert found == posixpath.normpath(found)


@pytest.mark.parametrize(
    ("path", "folders", "expected"),
    [
        ("/w/a", ["/w"], True),
        ("/w", ["/w/"], True),
        ("/wide/a", ["/w"], False),
        ("/w/../a", ["/w"], False),
        ("/a", ["/"], True),
        ("/a", [], False),
    ],
)
def test_inside(path, folders, expected) -> None:
    assert inside(path, folders) is expected

"""VS Code's processes, and ways to talk to two of them: to the page of its workbench, and to its extension host."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import threading
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import psutil
from playwright.sync_api import Page, sync_playwright

from editors.editor import until

HERE = Path(__file__).parent
SIZE = (1200, 700)
_CALL_SECONDS = 150  # a call has a few waits of Playwright in it, which end after 30 s each
_CLOSE_SECONDS = 30
T = TypeVar("T")


class Screen:
    """The page, for any thread: Playwright has an event loop of its own, which must not meet those of other tests."""

    def __init__(self, url: str, executable: Path) -> None:
        self._thread = ThreadPoolExecutor(1, "playwright")
        self._url, self._executable = url, executable
        self._deaf = False
        self._thread.submit(self._open).result()

    def do(self, what: Callable[[Page], T]) -> T:
        """On the page's thread. A page that does not answer fails this call and, at once, all that follow."""
        if self._deaf:
            raise AssertionError("the page did not answer before")
        try:
            return self._thread.submit(what, self._page).result(_CALL_SECONDS)
        except TimeoutError:
            self._deaf = True
            raise AssertionError(f"the page has not answered for {_CALL_SECONDS} s") from None

    def evaluate(self, script: str, argument: Any = None) -> Any:
        """JavaScript in the page."""
        return self.do(lambda page: page.evaluate(script, argument))

    def close(self) -> None:
        """The page, the browser, the thread."""

        def end() -> None:
            self._browser.close()
            self._playwright.stop()

        ended = self._thread.submit(end)
        try:
            ended.result(_CLOSE_SECONDS)
        except TimeoutError:
            # The browser does not answer, and a call before this one may wait for it, too: without it, all of them fail.
            for process in psutil.Process().children(recursive=True):
                if process.name().startswith("chrom"):
                    process.kill()
            with contextlib.suppress(Exception):
                ended.result(_CLOSE_SECONDS)
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _open(self) -> None:
        self._playwright = sync_playwright().start()
        self._browser = self._playwright.chromium.launch(
            executable_path=self._executable, chromium_sandbox=False, args=["--disable-gpu"]
        )
        width, height = SIZE
        self._page = self._browser.new_page(viewport={"width": width, "height": height})
        self._page.add_init_script(path=HERE / "page.js")
        self._page.goto(self._url)
        self._page.wait_for_selector(".monaco-workbench .part.editor", timeout=60_000)


class Probe:
    """JavaScript in the extension host, which may still be starting."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(60)

        def connected() -> bool:
            with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):  # it is there before it is listened to
                self._socket.connect(str(path))
                return True
            return False

        until(connected, "the extension host is there", 60)
        self._lines = self._socket.makefile("rw", encoding="utf-8")
        self._lock = threading.Lock()

    def run(self, code: str, argument: Any = None) -> Any:
        """The body of an async function of `vscode`, `kept` (an object that stays), and `argument`."""
        with self._lock:
            self._lines.write(json.dumps({"code": code, "argument": argument}) + "\n")
            self._lines.flush()
            answer = json.loads(self._lines.readline())
        if "error" in answer:
            raise RuntimeError(f"in the extension host: {answer['error']}")
        return answer["value"]

    def close(self) -> None:
        """Its end of the socket."""
        self._lines.close()
        self._socket.close()


@contextlib.contextmanager
def serving(code: list[str], environment: dict[str, str], log: Path) -> Iterator[str]:
    """The address of a server that runs meanwhile."""
    options = ["--auth", "none", "--bind-addr", "127.0.0.1:0", "--disable-telemetry", "--disable-update-check"]
    options += ["--disable-workspace-trust", "--disable-getting-started-override"]
    with log.open("wb") as into:
        process = subprocess.Popen(
            [*code, *options],
            env=environment,
            stdout=into,
            stderr=into,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    try:

        def address() -> str:
            if process.poll() is not None:
                raise RuntimeError(f"code-server ended: {log.read_text('utf-8')[-1000:]}")
            found = re.search(r"listening on (http://[\d.]+:\d+/)", log.read_text("utf-8"))
            return found[1] if found else ""

        yield until(address, "code-server listens", 60)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def packed(source: Path, vsix: Path) -> Path:
    """An extension without a build, as a package."""
    manifest = json.loads((source / "package.json").read_text("utf-8"))
    name, publisher, version = manifest["name"], manifest["publisher"], manifest["version"]
    identity = f'<Identity Language="en-US" Id="{name}" Version="{version}" Publisher="{publisher}"/>'
    with zipfile.ZipFile(vsix, "w") as package:
        for file in source.iterdir():
            package.write(file, f"extension/{file.name}")
        package.writestr(
            "extension.vsixmanifest",
            '<?xml version="1.0" encoding="utf-8"?><PackageManifest Version="2.0.0"'
            ' xmlns="http://schemas.microsoft.com/developer/vsx-schema/2011">'
            f"<Metadata>{identity}<DisplayName>{name}</DisplayName><Description>{name}</Description></Metadata>"
            '<Installation><InstallationTarget Id="Microsoft.VisualStudio.Code"/></Installation>'
            '<Assets><Asset Type="Microsoft.VisualStudio.Code.Manifest" Path="extension/package.json"/></Assets>'
            "</PackageManifest>",
        )
        package.writestr(
            "[Content_Types].xml",
            '<?xml version="1.0" encoding="utf-8"?>'
            '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
            '<Default Extension="json" ContentType="application/json"/>'
            '<Default Extension="js" ContentType="application/javascript"/>'
            '<Default Extension="vsixmanifest" ContentType="text/xml"/></Types>',
        )
    return vsix

"""Keep files from the model: those that hold secrets, that git ignores, that the user excludes.

Knows paths, nothing of documents or settings.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote

from palimpsest_server.context.gitignore import GitIgnore
from palimpsest_server.context.redact import REDACTED, looks_secret, redacted
from palimpsest_server.documents.folders import covering

if TYPE_CHECKING:
    from _typeshed import StrPath

__all__ = ["REDACTED", "SECRETS", "Ignore", "looks_secret", "redacted", "secret_in_uri"]

# A name, or with `/**` a folder and all that is in it; in lower case.
SECRETS: tuple[str, ...] = (
    *(".env", ".env.*", "*.env", ".envrc", ".netrc", "_netrc", ".npmrc", ".pypirc", ".pgpass", ".htpasswd"),
    *(".git-credentials", ".my.cnf", ".mylogin.cnf", ".s3cfg", ".boto", "rclone.conf", ".terraformrc", "pgpass.conf"),
    *(".dockercfg", ".dockerconfigjson", "kubeconfig", "kubeconfig.*", "*.kubeconfig", ".vault-token"),
    *(".vault_pass*", ".vault-pass*", "vault_pass*", "vault-pass*"),
    *("*.pem", "*.key", "*.p8", "*.p12", "*.pfx", "*.jks", "*.keystore", "*.kdbx", "*.kdb", "*.ppk", "*.asc", "*.gpg"),
    *("id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*"),
    *("credentials", "credentials.*", "*credentials.json", "*credentials.xml"),
    *("secret.*", "secrets.*", "*.secrets"),
    *("*secret.json", "*secret.yaml", "*secret.yml", "*secret.toml", "*secrets.json", "*secrets.yaml", "*secrets.yml"),
    *("*secrets.toml", "service-account*.json", "service_account*.json", "serviceaccount*.json"),
    *("*.tfstate", "*.tfstate.*", "*.tfvars", "*.tfvars.json", "*.ovpn", "*.mobileprovision"),
    *(".config/gh/hosts.yml", ".config/rclone/**", ".config/gcloud/**", ".docker/config.json"),
    *(".aws/**", ".ssh/**", ".gnupg/**", ".kube/**", ".azure/**"),
)
_NO_SECRETS = ("*.example", "*.sample", "*.template", "*.dist", "*.pub", "*.example.*", "*.sample.*", "*.template.*")
# Of these names code is about secrets (`credentials.py`, `id_rsa_utils.py`); `secrets.py` often is the place for them.
_ABOUT_SECRETS = (
    "credentials.*",
    "secret.*",
    "id_rsa*",
    "id_dsa*",
    "id_ecdsa*",
    "id_ed25519*",
    "vault_pass*",
    "vault-pass*",
)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:(?://[^/]*)?")
_CODE_SUFFIXES = (
    *(".c", ".cc", ".cpp", ".cs", ".go", ".h", ".java", ".js", ".jsx", ".kt", ".md", ".php", ".py", ".rb", ".rs"),
    *(".scala", ".swift", ".ts", ".tsx"),
)


class Ignore:
    """The files to keep from the model in some workspace folders."""

    def __init__(self, folders: Sequence[StrPath], extra_globs: Sequence[str] = ()) -> None:
        """Take the workspace's folders. extra_globs: the user's, as in `palimpsest.ignore`."""
        self._folders = tuple(Path(os.path.abspath(folder)) for folder in folders)
        self._real_folders = tuple(Path(os.path.realpath(folder)) for folder in self._folders)
        self._extra = tuple(extra_globs)
        self._git = GitIgnore((*self._folders, *self._real_folders))

    def reason(self, path: StrPath) -> str:
        """Return why a file is not for the model, or "". A link is judged by its own name and by its target's.

        Never raises. A file outside of all folders may be judged, too; a link from inside of them to there is refused.
        """
        try:
            lexical, real = Path(os.path.abspath(path)), Path(os.path.realpath(path))
        except (OSError, ValueError):
            return "its path cannot be read"
        if glob := self.covering(self._extra, lexical):
            return f"palimpsest.ignore has {glob}"
        for each in dict.fromkeys((lexical, real)):
            if found := _secret(each):
                return found
        if _inside(lexical, self._folders) and not _inside(real, (*self._folders, *self._real_folders)):
            return "it lies outside of the workspace"
        by = next((found for each in dict.fromkeys((lexical, real)) if (found := self._git.ignorer(each))), "")
        return f"it is ignored by {by}" if by else ""

    def reason_of(self, place: str) -> str:
        """Return why a place is not for the model, or "": an absolute path, or a URI, of which the name alone counts."""
        return self.reason(place) if os.path.isabs(place) else secret_in_uri(place)

    def covering(self, globs: Sequence[str], path: Path) -> str:
        """Return the first of the globs that covers a path, or "". Links are followed on both sides."""
        try:
            paths = dict.fromkeys((path, Path(os.path.realpath(path))))
        except (OSError, ValueError):
            paths = dict.fromkeys((path,))
        for glob in globs:
            if any(covering((glob,), each, self._folders, real=real) for each in paths for real in (False, True)):
                return glob
        return ""


def _inside(path: Path, folders: Sequence[Path]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


def secret_in_uri(uri: str) -> str:
    """Return why a document is not for the model by the name in its URI, or "".

    Whatever the scheme is, a name is one: `untitled:/home/me/.env`, `vscode-vfs://github/me/it/.env`. A client may have
    written `#` or `?` for itself, in a path, or before something else, so the URI is read each way.
    """
    whole = unquote(_SCHEME.sub("", uri, count=1)).replace("\\", "/")
    readings = (whole, whole.partition("#")[0], whole.partition("?")[0])
    return next((found for each in dict.fromkeys(readings) if (found := _secret(PurePosixPath(each)))), "")


def _secret(path: PurePath) -> str:
    name, parents = path.name.lower(), "/".join(path.parent.parts).lower()
    harmless = any(fnmatchcase(name, glob) for glob in _NO_SECRETS)
    code = path.suffix.lower() in _CODE_SUFFIXES
    for glob in SECRETS:
        folder, slash, last = glob.rpartition("/")
        if slash and last == "**":
            hit = f"/{folder}/" in f"{parents}/"
        elif slash:
            hit = f"{parents}/{name}".endswith(f"/{glob}")
        else:
            hit = not harmless and not (code and glob in _ABOUT_SECRETS) and fnmatchcase(name, glob)
        if hit:
            return f"its name says that it holds secrets ({glob})"
    return ""

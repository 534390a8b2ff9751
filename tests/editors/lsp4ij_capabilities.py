"""The capabilities of LSP4IJ that Palimpsest reads or could read; taken from its `ClientCapabilitiesFactory`."""

from __future__ import annotations

from typing import Any

DYNAMIC = {"dynamicRegistration": True}
CAPABILITIES: dict[str, Any] = {
    "general": {"staleRequestSupport": {"cancel": True, "retryOnContentModified": []}, "positionEncodings": ["utf-16"]},
    "workspace": {
        "applyEdit": True,
        "configuration": True,
        "workspaceFolders": True,
        "symbol": {},
        "executeCommand": DYNAMIC,
        "workspaceEdit": {"documentChanges": True, "resourceOperations": ["create", "delete", "rename"]},
        "didChangeWatchedFiles": DYNAMIC,
        "didChangeConfiguration": DYNAMIC,
        "fileOperations": {**DYNAMIC, "didCreate": True, "didDelete": True, "willRename": True, "didRename": True},
        "codeLens": {"refreshSupport": True},
        "inlayHint": {"refreshSupport": True},
        "semanticTokens": {"refreshSupport": True},
        "diagnostics": {"refreshSupport": True},
    },
    "textDocument": {
        "synchronization": {"willSave": True, "willSaveWaitUntil": True, "didSave": True},
        "publishDiagnostics": {"dataSupport": True, "relatedInformation": True, "codeDescriptionSupport": True},
        "diagnostic": {**DYNAMIC, "relatedDocumentSupport": True},
        "codeAction": {
            **DYNAMIC,
            "dataSupport": True,
            "resolveSupport": {"properties": ["edit"]},
            "codeActionLiteralSupport": {
                "codeActionKind": {
                    "valueSet": [
                        "quickfix",
                        "refactor",
                        "refactor.extract",
                        "refactor.inline",
                        "refactor.rewrite",
                        "source",
                        "source.organizeImports",
                    ]
                }
            },
        },
        "completion": {
            **DYNAMIC,
            "completionItem": {
                "snippetSupport": True,
                "deprecatedSupport": True,
                "labelDetailsSupport": True,
                "documentationFormat": ["markdown", "plaintext"],
                "insertTextModeSupport": {"valueSet": [1, 2]},
                "resolveSupport": {"properties": ["documentation", "detail", "additionalTextEdits"]},
            },
            "completionList": {"itemDefaults": ["editRange"]},
        },
        "inlineCompletion": DYNAMIC,
    },
    "window": {
        "workDoneProgress": True,
        "showDocument": {"support": True},
        "showMessage": {"messageActionItem": {"additionalPropertiesSupport": False}},
    },
}

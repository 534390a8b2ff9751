"""`palimpsest/status`, as a notification and as a request."""

FIELDS = ("state", "reason", "model", "device", "lastEmpty", "lastDoubt", "paused", "counters")


async def test_the_status_is_told_at_the_start_and_can_be_asked_for(connect):
    editor = await connect()
    await editor.until(lambda: editor.statuses)
    asked = await editor.status()
    assert asked._fields == FIELDS
    assert (asked.state, asked.model, asked.device, asked.lastEmpty) == ("ready", "scripted", "none", None)
    assert editor.statuses[-1] == asked
    assert asked.counters._asdict() == dict.fromkeys(asked.counters._fields, 0)


async def test_busy_while_denoising_and_ready_after(connect):
    editor = await connect({"script": ["x"], "steps": 2, "step_seconds": 0.1})
    editor.open("")
    assert await editor.ask(0, 0) == "x"
    await editor.until(lambda: [s.state for s in editor.statuses][-2:] == ["busy", "ready"])


async def test_every_empty_answer_is_told_with_its_reason(connect):
    editor = await connect({"script": [""]})
    editor.open("")
    assert await editor.ask(0, 0) is None
    await editor.until(lambda: editor.statuses and editor.statuses[-1].lastEmpty)
    empty = editor.statuses[-1].lastEmpty
    assert (empty.request, empty.reason) == ("textDocument/inlineCompletion", "the script has nothing here")


async def test_enable_false_is_the_state_paused(connect):
    editor = await connect(settings={"enable": False})
    await editor.until(lambda: editor.statuses)
    assert (editor.statuses[-1].state, editor.statuses[-1].reason) == (
        "paused",
        "the setting palimpsest.enable is false",
    )

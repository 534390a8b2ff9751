// In the page of VS Code's workbench: what is painted, and when. Times are those of performance.now().

(() => {
  const texts = (selector) => [...document.querySelectorAll(selector)].map((each) => each.textContent);
  const ghost = () => {
    const inline = texts(".view-lines .ghost-text-decoration, .view-lines .ghost-text-decoration-preview").join("");
    const lines = texts(".view-zones .suggest-preview-text .view-line");
    return [inline, ...lines].join("\n").replaceAll("\u00a0", " ");
  };
  const unescaped = (css) =>
    css
      .slice(1, -1)
      .replace(/\\(?:([0-9a-f]{1,6}) ?|(.))/gi, (_, code, char) => char ?? String.fromCodePoint(parseInt(code, 16)));
  const preview = () =>
    [...document.querySelectorAll(".monaco-editor.focused .view-lines [class*=ced-]")]
      .flatMap((each) => ["::before", "::after"].map((which) => getComputedStyle(each, which).content))
      .filter((content) => content.startsWith('"'))
      .map(unescaped)
      .join("\n")
      .replaceAll("\u00a0", " ");
  // ghosts: one entry for each frame in which it reads otherwise; keys: those that were pressed; messages: popped up.
  const seen = { ghost, preview, ghosts: [], keys: [], messages: [] };
  const noted = new WeakSet();
  let frame = 0;

  const look = () => {
    frame = 0;
    const text = ghost();
    if (text !== (seen.ghosts.at(-1)?.text ?? "")) seen.ghosts.push({ at: performance.now(), text });
    for (const item of document.querySelectorAll(".notification-list-item")) {
      const message = item.querySelector(".notification-list-item-message")?.textContent;
      if (!message || noted.has(item)) continue;
      noted.add(item);
      const progress = item.querySelector(".monaco-progress-container.active") !== null;
      seen.messages.push({ at: performance.now(), text: message, progress });
    }
  };
  document.addEventListener("DOMContentLoaded", () => {
    new MutationObserver(() => (frame ||= requestAnimationFrame(look))).observe(document.body, {
      childList: true,
      subtree: true,
      characterData: true,
    });
  });
  document.addEventListener("keydown", (event) => seen.keys.push({ at: performance.now(), key: event.key }), true);
  window.seen = seen;
})();

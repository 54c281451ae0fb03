// The home page: write, read, and see what comes.
import { api } from "./api.js";
import { composer } from "./compose.js";
import { busy, el, hidden, icon, tell } from "./dom.js";
import { listen } from "./live.js";
import { pullToRefresh } from "./pull.js";
import { timeline } from "./timeline.js";

/** Shows the feed on `page`; returns how to leave. */
export function showFeed(page, me) {
  const waiting = new Map();
  const feed = timeline({
    read: api.feed, me, label: "Your feed",
    empty: "Nothing here yet. Write something, or find somebody to follow by user name.",
  });
  const live = el("span", { className: "state" });
  const again = el("button", { type: "button", className: "round", id: "refresh" }, icon("turn"), hidden("Refresh"));
  const pill = el("button", { type: "button", className: "button pill", hidden: true, on: { click: showWaiting } });
  const announce = el("p", { className: "hidden", role: "status" });

  /** New posts flow in for a reader at the top who is not busy with one; others are asked:
   *  what somebody is about to press must not move. */
  function arrived(items) {
    for (const item of items) if (!feed.has(item)) waiting.set(item.id, item);
    if (waiting.size === 0) return;
    const isBusy = feed.list.matches(":hover") || feed.list.contains(document.activeElement);
    if (scrollY < 40 && !isBusy) return flush();
    pill.textContent = posts(waiting.size) + " · show";
    pill.hidden = false;
    announce.textContent = posts(waiting.size) + " above";
  }

  function flush() {
    const items = [...waiting.values()].sort((a, b) => (a.created_at < b.created_at ? 1 : -1));
    waiting.clear();
    pill.hidden = true;
    const count = feed.prepend(items);
    if (count > 0) announce.textContent = posts(count);
  }

  function showWaiting() {
    flush();
    scrollTo({ top: 0 });
    const first = feed.list.querySelector(".tweet");
    if (first) first.focus({ preventScroll: true });
  }

  async function refresh() {
    const items = await feed.newer();
    if (items === null) {
      waiting.clear();
      pill.hidden = true;
      return feed.restart();
    }
    items.forEach((item) => waiting.set(item.id, item));
    flush();
  }

  const catchUp = async () => {
    try {
      const items = await feed.newer();
      if (items === null) feed.restart();
      else arrived(items);
    } catch { /* The next event or refresh brings it. */ }
  };

  again.addEventListener("click", () => busy(again, refresh));
  page.replaceChildren(
    el("div", { className: "top" }, el("h1", { tabIndex: -1 }, "Home"), live, again),
    composer(() => refresh().catch((error) => tell(error.message))), announce, pill, feed.box);
  const stopPulling = pullToRefresh(page, () => refresh().catch((error) => tell(error.message)));
  const first = feed.older();
  let stopListening = () => {};
  let isGone = false;
  first.then(() => {
    if (isGone) return;
    stopListening = listen({
      entry: (item) => arrived([item]), catchUp,
      state: (isOn) => {
        live.classList.toggle("on", isOn);
        live.textContent = isOn ? "Live" : "Connecting";
      },
    });
  });
  return () => {
    isGone = true;
    stopPulling();
    stopListening();
    feed.close();
  };
}

const posts = (count) => (count === 1 ? "1 new post" : count + " new posts");

// A list of tweets without an end: a feed or what somebody has posted. It knows the cursors of
// the API and shows each tweet once, whichever way it comes.
import { el } from "./dom.js";
import { tweetCard } from "./tweet.js";

/** `read(cursors)` gives a page; its items are tweets, or feed entries that hold one.
 *  `empty`: what to show when there is nothing. */
export function timeline({ read, me, label, empty }) {
  const shown = new Map();
  let newest = null;
  let oldest = null;
  let isLoading = false;
  let isComplete = false;
  const list = el("div", { className: "feed", role: "feed", "aria-label": label, "aria-busy": "false" });
  const more = el("div", { className: "more", role: "status" });
  const box = el("div", {}, list, more);
  list.addEventListener("keydown", walk);

  // Half a window before its end the list goes on by itself; the button is for those whose
  // browser does not tell, and for another try.
  const watcher = new IntersectionObserver((seen) => {
    if (seen.some((entry) => entry.isIntersecting)) older();
  }, { rootMargin: "600px" });
  watcher.observe(more);

  function card(item) {
    const tweet = item.tweet || item;
    if (shown.has(tweet.id)) return null;
    const made = tweetCard(tweet, { me, removed: () => { made.remove(); finish(); } });
    shown.set(tweet.id, made);
    return made;
  }

  async function older() {
    if (isLoading || isComplete) return;
    isLoading = true;
    list.setAttribute("aria-busy", "true");
    more.textContent = "Loading …";
    try {
      const page = await read(oldest ? { created_at__lt: oldest } : {});
      list.append(...page.results.map(card).filter(Boolean));
      note(page.results);
      isComplete = !page.has_next_page;
      finish();
    } catch (error) {
      offer(error.message);
    }
    isLoading = false;
    list.setAttribute("aria-busy", "false");
    // What came may not fill the window; then the watcher has nothing new to tell.
    if (!isComplete && more.firstChild === null && isNear()) older();
  }

  const isNear = () => box.isConnected && more.getBoundingClientRect().top < innerHeight + 600;

  function finish() {
    if (!isComplete) more.replaceChildren();
    else if (list.querySelector(".tweet")) more.textContent = "That is all.";
    else more.replaceChildren(el("p", { className: "empty" }, empty));
  }

  function offer(message) {
    const button = el("button", { type: "button", className: "button quiet", on: { click: older } }, "Try again");
    more.replaceChildren(el("p", { className: "empty" }, message, " ", button));
  }

  function note(items) {
    for (const { created_at: at } of items) {
      if (!newest || at > newest) newest = at;
      if (!oldest || at < oldest) oldest = at;
    }
  }

  /** Puts newer items (newest first) on top; how many were not there yet. */
  function prepend(items) {
    note(items);
    const cards = items.map(card).filter(Boolean);
    cards.forEach((made) => made.classList.add("fresh"));
    list.prepend(...cards);
    if (isComplete) finish();
    return cards.length;
  }

  /** What has become visible since the newest item, newest first; null when so much that it
   *  is better to begin again. */
  async function newer() {
    if (!newest) return (await read({})).results;
    const page = await read({ created_at__gt: newest });
    return page.has_next_page ? null : page.results;
  }

  function restart() {
    shown.clear();
    list.replaceChildren();
    [newest, oldest, isComplete] = [null, null, false];
    return older();
  }

  /** Page Down and Page Up go from tweet to tweet, as the role asks for. */
  function walk(event) {
    const step = { PageDown: "nextElementSibling", PageUp: "previousElementSibling" }[event.key];
    const here = event.target.closest(".tweet");
    if (!step || !here || !here[step]) return;
    event.preventDefault();
    here[step].focus();
  }

  const has = (item) => shown.has((item.tweet || item).id);

  return { box, list, has, older, newer, prepend, restart, close: () => watcher.disconnect() };
}

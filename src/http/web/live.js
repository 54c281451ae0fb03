// New feed entries as they come: server-sent events. The browser reconnects by itself after a
// break and says which entry it has seen last; this looks after the rest.

const FIRST_WAIT = 2000;
const LONGEST_WAIT = 60000;

/** Listens until `close()`. `entry(item)`: one new entry. `catchUp()`: some may have been missed.
 *  `state(isOn)`: connected or not. A window that nobody looks at holds no stream. */
export function listen({ entry, catchUp, state }) {
  let source = null;
  let timer = 0;
  let wait = FIRST_WAIT;

  function open() {
    clearTimeout(timer);
    if (source || document.hidden) return;
    source = new EventSource("/api/newsfeeds/stream/");
    source.addEventListener("open", () => {
      wait = FIRST_WAIT;
      state(true);
      // Between the page and the first event something may have been posted.
      catchUp();
    });
    source.addEventListener("newsfeed", (event) => entry(JSON.parse(event.data)));
    source.addEventListener("gap", catchUp);
    source.addEventListener("error", () => {
      state(false);
      // After a refusal, such as while the server is down behind a proxy, a browser gives up.
      if (source && source.readyState === EventSource.CLOSED) {
        close();
        timer = setTimeout(open, wait);
        wait = Math.min(wait * 2, LONGEST_WAIT);
      }
    });
  }

  function close() {
    clearTimeout(timer);
    if (source) source.close();
    source = null;
    state(false);
  }

  const look = () => (document.hidden ? close() : open());
  document.addEventListener("visibilitychange", look);
  open();
  return () => {
    document.removeEventListener("visibilitychange", look);
    close();
  };
}

// Pulling the page down at its top to refresh it, on touch screens. Everybody else has a button.
import { el, icon } from "./dom.js";

const FAR_ENOUGH = 70;
const FARTHEST = 110;

/** Puts an indicator on top of `area` and watches; `refresh` returns a promise. */
export function pullToRefresh(area, refresh) {
  const indicator = el("div", { className: "pull", "aria-hidden": "true" }, icon("turn"));
  area.prepend(indicator);
  let start = null;
  let isBusy = false;

  const height = (pixels) => { indicator.style.height = pixels + "px"; };
  const pulled = (event) => Math.min((event.touches[0].clientY - start) / 2, FARTHEST);

  const begin = (event) => {
    start = scrollY <= 0 && event.touches.length === 1 && !isBusy ? event.touches[0].clientY : null;
  };
  const move = (event) => {
    if (start === null) return;
    if (scrollY > 0) {
      start = null;
      return height(0);
    }
    height(Math.max(pulled(event), 0));
  };
  const end = async () => {
    if (start === null) return;
    start = null;
    if (indicator.offsetHeight < FAR_ENOUGH) return height(0);
    isBusy = true;
    height(48);
    indicator.firstChild.classList.add("spin");
    await refresh();
    indicator.firstChild.classList.remove("spin");
    height(0);
    isBusy = false;
  };

  const passive = { passive: true };
  document.addEventListener("touchstart", begin, passive);
  document.addEventListener("touchmove", move, passive);
  document.addEventListener("touchend", end, passive);
  document.addEventListener("touchcancel", end, passive);
  return () => {
    document.removeEventListener("touchstart", begin);
    document.removeEventListener("touchmove", move);
    document.removeEventListener("touchend", end);
    document.removeEventListener("touchcancel", end);
    indicator.remove();
  };
}

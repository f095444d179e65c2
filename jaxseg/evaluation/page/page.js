"use strict";
const root = document.documentElement;
const button = document.querySelector("#theme");
const system = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
const told = () => { button.textContent = isDark() ? "Light" : "Dark"; };
button.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; told(); });
system.addEventListener("change", told);
button.hidden = false;
told();

// The slider moves the border by keyboard; pointing at the picture moves the slider.
for (const tile of document.querySelectorAll(".tile")) {
  const swipe = tile.querySelector(".swipe");
  const slider = tile.querySelector("input");
  const move = () => swipe.style.setProperty("--at", `${slider.value}%`);
  const point = (event) => {
    const box = swipe.getBoundingClientRect();
    slider.value = (100 * (event.clientX - box.left)) / box.width;
    move();
  };
  slider.addEventListener("input", move);
  swipe.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    swipe.setPointerCapture(event.pointerId);
    point(event);
  });
  swipe.addEventListener("pointermove", (event) => {
    if (swipe.hasPointerCapture(event.pointerId)) point(event);
  });
}

"use strict";
for (const head of document.querySelectorAll("table.sortable thead th")) {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...head.childNodes);
  head.append(button);
  button.addEventListener("click", () => {
    const row = head.parentElement, body = head.closest("table").tBodies[0];
    const column = [...row.children].indexOf(head), down = head.getAttribute("aria-sort") === "ascending";
    for (const other of row.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = (line) => line.children[column].dataset.value ?? line.children[column].textContent.trim();
    const order = (a, b) => {
      const [first, second] = [key(a), key(b)];
      if (first === "" || second === "") return (first === "") - (second === "");
      const numbers = Number(first) - Number(second);
      const sign = Number.isNaN(numbers) ? first.localeCompare(second, "en") : numbers;
      return down ? -sign : sign;
    };
    body.append(...[...body.rows].sort(order));
  });
}

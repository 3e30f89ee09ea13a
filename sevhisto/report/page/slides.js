// what the list is filtered by goes along to the viewer, whose "next" stays among the same sections
(() => {
  const filter = document.querySelector(".filter");
  const links = [...document.querySelectorAll("a.frame")];
  const pass = () => {
    const asked = [...filter.querySelectorAll("input, select")].filter((field) => field.value.trim());
    for (const link of links) {
      const found = new URLSearchParams([["section", link.closest("figure").id], ...asked.map((field) => [field.name, field.value.trim()])]);
      link.hash = found;
    }
  };
  filter.addEventListener("input", pass);
  filter.querySelector("button").addEventListener("click", pass);
  // a link back from the viewer shows the same sections again
  for (const [name, value] of new URLSearchParams(location.hash.slice(1))) {
    const field = [...filter.querySelectorAll("input, select")].find((one) => one.name === name);
    if (field) field.value = value;
  }
  filter.dispatchEvent(new Event("input"));
})();
